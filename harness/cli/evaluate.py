"""`touchstone eval`: score one configuration on a golden set."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import (
    USUAL,
    AsJson,
    ConfigFile,
    JudgeName,
    Metrics,
    ReplayOnly,
    Set,
    UseStore,
    print_json,
    read_config,
)
from harness.cli.output.progress import progress_line
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
    subject: Annotated[
        str | None, typer.Option("--subject", help="An app of yours in place of a configuration: module:function, module:chain, https://…")
    ] = None,
    golden: Annotated[str, typer.Option("--golden", "-g", help=f"A golden set, as name or name/vN; {USUAL}.", show_default=False)] = "",
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
    """Score a configuration, or an app of yours, on a golden set; report it, log it."""
    from harness.project import Project
    from harness.project.arguments import plain_name
    from harness.project.evaluate import EvaluationOptions, unused_name
    from harness.results.numbers import numbers
    from harness.results.report import first_error

    settings = read_settings()
    if subject is not None and not subject.strip():
        raise ConfigError("--subject names nothing: write module:function, module:chain or https://…, or leave it out.")
    if subject and (config or change):
        raise ConfigError("--subject evaluates an app of yours; leave --config and --set out.")
    chosen = subject or read_config(config, change)
    options = EvaluationOptions(metric_set(metrics or DEFAULT), judge, concurrency, store, replay_only)
    with progress_line(quiet=as_json) as line:
        project = Project(settings, line.update)
        stem = f"{project.golden(golden).card.name}-{split.value}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        title = plain_name(name) if name else unused_name(settings, "runs", stem)
        run = project.finished_evaluation(chosen, golden, split.value, options, cases=cases, name=title, tracking=tracking)
        done = run_async(run)
    report = done.report

    if as_json:
        print_json(
            {
                "report": str(done.page),
                "cases": str(done.cases),
                "run": done.run_id,
                "numbers": numbers(report),
                "store": done.counts.as_dict() if done.counts else {},
            }
        )
    else:
        from harness.cli.output.tables import show_evaluation

        show_evaluation(report)
        if done.counts:
            typer.echo(f"kept from before: {done.counts.summary()}")
        typer.echo(f"\nreport  {done.page}\ncases   {done.cases}")
    if report.outages:
        first = report.outages[0].error
        assert first is not None
        raise InfrastructureError(f"{len(report.outages)} of {len(report.rows)} cases were not answered: {first.message}")
    if report.errors and len(report.errors) == len(report.rows):
        raise ConfigError(f"Not one of {len(report.rows)} cases was answered. {first_error(report)}")
