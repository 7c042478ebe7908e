"""`touchstone store …`: what is kept of earlier work, and how to forget it."""

from typing import Annotated

import typer

from harness.cli.options import AsJson, open_stages, print_json, settings
from serving.pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show how much is kept, by stage."""
    stages = open_stages(settings())
    assert stages is not None
    sizes = stages.sizes()
    if as_json:
        plain = [{"stage": one.stage, "entries": one.entries, "bytes": one.bytes, "oldest_days": one.oldest_days} for one in sizes]
        print_json({"path": str(stages.path), "stages": plain})
        return
    typer.echo(f"{stages.path}: {_megabytes(sum(one.bytes for one in sizes))}")
    for one in sizes:
        typer.echo(f"  {one.stage}: {one.entries} entries, {_megabytes(one.bytes)}, unused for at most {one.oldest_days} days")


@app.command()
def gc(
    days: Annotated[int, typer.Option("--unused-days", min=0, help="Forget what was not used for so many days; 0: everything.")] = 30,
    stage: Annotated[str, typer.Option("--stage", help="Only this stage.")] = "",
    as_json: AsJson = False,
) -> None:
    """Forget what was not used for long; it will be computed again when it is needed."""
    stages = open_stages(settings())
    assert stages is not None
    known = [one.stage for one in stages.sizes()]
    if stage and stage not in known:
        raise ConfigError(f"Nothing of stage {stage!r} is kept. Kept: {', '.join(known) or 'nothing'}.")
    count = stages.remove(stage=stage, unused_days=days)
    if as_json:
        print_json({"removed": count})
    else:
        typer.echo(f"{count} entries forgotten")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
