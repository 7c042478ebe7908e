"""A sweep's trials as a study that Optuna's own tools open."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.sweep.experiment import Experiment
from harness.sweep.importance import replayed_optimizer
from harness.sweep.trial import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def journal(experiment: Experiment, trials: Sequence[Trial]) -> str:
    """The text of an Optuna journal file that holds the trials within the space, under the experiment's name."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    inside = [trial for trial in trials if trial.values]
    known = replayed_optimizer(experiment, inside).study
    pairs = zip(known.get_trials(deepcopy=False), inside, strict=True)
    ended = [_as_it_ended(suggested, trial, experiment) for suggested, trial in pairs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(study_name=experiment.name, storage=storage, directions=known.directions)
        study.add_trials(ended)
        return path.read_text(encoding="utf-8")


def _as_it_ended(suggested: "FrozenTrial", trial: Trial, experiment: Experiment) -> "FrozenTrial":
    """The study's trial with the mean after each block, and as pruned where the search only counted its mean so far."""
    from optuna.trial import TrialState, create_trial

    state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.state]
    return create_trial(
        state=state,
        values=None if trial.state == "failed" else list(trial.objectives),
        params=suggested.params,
        distributions=suggested.distributions,
        system_attrs=suggested.system_attrs,
        user_attrs={"trial": trial.number},  # Optuna counts again
        intermediate_values=_means(trial, experiment),
    )


def _means(trial: Trial, experiment: Experiment) -> dict[int, float]:
    """The mean of the goal over the cases seen so far, by their number, after each block."""
    values = [row.value(experiment.goal) for row in trial.report.rows]
    ends = [*range(experiment.block, len(values), experiment.block), len(values)]
    scored = {end: [value for value in values[:end] if value is not None] for end in ends}
    return {end: sum(some) / len(some) for end, some in scored.items() if some}
