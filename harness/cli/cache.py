"""`touchstone cache …`: the answers that the processes of a deployment share."""

import re
from typing import Annotated

import typer

from harness.audit import audited_act
from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, print_json
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True)

Release = Annotated[str, typer.Option("--release", help="Only what this release wrote: its digest.")]


@app.command("warm")
def warm(
    source: Annotated[
        str, typer.Argument(metavar="FILE|GOLDEN", help='Lines of {"question": "…", "variants": ["…"]} (.jsonl), or a golden set.')
    ],
    channel: Annotated[str, typer.Option("--channel", help="Whose release answers.")] = "dev",
    as_json: AsJson = False,
) -> None:
    """Answer reviewed questions ahead; every variant is given the answer of its question."""
    from harness.project.cache import reviewed_questions, warm_cache

    settings = read_settings()
    questions = reviewed_questions(source, settings)
    with progress_line() as line, audited_act(settings, "cache.warm", channel, {"questions": len(questions)}) as result:
        results = run_async(warm_cache(questions, channel, settings, lambda done, total: line.update("warming", done, total)))
        result["kept"] = sum(len(one.kept) for one in results)
    kept, left_out = sum(len(one.kept) for one in results), [one for one in results if one.left_out]
    usd = sum(one.trace.usd for one in results)
    if as_json:
        rows = [{"questions": list(one.left_out), "reason": one.reason} for one in left_out]
        print_json({"questions": len(results), "kept": kept, "usd": usd, "left_out": rows})
        return
    typer.echo(f"{kept} wordings of {len(results)} questions are answered from the cache now; ${usd:.6f}")
    for one in left_out:
        typer.echo(f"  left out: {'; '.join(repr(text[:80]) for text in one.left_out)}: {one.reason}")


@app.command("stats")
def stats(as_json: AsJson = False) -> None:
    """Show how much is kept, by release, and how far each cache reaches."""
    from harness.project.cache import shared_cache_size

    size = run_async(shared_cache_size(read_settings()))
    if as_json:
        print_json({"entries": size.entries, "bytes": size.bytes, "reach_lowered": size.lowered})
        return
    typer.echo(f"{sum(size.entries.values())} answers, {size.bytes / 1_000_000:.1f} MB")
    for digest in sorted(size.entries.keys() | size.lowered.keys()):
        steps = size.lowered.get(digest, 0)
        lowered = f", its reach lowered {steps}× after disagreements: touchstone cache clear --reach" if steps else ""
        typer.echo(f"  {digest}: {size.entries.get(digest, 0)} answers{lowered}")


@app.command("clear")
def clear(
    document: Annotated[str, typer.Option("--document", help="Only what was written from this document: its id.")] = "",
    release: Release = "",
    reach: Annotated[bool, typer.Option("--reach", help="Forget no answer, but give lowered caches their whole reach back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget cached answers: all of them, or some."""
    from harness.project.cache import clear_shared_cache, restore_reach

    if release and not re.fullmatch(r"[0-9a-f]{16}", release):
        raise ConfigError(f"--release {release!r}: the 16 hex digits of a digest. See them: touchstone cache stats")
    if reach and document:
        raise ConfigError("--reach forgets no answers: leave --document out.")
    settings = read_settings()
    if reach:
        with audited_act(settings, "cache.reach", release or "every release") as result:
            restored = run_async(restore_reach(settings, release))
            result["restored"] = ", ".join(restored)
        if as_json:
            print_json({"restored": restored})
            return
        typer.echo(f"the whole reach is back for {', '.join(restored)}" if restored else "no cache's reach was lowered")
        return
    with audited_act(settings, "cache.clear", document or release or "everything", {"document": document, "release": release}) as result:
        count = run_async(clear_shared_cache(settings, document=document, release=release))
        result["forgotten"] = count
    if as_json:
        print_json({"forgotten": count})
        return
    typer.echo(f"{count} answers forgotten")
