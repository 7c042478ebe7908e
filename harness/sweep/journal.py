"""A sweep's trials as a study that Optuna's own tools open."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.sweep.experiment import Experiment
from harness.sweep.importance import replayed
from harness.sweep.trial import Tried


def journal(experiment: Experiment, trials: Sequence[Tried]) -> str:
    """The text of an Optuna journal file that holds the trials within the space, under the experiment's name."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    known = replayed(experiment, [one for one in trials if one.values]).study
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(study_name=experiment.name, storage=storage, directions=known.directions)
        study.add_trials(known.get_trials(deepcopy=False))
        return path.read_text(encoding="utf-8")
