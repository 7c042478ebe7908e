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
    stage_store = configured_stage_store(read_settings())
    sizes = stage_store.sizes()
    if as_json:
        rows = [{"stage": size.stage, "entries": size.entries, "bytes": size.bytes, "oldest_days": size.oldest_days} for size in sizes]
        print_json({"path": stage_store.place, "stages": rows})
        return
    copy = stage_store.copy if isinstance(stage_store, LayeredStageStore) else None
    typer.echo(f"{stage_store.place}: {_megabytes(sum(size.bytes for size in sizes))}")
    for size in sizes:
        age = f"written at most {size.oldest_days} days ago" if copy else f"unused for at most {size.oldest_days} days"
        typer.echo(f"  {size.stage}: {size.entries} entries, {_megabytes(size.bytes)}, {age}")
    if copy:
        typer.echo(f"this machine's copy: {_megabytes(sum(size.bytes for size in copy.sizes()))} in {copy.place}")


@app.command()
def gc(
    days: Annotated[int, typer.Option("--unused-days", min=0, help="Forget what was not used for so many days; 0: everything.")] = 30,
    stage: Annotated[str, typer.Option("--stage", help="Only this stage.")] = "",
    as_json: AsJson = False,
) -> None:
    """Forget what was not used for long; it will be computed again when it is needed. A bucket is left alone: give it a lifecycle rule."""
    opened = configured_stage_store(read_settings())
    stage_store = opened.copy if isinstance(opened, LayeredStageStore) else opened
    known = [size.stage for size in stage_store.sizes()]
    if stage and stage not in known:
        raise ConfigError(f"Nothing of stage {stage!r} is kept. Kept: {', '.join(known) or 'nothing'}.")
    count = stage_store.remove(stage=stage, unused_days=days)
    if as_json:
        print_json({"removed": count})
        return
    typer.echo(f"{count} entries forgotten")
    if stage_store is not opened:
        typer.echo(f"That was this machine's copy. What is in {opened.place} is ended by the bucket's own lifecycle rules, not from here.")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
