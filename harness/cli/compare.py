"""`touchstone compare A B`: what differs between two configurations, runs or releases, and whether it is more than chance."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.evaluate import SplitName
from harness.cli.options import (
    DEFAULT_GOLDEN,
    AsJson,
    JudgeName,
    Metrics,
    ReplayOnly,
    UseStore,
    changed,
    plain_name,
    print_json,
    read_corpus,
)
from harness.cli.progress import ProgressLine, progress_line
from harness.metrics import DEFAULT, metric_set
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError, InfrastructureError

if TYPE_CHECKING:
    from harness.golden.sets import GoldenSet, Split
    from harness.resolve import NamedConfig, RecordedRun
    from harness.results.report import EvalReport

WHAT = "a .yaml file, a run, a release's digest, channel:<name>, or default"
SetA = Annotated[list[str] | None, typer.Option("--set-a", metavar="PATH=VALUE", help="Change one config field of A. Repeatable.")]
SetB = Annotated[list[str] | None, typer.Option("--set-b", metavar="PATH=VALUE", help="Change one config field of B. Repeatable.")]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What is to be evaluated on; `None` and empty where a run at hand decides it."""

    golden: str
    split: SplitName | None
    cases: int | None
    metrics: tuple[str, ...]
    judge: str
    concurrency: int
    store: bool
    replay_only: bool


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"What to compare with: {WHAT}.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare: the same.", show_default=False)],
    change_a: SetA = None,
    change_b: SetB = None,
    golden: Annotated[str, typer.Option("--golden", "-g", help=f"A golden set; default: the run's, else {DEFAULT_GOLDEN}.")] = "",
    split: Annotated[
        SplitName | None, typer.Option("--split", help="Default: the run's, else tune; a look at holdout or all is written down.")
    ] = None,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="Only the first so many cases of the split.")] = None,
    metrics: Metrics = None,
    judge: JudgeName = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Cases at a time.")] = 4,
    store: UseStore = True,
    replay_only: ReplayOnly = False,
    name: Annotated[str, typer.Option("--name", help="Name of the comparison and its folder.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare two configurations, runs or releases on the same questions."""
    from harness.comparison.compare import compare_reports
    from harness.reports.comparison import comparison_json, write_comparison

    settings = read_settings()
    title = plain_name(name) if name else f"{_short(a)}-{_short(b)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = settings.reports / "compare" / title
    if folder.exists():
        raise ConfigError(f"There is a comparison named {title!r} already: {folder}. Choose another --name, or remove it.")
    sides = [_side(a, change_a, settings), _side(b, change_b, settings)]
    asked = CompareOptions(golden, split, cases, metric_set(metrics or ()), judge, concurrency, store, replay_only)
    with progress_line(quiet=as_json) as line:
        before, after = asyncio.run(_reports(sides, asked, settings, folder, line))
    found = compare_reports(before, after, asked.metrics or None)
    labels = (sides[0].label, sides[1].label)
    page = write_comparison(found, labels, folder)
    if as_json:
        print_json({"report": str(page), **comparison_json(found, labels)})
        return
    from harness.cli.compare_tables import show_comparison

    show_comparison(found, labels)
    typer.echo(f"\nreport  {page}\njson    {folder / 'compare.json'}")


def _side(word: str, changes: Sequence[str] | None, settings: HarnessSettings) -> "RecordedRun | NamedConfig":
    from harness.resolve import RecordedRun, resolve

    side = resolve(word, settings)
    if not changes:
        return side
    if isinstance(side, RecordedRun):
        raise ConfigError(f"{word!r} was evaluated already; --set-a and --set-b change configurations and releases.")
    return replace(side, config=changed(side.config, changes), label=f"{side.label} with {', '.join(changes)}")


async def _reports(
    sides: Sequence["RecordedRun | NamedConfig"], asked: CompareOptions, settings: HarnessSettings, folder: Path, line: ProgressLine
) -> list["EvalReport"]:
    """The evaluations of both sides; what is no run yet is evaluated now, on the questions of the run that is."""
    from harness.comparison.compare import refuse_unlike
    from harness.resolve import RecordedRun

    recorded = [side for side in sides if isinstance(side, RecordedRun)]
    for side in recorded:
        _refuse_other(side, asked)
    if len(recorded) == len(sides):
        refuse_unlike(recorded[0].report, recorded[1].report)
        return [side.report for side in recorded]
    known, cases = _cases(recorded[0] if recorded else None, asked, settings, folder.name)
    metrics = asked.metrics or (recorded[0].report.header.metrics if recorded else metric_set(DEFAULT))
    return [
        side.report
        if isinstance(side, RecordedRun)
        else await _evaluated(side, letter, replace(asked, metrics=metrics), (known, cases), settings, folder, line)
        for letter, side in zip("ab", sides, strict=True)
    ]


def _refuse_other(side: "RecordedRun", asked: CompareOptions) -> None:
    """A `ConfigError` when a run was made on other questions than those asked for."""
    head = side.report.header
    if asked.golden and asked.golden not in (head.golden, head.golden.split("/")[0]):
        raise ConfigError(f"{side.label} was evaluated on {head.golden}, not on {asked.golden}. Leave --golden out, or evaluate it again.")
    if asked.split and asked.split.value != head.split:
        raise ConfigError(f"{side.label} was evaluated on the {head.split} split, not on {asked.split.value}. Leave --split out.")


def _cases(run: "RecordedRun | None", asked: CompareOptions, settings: HarnessSettings, title: str) -> tuple["GoldenSet", "Split"]:
    """The golden set and its cases: those of the run where there is one, else those asked for."""
    from harness.golden.load import load_golden

    head = run.report.header if run else None
    golden = load_golden(settings.datasets, head.golden if head else asked.golden or DEFAULT_GOLDEN)
    if head and run and golden.digest != head.golden_digest:
        raise ConfigError(
            f"{run.label} was evaluated on {head.golden} as {head.golden_digest}; it is {golden.digest} now. Evaluate it again."
        )
    split = head.split if head else (asked.split or SplitName.TUNE).value
    count = asked.cases or (len(run.report.rows) if run else None)
    why = f"compare {title}"
    match split:
        case "tune":
            return golden, golden.tune().head(count)
        case "holdout":
            return golden, golden.holdout(why=why, ledger=settings.holdout_ledger).head(count)
        case _:
            return golden, golden.all(why=why, ledger=settings.holdout_ledger).head(count)


async def _evaluated(
    side: "NamedConfig",
    letter: str,
    asked: CompareOptions,
    on: tuple["GoldenSet", "Split"],
    settings: HarnessSettings,
    folder: Path,
    line: ProgressLine,
) -> "EvalReport":
    """One side evaluated and kept beside the comparison; an outage ends it, since its scores would be of the outage."""
    from harness.evaluation.context import open_tools
    from harness.evaluation.evaluator import Evaluator
    from harness.evaluation.factory import PipelineFactory
    from harness.results.report import write_report
    from harness.stage_store.open import open_stage_store

    golden, cases = on
    stages = open_stage_store(settings, on=asked.store)
    corpus = read_corpus(golden.card.corpus, settings)
    factory = PipelineFactory(
        settings, corpus, side.prompts, lambda done, total: line.update("indexing", done, total), stages, asked.replay_only
    )
    tools = open_tools(asked.judge, settings, stages, replay_only=asked.replay_only)
    evaluator = Evaluator(asked.metrics, asked.concurrency, tools=tools, stages=stages)
    what = f"cases of {letter.upper()}"
    report = await factory.evaluate(side.config, cases, evaluator, lambda done, total: line.update(what, done, total))
    if report.outages:
        first = report.outages[0].error
        why = first.message if first else ""
        raise InfrastructureError(f"{side.label}: {len(report.outages)} of {len(report.rows)} cases were not answered: {why}")
    write_report(report, folder / f"{letter}.jsonl")
    return report


def _short(word: str) -> str:
    """A word as part of a folder's name."""
    path = Path(word)
    stem = path.stem if path.suffix in (".yaml", ".yml", ".jsonl") else path.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:40] or "x"
