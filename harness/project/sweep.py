"""A sweep from an experiment to a verdict: priced, agreed to, carried out in its folder, reported and logged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.project.opened import Progress as Watch
from harness.reports import write_sweep
from harness.reports.record import record_sweep
from harness.settings import HarnessSettings
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.experiment import Experiment, load_experiment
from harness.sweep.folder import SweepFolder, latest, new_folder
from harness.sweep.progress import Progress
from harness.sweep.setup import Opened, Ways, begin, open_sweep
from harness.sweep.trial import Trial
from harness.sweep.verdict import SweepResult
from harness.sweep.winner import write_winner
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import explain


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """A sweep that may begin, and what it will cost; hosted models are paid for only once somebody has agreed to that."""

    opened: Opened
    estimate: SweepEstimate
    earlier: SweepFolder | None = None

    @property
    def agreed(self) -> bool:
        """Whether that was agreed to when the sweep was begun."""
        return self.earlier is not None and self.earlier.begun().agreed

    def folder(self) -> SweepFolder:
        """Where it is carried out: its own folder, where it was begun before, else a new one."""
        return self.earlier or new_folder(self.opened.settings.reports, self.opened.experiment.name, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class FinishedSweep:
    """What a sweep found, and where it lies."""

    result: SweepResult
    folder: Path
    page: Path
    winner: Path


async def plan_sweep(
    experiment: Experiment, settings: HarnessSettings, ways: Ways, watch: Watch, earlier: SweepFolder | None = None
) -> PlannedSweep:
    """Read and check all that a sweep needs, and estimate what it will cost; no hosted model is asked for it."""
    opened = open_sweep(experiment, settings, ways, lambda done, total: watch("indexing", done, total), earlier)
    return PlannedSweep(opened, await opened.estimate(), earlier)


def refuse_unpaid(planned: PlannedSweep, *, yes: bool) -> None:
    """A `ConfigError` where hosted models would be paid for and nobody has agreed to it."""
    estimate = planned.estimate
    opened = planned.opened
    if estimate.hosted and not (yes or opened.settings.assume_yes or opened.ways.replay_only):
        most = "at a price that is not known" if estimate.unpriced else f"up to ${estimate.usd.high:.2f}"
        raise ConfigError(f"{', '.join(estimate.hosted)} would be paid for, {most}. Pass yes=True to go on.")


async def carry_out(
    planned: PlannedSweep, folder: SweepFolder, tell: Callable[[Progress], None], announce: Callable[[Trial], None]
) -> FinishedSweep:
    """Run a sweep to its end, write its report and its winner, and log it."""
    with folder.held(), begin(planned.opened, folder, planned.estimate, tell=tell, announce=announce) as ready:
        result = await ready.sweep.run(ready.tune, ready.look)
        folder.write_result(result)
        page = write_sweep(result, folder.path)
        winner = write_winner(result, ready.corpus, folder.path)
        record_sweep(ready.run, result, [page, page.with_suffix(".md"), winner])
    return FinishedSweep(result, folder.path, page, winner)


def earlier_sweep(settings: HarnessSettings, folder: Path | None, experiment: Path | None) -> SweepFolder:
    """The sweep that is to be gone on with: that of a folder, or the last one, of an experiment or of any."""
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


def experiment_of_any(what: str | Path | Mapping[str, Any] | Experiment) -> Experiment:
    """An experiment by its file, from plain data, or as it is."""
    if isinstance(what, Experiment):
        return what
    return parse_experiment(what, "the experiment") if isinstance(what, Mapping) else load_experiment(Path(what))
