"""`touchstone eval`: score one configuration on a golden set."""

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from harness.cli.options import (
    DEFAULT_GOLDEN,
    AsJson,
    ConfigFile,
    JudgeName,
    Metrics,
    ReplayOnly,
    Set,
    UseStore,
    plain_name,
    print_json,
    read_config,
    read_corpus,
)
from harness.cli.progress import progress_line
from harness.metrics import DEFAULT, metric_set
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError, InfrastructureError


class SplitName(StrEnum):
    """Which cases."""

    TUNE = "tune"
    HOLDOUT = "holdout"
    ALL = "all"


def evaluate(
    config: ConfigFile = None,
    change: Set = None,
    golden: Annotated[str, typer.Option("--golden", "-g", help="A golden set, as name or name/vN.")] = DEFAULT_GOLDEN,
    split: Annotated[
        SplitName, typer.Option("--split", help="tune for looking around; a look at holdout or all is written down.")
    ] = SplitName.TUNE,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="Only the first so many cases of the split.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run and its files.")] = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Cases at a time.")] = 4,
    metrics: Metrics = None,
    judge: JudgeName = "",
    store: UseStore = True,
    replay_only: ReplayOnly = False,
    tracking: Annotated[bool, typer.Option("--tracking/--no-tracking", help="Log the run to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Score a configuration on a golden set; report it, log it."""
    from harness.evaluation.context import open_factory, open_tools
    from harness.evaluation.evaluator import Evaluator
    from harness.evaluation.record import record_evaluation
    from harness.golden.load import load_golden
    from harness.reports import write_evaluation
    from harness.results.report import numbers, write_report
    from harness.stage_store.open import open_stage_store
    from harness.tracking import tracker

    settings = read_settings()
    chosen, names = read_config(config, change), metric_set(metrics or DEFAULT)
    known = load_golden(settings.datasets, golden)
    corpus = read_corpus(known.card.corpus, settings)
    title = plain_name(name) if name else f"{known.card.name}-{split.value}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = settings.reports / "runs" / title
    if folder.exists():
        raise ConfigError(f"There is an evaluation named {title!r} already: {folder}. Choose another --name, or remove it.")
    match split:
        case SplitName.TUNE:
            chosen_cases = known.tune().head(cases)
        case SplitName.HOLDOUT:
            chosen_cases = known.holdout(why=f"eval {title}", ledger=settings.holdout_ledger).head(cases)
        case SplitName.ALL:
            chosen_cases = known.all(why=f"eval {title}", ledger=settings.holdout_ledger).head(cases)

    with progress_line(quiet=as_json) as line, tracker(settings, on=tracking).run(title) as run:
        stages = open_stage_store(settings, on=store)
        building = partial(line.update, "indexing")
        factory = open_factory(corpus, settings, stages, building, replay_only=replay_only)
        evaluator = Evaluator(names, concurrency, tools=open_tools(judge, settings, stages, replay_only=replay_only), stages=stages)
        report = asyncio.run(factory.evaluate(chosen, chosen_cases, evaluator, lambda done, total: line.update("cases", done, total)))
        write_report(report, folder / "cases.jsonl")
        page = write_evaluation(report, folder, run_url=run.url)
        record_evaluation(run, report, chosen, chosen_cases)
        run.text("report.html", page.read_text(encoding="utf-8"))

    if as_json:
        print_json(
            {
                "report": str(page),
                "cases": str(folder / "cases.jsonl"),
                "run": run.id,
                "numbers": numbers(report),
                "store": stages.counts.plain() if stages else {},
            }
        )
    else:
        from harness.cli.tables import show_evaluation

        show_evaluation(report)
        if stages:
            typer.echo(f"kept from before: {stages.counts.words()}")
        typer.echo(f"\nreport  {page}\ncases   {folder / 'cases.jsonl'}")
    if report.outages:
        first = report.outages[0].error
        assert first is not None
        raise InfrastructureError(f"{len(report.outages)} of {len(report.rows)} cases were not answered: {first.message}")
