"""`touchstone store …`: what the stage store holds, and how to clean it up."""

from typing import Annotated

import typer

from harness.audit import audited_act
from harness.cli.options import AsJson, print_json
from harness.settings import read_settings
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.open import configured_stage_store
from serving.pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show how much is stored, by stage."""
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
    indexes: Annotated[bool, typer.Option("--indexes", help="Indexes instead: those that no release stands on.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --indexes: say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what was not used for long; it is computed again when it is needed.

    Stages in a bucket are left alone: give it a lifecycle rule. Indexes are removed wherever they are, unless a release stands on them.
    """
    if indexes:
        if stage:
            raise ConfigError("--stage and --indexes are two things: run the command twice.")
        _remove_indexes(days, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        raise ConfigError("--dry-run goes with --indexes.")
    settings = read_settings()
    opened = configured_stage_store(settings)
    stage_store = opened.copy if isinstance(opened, LayeredStageStore) else opened
    known = [size.stage for size in stage_store.sizes()]
    if stage and stage not in known:
        raise ConfigError(f"Nothing of stage {stage!r} is kept. Kept: {', '.join(known) or 'nothing'}.")
    with audited_act(settings, "store.gc", stage_store.place, {"stage": stage, "unused_days": days}) as result:
        count = stage_store.remove(stage=stage, unused_days=days)
        result["removed"] = count
    if as_json:
        print_json({"removed": count})
        return
    typer.echo(f"{count} entries forgotten")
    if stage_store is not opened:
        typer.echo(f"That was this machine's copy. What is in {opened.place} is ended by the bucket's own lifecycle rules, not from here.")


def _remove_indexes(days: int, *, dry_run: bool, as_json: bool) -> None:
    from harness.project.unused_indexes import remove_index, unused_indexes

    settings = read_settings()
    found = unused_indexes(settings, unused_days=days)
    for index in () if dry_run else found:
        with audited_act(settings, "index.delete", index.recipe, {"place": settings.index_root, "unused_days": days, "bytes": index.bytes}):
            remove_index(settings, index)
    if as_json:
        rows = [{"index": one.recipe, "changed_at": one.changed_at.isoformat(), "bytes": one.bytes, "whole": one.whole} for one in found]
        print_json({"place": settings.index_root, "dry_run": dry_run, "removed" if not dry_run else "would_remove": rows})
        return
    for one in found:
        state = "" if one.whole else ", never finished"
        typer.echo(f"{one.recipe}  {_megabytes(one.bytes)}, changed {one.changed_at:%Y-%m-%d}{state}")
    typer.echo(f"{len(found)} indexes {'would be ' if dry_run else ''}removed from {settings.index_root}")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
