"""`touchstone ask`: one question, one answer, with where it comes from."""

import sys
from typing import Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, CorpusName, Set, print_json, read_config
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.codec import Codec
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.types import PUBLIC, GuardAction, Principal, Query, Trace


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    config: ConfigFile = None,
    change: Set = None,
    corpus: CorpusName = "",
    channel: Annotated[str, typer.Option("--channel", help="Ask the release of a channel instead of a configuration.")] = "",
    group: Annotated[list[str] | None, typer.Option("--group", help="A group the asker belongs to. Repeatable.")] = None,
    domain: Annotated[list[str] | None, typer.Option("--domain", help="Look only in this domain. Repeatable.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only documents with this metadata, e.g. status=current. Repeatable."),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="The asker's tenant.")] = PUBLIC,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Also print the prompt the model read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer one question and show its citations, route, cost and time."""
    from harness.project import Project
    from harness.project.arguments import question_text

    try:
        question.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"The question is not UTF-8: {question!r}. Is the terminal's character set UTF-8?") from None
    question_text(question)  # before an index is built for it
    asker = Principal(id="command-line", tenant=tenant, groups=frozenset(group or ()))
    query = Query(question, asker, tuple(domain or ()), dict(_pair(text) for text in where or ()))
    live = sys.stdout.isatty() and not as_json
    emit = (lambda piece: typer.echo(piece, nl=False)) if live else None
    what = f"channel:{channel}" if channel else read_config(config, change)
    with progress_line() as line:
        project = Project(read_settings(), line.update)
        if not channel:
            run_async(project.index(what, corpus=corpus))
    placeholders = Placeholders()
    trace = run_async(project.ask(query, what, corpus=corpus, emit=emit, placeholders=placeholders))
    if channel and not trace.hits and (query.domains or query.metadata):
        raise ConfigError(f"Nothing that you may read in the index of channel {channel!r} is of these --domain and --where.")
    if as_json:
        print_json(Codec(Trace).dump(trace))
        return
    typer.echo("" if live else placeholders.restore(trace.answer.shown))
    _show(trace)
    if show_prompt:
        typer.echo(f"\n--- {trace.prompt_id} ---\n{trace.prompt}")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--where {text!r}: write KEY=VALUE, for example status=current.")
    return key, value


def _show(trace: Trace) -> None:
    by_id = {hit.chunk.id: hit for hit in trace.passages}
    if trace.answer.citations:
        typer.echo("")
    for citation in sorted(trace.answer.citations, key=lambda citation: citation.marker):
        chunk = by_id[citation.chunk_id].chunk
        heading = f" › {chunk.heading}" if chunk.heading else ""
        typer.echo(f"  [{citation.marker}] {chunk.document_id}{heading}  ({chunk.start}–{chunk.end})")
    for warning in trace.answer.warnings:
        typer.echo(f"\n  ! {warning}")
    for verdict in trace.guard:
        if verdict.action is not GuardAction.ALLOW:
            typer.echo(f"\n  guard {verdict.side}.{verdict.check}: {verdict.action.value} ({verdict.reason or verdict.rule})", nl=False)
    tier = f"{trace.route.tier} ({trace.route.reason})" if trace.route else "none"
    money = " simulated" if any(usage.simulated for usage in trace.usage) else ""
    tokens = sum(usage.input_tokens + usage.output_tokens for usage in trace.usage)
    sure = "" if trace.answer.confidence is None else f" · confidence {trace.answer.confidence:.0%}"
    typer.echo(f"\n  model {trace.answer.model or 'none'} · route {tier}{sure}")
    typer.echo(f"  {trace.milliseconds:.0f} ms · {tokens} tokens · ${trace.usd:.6f}{money} · config {trace.config_digest}")
