"""`touchstone store …`: what is kept of earlier work, and how to forget it."""

from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.open import configured_stage_store
from serving.pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show how much is kept, by stage."""
    stages = configured_stage_store(read_settings())
    sizes = stages.sizes()
    if as_json:
        plain = [{"stage": one.stage, "entries": one.entries, "bytes": one.bytes, "oldest_days": one.oldest_days} for one in sizes]
        print_json({"path": stages.place, "stages": plain})
        return
    copy = stages.copy if isinstance(stages, LayeredStageStore) else None
    typer.echo(f"{stages.place}: {_megabytes(sum(one.bytes for one in sizes))}")
    for one in sizes:
        age = f"written at most {one.oldest_days} days ago" if copy else f"unused for at most {one.oldest_days} days"
        typer.echo(f"  {one.stage}: {one.entries} entries, {_megabytes(one.bytes)}, {age}")
    if copy:
        typer.echo(f"this machine's copy: {_megabytes(sum(one.bytes for one in copy.sizes()))} in {copy.place}")


@app.command()
def gc(
    days: Annotated[int, typer.Option("--unused-days", min=0, help="Forget what was not used for so many days; 0: everything.")] = 30,
    stage: Annotated[str, typer.Option("--stage", help="Only this stage.")] = "",
    as_json: AsJson = False,
) -> None:
    """Forget what was not used for long; it will be computed again when it is needed. A bucket is left alone: give it a lifecycle rule."""
    opened = configured_stage_store(read_settings())
    stages = opened.copy if isinstance(opened, LayeredStageStore) else opened
    known = [one.stage for one in stages.sizes()]
    if stage and stage not in known:
        raise ConfigError(f"Nothing of stage {stage!r} is kept. Kept: {', '.join(known) or 'nothing'}.")
    count = stages.remove(stage=stage, unused_days=days)
    if as_json:
        print_json({"removed": count})
        return
    typer.echo(f"{count} entries forgotten")
    if stages is not opened:
        typer.echo(f"That was this machine's copy. What is in {opened.place} is ended by the bucket's own lifecycle rules, not from here.")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
