"""`touchstone sweep`: search, prove, choose, report."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json, read_corpus, read_prompts, settings
from harness.cli.progress import Line, progress_line
from harness.golden.sets import GoldenSet
from harness.settings import HarnessSettings
from harness.sweep.experiment import Experiment
from harness.sweep.verdict import SweepResult


def sweep(
    experiment: Annotated[Path, typer.Argument(help="An experiment file, for example experiments/quickstart.yaml.")],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Another number of trials than the file says.")] = None,
    tracking: Annotated[bool, typer.Option("--tracking/--no-tracking", help="Log to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Search on the tune split, prove the best on the holdout."""
    from harness.golden.load import load_golden
    from harness.promote import WINNER
    from harness.sweep.experiment import load_experiment

    places = settings()
    asked = load_experiment(experiment)
    asked = asked.model_copy(update={"trials": trials}) if trials else asked
    golden = load_golden(places.datasets, asked.golden)
    corpus = asked.corpus or golden.card.corpus
    title = f"{asked.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = places.reports / "sweeps" / title
    with progress_line(quiet=as_json) as line:
        result = asyncio.run(_run(asked, golden, corpus, title, places, line, tracking=tracking))
    winner, page = folder / WINNER, folder / "report.html"
    if as_json:
        value = {
            "verdict": result.verdict,
            "reason": result.reason,
            "winner": str(winner),
            "config_digest": result.winner.holdout.header.config_digest,
            "values": result.winner.tried.values,
            "report": str(page),
            "run": result.run_id,
        }
        print_json(value)
        return
    from harness.cli.tables import show_sweep

    show_sweep(result)
    typer.echo(f"\nreport  {page}\nwinner  {winner}\nship it: touchstone promote")


async def _run(
    asked: Experiment, golden: GoldenSet, corpus: str, title: str, places: HarnessSettings, line: Line, *, tracking: bool
) -> SweepResult:
    from harness.promote import write_winner
    from harness.report import write_sweep
    from harness.results import write_report
    from harness.sweep.study import Sweep
    from harness.sweep.verdict import Tried
    from harness.tracking import tracker
    from harness.tracking.record import record_sweep
    from harness.workshop import Workshop

    folder = places.reports / "sweeps" / title

    def announce(tried: Tried) -> None:
        write_report(tried.report, folder / "trials" / f"{tried.number:03d}.jsonl")
        values = ", ".join(f"{path.split('.', 1)[1]} {value}" for path, value in tried.values.items()) or "base"
        line.say(f"trial {tried.number:3d}  {asked.objective} {tried.objective:.3f}  {values}")

    with tracker(places, on=tracking).run(title) as run:
        workshop = Workshop(
            places, read_corpus(corpus, places), read_prompts(places), lambda done, total: line.update("indexing", done, total)
        )
        one = Sweep(asked, workshop, run, places.home / "studies" / f"{title}.journal", line.update, announce)
        tried = await one.search(golden.tune())
        line.say(f"proving the best {asked.finalists} and the base on the holdout")
        result = await one.prove(tried, golden.holdout(why=f"sweep {title}", ledger=places.holdout_ledger))
        page = write_sweep(result, folder)
        record_sweep(run, result, [page, page.with_suffix(".md"), write_winner(result, corpus, folder)])
    return result
