"""`touchstone sweep`: search, prove, choose, report."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import AsJson, ReplayOnly, UseStore, print_json
from harness.cli.progress import ProgressLine, progress_line
from harness.settings import read_settings
from harness.sweep.experiment import Experiment
from serving.pipeline.errors import ConfigError, InfrastructureError

if TYPE_CHECKING:
    from harness.project.sweep import FinishedSweep, PlannedSweep
    from harness.sweep.folder import SweepFolder
    from harness.sweep.progress import Progress
    from harness.sweep.trial import Trial


def sweep(
    experiment: Annotated[Path | None, typer.Argument(help="An experiment file, for example experiments/quickstart.yaml.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep begun last, of this experiment or of any.")] = False,
    folder: Annotated[Path | None, typer.Option("--folder", help="The sweep's folder to go on with, where it is not the last.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Another number of trials than the file says.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Trials at a time; 0: one per core.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="local or ray.")] = "",
    budget: Annotated[float | None, typer.Option("--budget", min=0.0, help="US dollars that are not exceeded.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a hosted model is used.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it will cost: tokens, dollars, time.")] = False,
    store: UseStore = True,
    replay_only: ReplayOnly = False,
    tracking: Annotated[bool, typer.Option("--tracking/--no-tracking", help="Log to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Search on the tune split, prove the best on the holdout."""
    from harness.cli.price import agree, show_estimate
    from harness.project import Project
    from harness.project.sweep import earlier_sweep, experiment_with
    from harness.sweep.cost.budget import SpendingFile
    from harness.sweep.experiment import load_experiment
    from harness.sweep.folder import experiment_of
    from harness.sweep.setup import Ways

    settings = read_settings()
    earlier = earlier_sweep(settings, folder, experiment) if resume or folder else None
    if earlier is None and experiment is None:
        raise ConfigError("Name an experiment file, such as experiments/quickstart.yaml, or --resume the last sweep.")
    asked = experiment_of(earlier.begun()) if earlier else load_experiment(experiment or Path())
    asked = experiment_with(asked, trials=trials, workers=workers, engine=engine, budget=budget)
    told = SweepNarrator(asked)
    with asyncio.Runner() as runner:  # one loop for both, so that one Ctrl-C ends either
        with progress_line(quiet=as_json) as told.line:
            planned = runner.run(Project(settings, told.work).plan_sweep(asked, Ways(store, replay_only, tracking), earlier))
        price = planned.estimate
        if estimate and as_json:
            print_json(price.model_dump(mode="json"))
            return
        show_estimate(price)
        if estimate:
            return
        agreed = planned.agreed and trials is None and budget is None
        agree(price, yes=yes or settings.assume_yes or agreed or replay_only)
        where = planned.folder()
        told.quoted_usd = SpendingFile(where.path).read().usd + price.usd.likely
        done = _carried_out(runner, planned, where, told, quiet=as_json)
    result = done.result
    if as_json:
        value = {
            "verdict": result.verdict,
            "reason": result.reason,
            "winner": str(done.winner),
            "config_digest": result.winner.holdout.header.config_digest,
            "values": dict(result.winner.tried.values),
            "trials": len(result.trials),
            "ended": result.ended,
            "estimate": price.model_dump(mode="json"),
            "spent_usd": result.spent_usd,
            "store": result.counts,
            "report": str(done.page),
            "run": result.run_id,
        }
        print_json(value)
        return
    from harness.cli.tables import show_sweep

    show_sweep(result)
    typer.echo(f"\nreport  {done.page}\nwinner  {done.winner}\nship it: touchstone promote")


def _carried_out(
    runner: asyncio.Runner, planned: "PlannedSweep", where: "SweepFolder", told: "SweepNarrator", *, quiet: bool
) -> "FinishedSweep":
    """Run it to its end; where it is stopped, say how far it is and how to go on."""
    from harness.project.sweep import carry_out

    with progress_line(quiet=quiet) as told.line:
        try:
            return runner.run(carry_out(planned, where, told.progress, told.trial))
        except (KeyboardInterrupt, asyncio.CancelledError, InfrastructureError):
            if where.exists():
                told.line.say(f"{told.so_far} To go on: touchstone sweep --folder {where.path}")
            raise


class SweepNarrator:
    """What a sweep tells on the way."""

    line: ProgressLine

    def __init__(self, asked: Experiment) -> None:
        self._asked = asked
        self.quoted_usd = 0.0  # what it will likely have cost in the end
        self.so_far = "Nothing is finished yet."

    def work(self, what: str, done: int, total: int) -> None:
        """How far an index is."""
        self.line.update(what, done, total)

    def trial(self, tried: "Trial") -> None:
        """A finished trial, above the live line."""
        values = ", ".join(f"{path.split('.', 1)[1]} {value}" for path, value in tried.values.items())
        state = "" if tried.state == "complete" else f"  {tried.state}: {tried.why}"
        found = "–" if tried.objective is None else f"{tried.objective:.3f}"
        self.line.say(f"trial {tried.number:3d}  {self._asked.goal} {found}  {tried.label or values}{state}")

    def progress(self, progress: "Progress") -> None:
        """How far it is: trials, the best so far, speed, what was kept, dollars, time left."""
        self.line.update(words(progress, self._asked, self.quoted_usd), progress.done, progress.trials)
        if best := progress.best:
            found = f"the best so far is trial {best.name} with {self._asked.goal} {best.objective:.3f}"
            self.so_far = f"{progress.done} of {progress.trials} trials are finished; {found}."


def words(progress: "Progress", asked: Experiment, quoted_usd: float = 0.0) -> str:
    """The live line's words; dollars stand beside the budget, or beside what was quoted where there is none."""
    from harness.cli.price import dollars

    passed = max(time.monotonic() - progress.begun_s, 1e-9)
    parts = [f"best {progress.best.objective:.3f} (trial {progress.best.name})"] if progress.best else []
    parts.append(f"{progress.cases / passed:.1f} cases/s")
    found = sum(numbers["hits"] for numbers in progress.counts.values())
    asked_for = found + sum(numbers["misses"] for numbers in progress.counts.values())
    if asked_for:
        parts.append(f"{found / asked_for:.0%} kept")
    quoted = f" of about {dollars(quoted_usd)}" if quoted_usd else ""
    limit = f" of ${asked.budget_usd:g}" if asked.budget_usd else quoted
    parts.append(f"${progress.spent_usd:.4f}{limit}")
    new = progress.done - progress.known
    if new > 0:
        parts.append(f"{(progress.trials - progress.done) * passed / new / 60:.0f} min left")
    return " · ".join(parts)
