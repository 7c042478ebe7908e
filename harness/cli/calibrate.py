"""`touchstone calibrate STAGE LABELS`: a threshold whose risk is shown to be below a level, or the result that there is none."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.calibrate import SOURCES
from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, print_json
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.plain_yaml import YamlError, load_plain

if TYPE_CHECKING:
    from harness.calibrate.verify import Verification
    from harness.project.calibrate import FinishedCalibration

LEVELS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
NOT_PROVEN = 1  # no safe threshold, or a promise that does not hold: a script that goes on with it must stop

Stage = Annotated[str, typer.Argument(metavar="STAGE", help=f"{', '.join(SOURCES.own_names())}.")]
Files = Annotated[
    list[Path] | None, typer.Argument(metavar="LABELS", help="JSONL files of labels; what a line holds: docs/calibration.md.")
]


def calibrate(
    stage: Stage,
    files: Files = None,
    level: Annotated[float, typer.Option("--level", help="The risk that must not be exceeded, such as 0.01.")] = 0.01,
    confidence: Annotated[float, typer.Option("--confidence", help="How surely.")] = 0.95,
    risk: Annotated[str, typer.Option("--risk", help="per_decision or per_action; default: what the stage's labels mean.")] = "",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="How labels are read and scored, e.g. check=toxicity. Repeatable."),
    ] = None,
    golden: Annotated[
        str, typer.Option("--golden", "-g", help="For router, in place of files: evaluate each tier alone on this set's tune split.")
    ] = "",
    config: ConfigFile = None,
    verify: Annotated[
        str, typer.Option("--verify", metavar="ARTEFACT", help="Only say whether this threshold's promise holds on these labels.")
    ] = "",
    sizes: Annotated[bool, typer.Option("--sizes", help="Only say how many labels each level takes.")] = False,
    name: Annotated[str, typer.Option("--name", help="Name of the calibration and its folder.")] = "",
    as_json: AsJson = False,
) -> None:
    """Choose the threshold of a stage from labels, with a stated risk and confidence.

    Exit code 1: there is no safe threshold, or with --verify the guarantee is not shown to hold.
    """
    from harness.project.calibrate import label_files

    params = _params(change)
    if sizes:
        _show_sizes(confidence, as_json=as_json)
        return
    if golden:
        files = _tier_files(stage, files, golden, config, params, quiet=as_json)
    elif config:
        raise ConfigError("--config is what is evaluated on a golden set: give --golden as well, or leave it out.")
    labels = label_files(stage, files or (), params)
    if verify:
        _verify(labels, verify, as_json=as_json)
        return
    _calibrate(labels, {"level": level, "confidence": confidence, "kind": risk}, name, as_json=as_json)


def _tier_files(
    stage: str, files: Sequence[Path] | None, golden: str, config: Path | None, params: dict[str, Any], *, quiet: bool
) -> list[Path]:
    """The evaluations of both tiers on a golden set."""
    from harness.project import Project
    from harness.project.tiers import evaluate_tiers, tiers_of

    if stage != "router" or files:
        raise ConfigError("--golden makes the labels of a router, in place of files. Leave out the one or the other.")
    with progress_line(quiet=quiet) as line:
        project = Project(read_settings(), line.update)
        return run_async(evaluate_tiers(project, golden, tiers_of(params), None if config is None else str(config)))


def _calibrate(labels: Any, limit: dict[str, Any], name: str, *, as_json: bool) -> None:
    from harness.project import Project
    from harness.project.arguments import plain_name
    from harness.project.evaluate import unused_name
    from harness.reports.calibration import calibration_json

    settings = read_settings()
    title = plain_name(name) if name else unused_name(settings, "calibrations", f"{labels.stage}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    with progress_line(quiet=as_json) as line:
        finished = run_async(
            Project(settings, line.update).calibrate(labels.stage, labels.files, **limit, params=labels.params, name=title)
        )
    if as_json:
        print_json({**calibration_json(finished.calibration, finished.labelled, finished.kept), "report": str(finished.page)})
    else:
        _show(finished)
    if finished.kept is None:
        raise typer.Exit(NOT_PROVEN)


def _show(finished: "FinishedCalibration") -> None:
    from harness.calibrate.calibrate import sizes_text
    from harness.reports.calibration import config_text, fact_rows, verdict_text

    typer.echo(f"{verdict_text(finished.calibration, finished.labelled)}\n")
    rows = fact_rows(finished.calibration, finished.labelled)
    width = max(len(name) for name, _ in rows)
    for row_name, value in rows:
        typer.echo(f"{row_name:{width}}  {value}")
    typer.echo(f"{'at least':{width}}  {sizes_text(finished.calibration.limit)}")
    for note in (*finished.calibration.notes, *finished.labelled.notes):
        typer.echo(f"{'note':{width}}  {note}")
    if finished.kept is not None:
        typer.echo(f"{'artefact':{width}}  {finished.kept.digest}\n\n{config_text(finished.kept)}")
    typer.echo(f"{'report':{width}}  {finished.page}")


def _verify(labels: Any, artefact: str, *, as_json: bool) -> None:
    from harness.project import Project

    with progress_line(quiet=as_json) as line:
        project = Project(read_settings(), line.update)
        verification: Verification = run_async(project.verify_calibration(labels.stage, labels.files, artefact, params=labels.params))
    if as_json:
        print_json(asdict(verification))
    else:
        typer.echo(f"{verification.words[0].upper()}{verification.words[1:]}")
    if verification.outcome != "holds":
        raise typer.Exit(NOT_PROVEN)


def _show_sizes(confidence: float, *, as_json: bool) -> None:
    from harness.calibrate.calibrate import sizes_text
    from harness.calibrate.labelled import RiskLimit

    limits = [RiskLimit("per_action", level, confidence) for level in LEVELS]
    if as_json:
        from harness.calibrate.bounds import least_labels

        print_json([{"level": one.level, "confidence": confidence, "labels": least_labels(one.level, one.error)} for one in limits])
        return
    for one in limits:
        typer.echo(sizes_text(one))


def _params(changes: Sequence[str] | None) -> dict[str, Any]:
    """The source's parameters of `--set`."""
    values: dict[str, Any] = {}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {change!r}: write NAME=VALUE, for example check=toxicity.")
        try:
            values[name.strip()] = load_plain(value)
        except YamlError as error:
            raise ConfigError(f"--set {change!r}: the value {value!r} cannot be read: {error}. Put it in quotes.") from None
    return values
