"""`touchstone compare A B`: what differs between two configurations, runs or releases, and whether it is more than chance."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.evaluate import SplitName
from harness.cli.interrupt import run_async
from harness.cli.options import (
    AsJson,
    JudgeName,
    Metrics,
    ReplayOnly,
    UseStore,
    changed,
    print_json,
)
from harness.cli.output.progress import progress_line
from harness.metrics import metric_set
from harness.settings import DEFAULT_CORPUS, HarnessSettings, read_settings
from harness.stats import MARGIN
from serving.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from harness.resolve import Resolved

SIDES = "a .yaml file, a run, a release's digest, channel:<name>, default, or an app of yours (module:function, https://…)"
SetA = Annotated[list[str] | None, typer.Option("--set-a", metavar="PATH=VALUE", help="Change one config field of A. Repeatable.")]
SetB = Annotated[list[str] | None, typer.Option("--set-b", metavar="PATH=VALUE", help="Change one config field of B. Repeatable.")]


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"What to compare with: {SIDES}.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare: the same.", show_default=False)],
    change_a: SetA = None,
    change_b: SetB = None,
    golden: Annotated[
        str,
        typer.Option(
            "--golden",
            "-g",
            help=f"A golden set; default: the run's, else the project's only one, else {DEFAULT_CORPUS}.",
            show_default=False,
        ),
    ] = "",
    split: Annotated[
        SplitName | None, typer.Option("--split", help="Default: the run's, else tune; a look at holdout or all is written down.")
    ] = None,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="Only the first so many cases of the split.")] = None,
    metrics: Metrics = None,
    margin: Annotated[float, typer.Option("--margin", help="A difference of scores between 0 and 1 that does not matter.")] = MARGIN,
    judge: JudgeName = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Cases at a time.")] = 4,
    store: UseStore = True,
    replay_only: ReplayOnly = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Have two configurations answer again, in turn and one at a time, and compare their times.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Name of the comparison and its folder.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare two configurations, runs or releases on the same questions."""
    from harness.comparison.compare import check_margin
    from harness.project import Project
    from harness.project.arguments import plain_name
    from harness.project.evaluate import unused_name
    from harness.project.named_result import refuse_taken_name
    from harness.reports.comparison import comparison_json

    check_margin(margin)
    settings = read_settings()
    stem = f"{_short(a)}-{_short(b)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    title = plain_name(name) if name else unused_name(settings, "compare", stem)
    folder = settings.reports / "compare" / title
    refuse_taken_name(settings, "compare", title)
    sides = (_resolved_side(a, change_a, settings), _resolved_side(b, change_b, settings))
    with progress_line(quiet=as_json) as line:
        comparison = run_async(
            Project(settings, line.update).compare(
                *sides,
                golden,
                split.value if split else None,
                metrics=metric_set(metrics or ()),
                judge=judge,
                cases=cases,
                margin=margin,
                concurrency=concurrency,
                name=title,
                store=store,
                replay_only=replay_only,
                timing=timing,
            )
        )
    labels, page = (sides[0].label, sides[1].label), folder / "report.html"
    if as_json:
        print_json({"report": str(page), **comparison_json(comparison, labels)})
        return
    from harness.cli.compare_tables import show_comparison

    show_comparison(comparison, labels)
    typer.echo(f"\nreport  {page}\njson    {folder / 'compare.json'}")


def _resolved_side(word: str, changes: Sequence[str] | None, settings: HarnessSettings) -> "Resolved":
    from harness.resolve import NamedApp, RecordedRun, resolve

    side = resolve(word, settings)
    if not changes:
        return side
    if isinstance(side, RecordedRun):
        raise ConfigError(f"{word!r} was evaluated already; --set-a and --set-b change configurations and releases.")
    if isinstance(side, NamedApp):
        raise ConfigError(f"{word!r} is an app of yours; --set-a and --set-b change configurations and releases.")
    return replace(side, config=changed(side.config, changes), label=f"{side.label} with {', '.join(changes)}")


def _short(word: str) -> str:
    """A word as part of a folder's name."""
    path = Path(word)
    stem = path.stem if path.suffix in (".yaml", ".yml", ".jsonl") else path.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:40] or "x"
