"""`touchstone sweep`: search, prove, choose, report."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.interrupt import run_in
from harness.cli.options import AsJson, ReplayOnly, UseStore, print_json
from harness.cli.output.progress import ProgressLine, progress_line
from harness.settings import read_settings
from harness.stage_store.base import reused_share
from harness.sweep.experiment import Experiment
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.trial import Trial
from harness.sweep.verdict import SweepResult
from harness.tracking.base import Run
from serving.pipeline.errors import ConfigError, InfrastructureError

if TYPE_CHECKING:
    from harness.sweep.cost.sweep_estimate import SweepEstimate
    from harness.sweep.folder import SweepFolder
    from harness.sweep.setup import SweepSetup


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
    from harness.cli.estimate_table import confirm_price, show_estimate
    from harness.project import Project
    from harness.project.sweep import earlier_sweep, experiment_with
    from harness.sweep.cost.budget import SpendingFile
    from harness.sweep.experiment import load_experiment
    from harness.sweep.folder import experiment_of, new_sweep_folder
    from harness.sweep.winner import WINNER

    settings = read_settings()
    earlier = earlier_sweep(settings, folder, experiment) if resume or folder else None
    if earlier is None and experiment is None:
        raise ConfigError("Name an experiment file, such as experiments/quickstart.yaml, or --resume the last sweep.")
    chosen = experiment_of(earlier.record()) if earlier else load_experiment(experiment or Path())
    chosen = experiment_with(chosen, trials=trials, workers=workers, engine=engine, budget=budget)
    printer = SweepPrinter(chosen)
    with asyncio.Runner() as runner:
        with progress_line(quiet=as_json) as printer.line:
            project = Project(settings, printer.work)
            setup = project.open_sweep(chosen, earlier=earlier, store=store, replay_only=replay_only, tracking=tracking)
            price = run_in(runner, setup.estimate())
        if estimate and as_json:
            print_json(price.model_dump(mode="json"))
            return
        show_estimate(price)
        if estimate:
            return
        agreed_before = earlier is not None and earlier.record().agreed and trials is None and budget is None
        confirm_price(price, yes=yes or settings.assume_yes or agreed_before or replay_only)
        sweep_folder = earlier or new_sweep_folder(settings.reports, chosen.name, datetime.now(UTC))
        printer.quoted_usd = SpendingFile(sweep_folder.path).read().usd + price.usd.likely
        result = _run(runner, setup, sweep_folder, price, printer, quiet=as_json)
    winner, page = sweep_folder.path / WINNER, sweep_folder.path / "report.html"
    if as_json:
        value = {
            "verdict": result.verdict,
            "reason": result.reason,
            "winner": str(winner),
            "config_digest": result.winner.holdout.header.config_digest,
            "values": dict(result.winner.trial.values),
            "trials": len(result.trials),
            "ended": result.ended,
            "estimate": price.model_dump(mode="json"),
            "spent_usd": result.spent_usd,
            "store": result.counts,
            "report": str(page),
            "run": result.run_id,
        }
        print_json(value)
        return
    from harness.cli.output.tables import show_sweep

    show_sweep(result)
    ship = "ship it" if result.winner is not result.incumbent else f"nothing beat the {result.incumbent.trial.name}; to ship that"
    gate = f"touchstone gate --config {winner.with_suffix('.yaml')}"
    typer.echo(f"\nreport  {page}\nwinner  {winner}\n{ship}: {gate} && touchstone promote {winner}")


def _run(
    runner: asyncio.Runner, setup: "SweepSetup", where: "SweepFolder", price: "SweepEstimate", printer: "SweepPrinter", *, quiet: bool
) -> SweepResult:
    """Run the sweep; where it is interrupted, show how far it is and how to resume."""
    from harness.sweep.run import run_sweep

    printer.folder = where.path
    with progress_line(quiet=quiet) as printer.line:
        try:
            return run_in(runner, run_sweep(setup, where, price, observer=printer))
        except (KeyboardInterrupt, asyncio.CancelledError, InfrastructureError):
            if where.exists():
                printer.line.say(f"{printer.so_far} To go on: touchstone sweep --folder {where.path}")
            raise


class SweepPrinter(SweepObserver):
    """Shows a sweep on a terminal."""

    line: ProgressLine
    folder: Path

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.quoted_usd = 0.0  # what it will likely have cost in the end
        self.so_far = "Nothing is finished yet."
        self._cases = 0  # of a trial that completed, as far as one is

    def work(self, what: str, done: int, total: int) -> None:
        """How far an index is."""
        self.line.update(what, done, total)

    def trial_finished(self, trial: Trial) -> None:
        """A finished trial, above the live line."""
        values = ", ".join(f"{path.split('.', 1)[1]} {value}" for path, value in trial.values.items())
        state = "" if trial.state == "complete" else f"  {trial.state}: {trial.why}"
        self._cases = max(self._cases, len(trial.report.rows))
        self.line.say(f"trial {trial.number:3d}  {self._experiment.goal} {trial.score_text(self._cases)}  {trial.label or values}{state}")

    def progressed(self, progress: SweepProgress) -> None:
        """How far it is: trials, the best so far, speed, what was kept, dollars, time left."""
        self.line.update(progress_text(progress, self._experiment, self.quoted_usd), progress.done, progress.trials)
        if best := progress.best:
            self._cases = max(self._cases, len(best.report.rows))
            best_text = f"the best so far is trial {best.name} with {self._experiment.goal} {best.objective:.3f}"
            self.so_far = f"{progress.done} of {progress.trials} trials are finished; {best_text}."

    def sweep_finished(self, result: SweepResult, run: Run) -> None:
        """Have the report written and the sweep logged."""
        from harness.project.sweep import SweepReporter

        SweepReporter(self.folder).sweep_finished(result, run)


def progress_text(progress: SweepProgress, experiment: Experiment, quoted_usd: float = 0.0) -> str:
    """The live line's words; dollars stand beside the budget, or beside what was quoted where there is none."""
    from harness.cli.estimate_table import dollars

    elapsed_s = max(time.monotonic() - progress.started_s, 1e-9)
    parts = [f"best {progress.best.objective:.3f} (trial {progress.best.name})"] if progress.best else []
    parts.append(f"{progress.cases / elapsed_s:.1f} cases/s")
    share = reused_share(progress.counts)
    if share.needed:
        parts.append(f"{share.reused / share.needed:.0%} kept from before")
    quoted = f" of about {dollars(quoted_usd)}" if quoted_usd else ""
    limit = f" of ${experiment.budget_usd:g}" if experiment.budget_usd else quoted
    parts.append(f"${progress.spent_usd:.4f}{limit}")
    finished_here = progress.done - progress.resumed
    if finished_here > 0:
        parts.append(f"{(progress.trials - progress.done) * elapsed_s / finished_here / 60:.0f} min left")
    return " · ".join(parts)
