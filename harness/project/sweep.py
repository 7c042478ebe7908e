"""Experiments by any of their names, and the observers of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.progress import TaskProgress
from harness.project.arguments import file_path
from harness.reports import write_sweep
from harness.reports.record import record_sweep
from harness.settings import HarnessSettings
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.experiment import Experiment, load_experiment
from harness.sweep.folder import SweepFolder, latest
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.setup import SweepSetup
from harness.sweep.verdict import SweepResult
from harness.sweep.winner import WINNER
from harness.tracking.base import Run
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import explain


class SweepReporter(SweepObserver):
    """Writes a sweep's pages and its tracking record at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sweep_finished(self, result: SweepResult, run: Run) -> None:
        """Write the report, and log the sweep with its files."""
        page = write_sweep(result, self.folder)
        record_sweep(run, result, [page, page.with_suffix(".md"), self.folder / WINNER])


class ProjectObserver(SweepReporter):
    """Reports the number of finished trials to the project's progress."""

    def __init__(self, folder: Path, progress: TaskProgress) -> None:
        super().__init__(folder)
        self._progress = progress

    def progressed(self, progress: SweepProgress) -> None:
        """Report it."""
        self._progress("trials", progress.done, progress.trials)


def refuse_unpaid(estimate: SweepEstimate, setup: SweepSetup, *, yes: bool) -> None:
    """Raise `ConfigError` where hosted models would be paid for without consent."""
    if estimate.hosted and not (yes or setup.settings.assume_yes or setup.options.replay_only):
        most = "at a price that is not known" if estimate.unpriced else f"up to ${estimate.usd.high:.2f}"
        raise ConfigError(f"{', '.join(estimate.hosted)} would be paid for, {most}. Pass yes=True to go on.")


def earlier_sweep(settings: HarnessSettings, folder: Path | None, experiment: Path | None) -> SweepFolder:
    """The sweep to resume: that of a folder, else the last one, of an experiment or of any."""
    return SweepFolder(folder) if folder else latest(settings.reports, load_experiment(experiment).name if experiment else "")


def experiment_with(experiment: Experiment, *, trials: int | None, workers: int | None, engine: str, budget: float | None) -> Experiment:
    """The experiment with other numbers than its file says."""
    choice = experiment.engine.model_dump()
    if workers is not None:
        choice["workers"] = workers
    if engine:
        choice["name"] = engine
    data: dict[str, Any] = experiment.model_dump(mode="json") | {"engine": choice}
    if trials is not None:
        data["trials"] = trials
    if budget is not None:
        data["budget_usd"] = budget
    return parse_experiment(data, "the command line")


def parse_experiment(data: Mapping[str, Any], source: str) -> Experiment:
    """An experiment from plain data, or a `ConfigError` naming the first thing wrong."""
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, source, list(Experiment.model_fields))) from None


def read_experiment(what: str | Path | Mapping[str, Any] | Experiment) -> Experiment:
    """An experiment by its file, from plain data, or as it is."""
    if isinstance(what, Experiment):
        return what
    return parse_experiment(what, "the experiment") if isinstance(what, Mapping) else load_experiment(file_path("An experiment", what))
