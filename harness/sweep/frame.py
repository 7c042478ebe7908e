"""A sweep's trials as pandas sees them, in the manner of Optuna's `trials_dataframe`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.results.numbers import numbers
from harness.sweep.experiment import Experiment
from harness.sweep.trial import Trial, whole_cases

if TYPE_CHECKING:
    import pandas as pd

STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}  # as Optuna writes them


def trials_frame(experiment: Experiment, trials: Sequence[Trial]) -> "pd.DataFrame":
    """A row a trial: number, the objectives, `params_<path>`, `user_attrs_…`, state; what a trial has no value of is missing.

    A pruned trial's objective is its mean over `user_attrs_cases` of `user_attrs_of_cases`.
    """
    import pandas as pd

    names, paths = experiment.objective, list(experiment.space)
    values = ["value"] if len(names) == 1 else [f"values_{name}" for name in names]
    whole = whole_cases(trials)
    rows = [_row(experiment, one, values, paths, whole) for one in trials]
    attributes = [f"user_attrs_{name}" for name in ("label", "why", "cases", "of_cases", "usd", "config_digest", "run_id")]
    limits = [f"user_attrs_violation_{name}" for name in experiment.constraints]
    columns = ["number", *values, *(f"params_{path}" for path in paths), *attributes, *limits, "state"]
    return pd.DataFrame(rows, columns=columns)


def _row(experiment: Experiment, trial: Trial, values: Sequence[str], paths: Sequence[str], whole: int) -> dict[str, Any]:
    found = trial.objectives or (None,) * len(values)
    return {
        "number": trial.number,
        **dict(zip(values, found, strict=True)),
        **{f"params_{path}": trial.values.get(path) for path in paths},
        "user_attrs_label": trial.label,
        "user_attrs_why": trial.why,
        "user_attrs_cases": len(trial.report.rows),
        "user_attrs_of_cases": whole,
        "user_attrs_usd": numbers(trial.report).get("cost.usd"),
        "user_attrs_config_digest": trial.report.header.config_digest,
        "user_attrs_run_id": trial.run_id,
        **{f"user_attrs_violation_{name}": trial.violations.get(name) for name in experiment.constraints},
        "state": STATES[trial.state],
    }
