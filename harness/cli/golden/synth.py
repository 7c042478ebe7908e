"""`touchstone golden synth`: cases proposed from documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.golden.queue import SetName, open_set
from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, print_json, read_corpus
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import Spec, near

if TYPE_CHECKING:
    from harness.golden.queue import Queue
    from harness.golden.sets import GoldenSet
    from harness.golden.synth.base import Generator
    from harness.golden.synth.run import SynthesisResult
    from serving.pipeline.types import Document


def synth(
    name: SetName,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="How many to propose.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Which documents and facts are taken.")] = 7,
    model: Annotated[
        str, typer.Option("--model", help="local: templates, no model. Else a chat model, e.g. bedrock_converse:amazon.nova-lite-v1:0.")
    ] = "local",
    generator: Annotated[str, typer.Option("--generator", help="With a chat model: prompt (prompts/synth), or ragas.")] = "prompt",
    corpus: Annotated[str, typer.Option("--corpus", help="Other documents than the set's own corpus.")] = "",
    documents: Annotated[
        list[str] | None, typer.Option("--documents", metavar="PATTERN", help="Only documents like this, e.g. 'hr/*'. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the proposals, queue none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose cases from documents, by templates or with a chat model; they wait in the queue for a reviewer."""
    from harness.golden.synth.run import SynthesisResult

    settings = read_settings()
    golden, queue = open_set(name, settings)
    source = read_corpus(corpus or golden.card.corpus, settings)
    chosen = _documents(source, documents or [])
    maker = _generator(model, generator, source, settings)
    result = SynthesisResult()
    try:
        run_async(_synthesise(maker, source, chosen, result, golden, None if dry_run else queue, count, seed))
    except BaseException:
        if result.candidates or result.usage:  # what came before the failure is in the queue, and was paid
            _show_result(result, golden, queued=not dry_run, as_json=as_json)
        raise
    _show_result(result, golden, queued=not dry_run, as_json=as_json)


async def _synthesise(
    generator: "Generator",
    source: Corpus,
    documents: "Sequence[Document]",
    result: "SynthesisResult",
    golden: "GoldenSet",
    queue: "Queue | None",
    count: int,
    seed: int,
) -> None:
    from harness.cli.output.progress import progress_line
    from harness.golden.review import now
    from harness.golden.synth.run import Synthesis
    from harness.golden.synth.trivial import KeywordSearch

    search = await KeywordSearch.over(source, read_settings())
    with progress_line() as progress:
        work = Synthesis(generator, search, queue, golden.id, now)
        await work.run(documents, count, seed, result, lambda done, total: progress.update("proposing", done, total))


def _generator(model: str, generator: str, source: Corpus, settings: HarnessSettings) -> "Generator":
    """The generator that the options name."""
    from harness.golden.synth.templates import Templates

    if generator not in ("prompt", "ragas"):
        raise ConfigError(f"--generator {generator!r}.{near(generator, ['prompt', 'ragas'])} Known: prompt, ragas.")
    if model == "local":
        if generator == "ragas":
            raise ConfigError("--generator ragas needs a chat model: --model PROVIDER:MODEL. See: touchstone golden synth --help")
        return Templates(source)
    from harness.golden.synth.chat import ChatGenerator
    from harness.golden.synth.ragas import RagasGenerator
    from serving.pipeline.models.connect import connect_chat
    from serving.pipeline.prompts import PromptLibrary

    chat = connect_chat(_spec(model), settings)
    return RagasGenerator(chat) if generator == "ragas" else ChatGenerator(chat, PromptLibrary(settings.prompts, kind="synth"))


def _spec(model: str) -> Spec:
    """A model by name, or by name and parameters as in a configuration: '{name: …, temperature: 0.2}'."""
    from serving.pipeline.plain_yaml import load_plain

    if not model.startswith("{"):
        return Spec(name=model)
    try:
        return Spec.model_validate(load_plain(model))
    except ValueError:
        raise ConfigError(f"--model {model!r}: write PROVIDER:MODEL, or '{{name: PROVIDER:MODEL, temperature: 0.2}}'.") from None


def _documents(source: Corpus, patterns: "Sequence[str]") -> "list[Document]":
    """The documents whose ids match a pattern; all without one."""
    from fnmatch import fnmatchcase

    for pattern in patterns:
        if not any(fnmatchcase(document.id, pattern) for document in source.documents):
            hint = near(pattern, [document.id for document in source.documents])
            raise ConfigError(f"--documents {pattern!r}: no such document in {source.name!r}.{hint}")
    return [document for document in source.documents if not patterns or any(fnmatchcase(document.id, pattern) for pattern in patterns)]


def _show_result(result: "SynthesisResult", golden: "GoldenSet", *, queued: bool, as_json: bool) -> None:
    """Every proposal, what was left out, and the cost."""
    from harness.cli.golden.candidates import line, mark_text, row

    if as_json:
        cost = {"calls": len(result.usage), "usd": result.usd, "priced": result.priced}
        known = [candidate.id for candidate in result.known]
        print_json({"candidates": [row(candidate) for candidate in result.candidates], "known": known, "skipped": result.skipped, **cost})
        return
    for candidate in result.candidates:
        typer.echo(line(candidate))
        for text in [*(f"= {answer}" for answer in candidate.case.answers), *(f"! {mark_text(mark)}" for mark in candidate.marks)]:
            typer.echo(f"    {text}")
    for reason in result.skipped:
        typer.echo(f"  left out: {reason}", err=True)
    trivial = sum(any(mark.name == "trivial" for mark in candidate.marks) for candidate in result.candidates)
    already_queued = f", {len(result.known)} in the queue already" if result.known else ""
    typer.echo(
        f"{len(result.candidates)} proposed{already_queued}, {trivial} of them trivial for keyword search, {len(result.skipped)} left out"
    )
    if result.usage:
        tokens = sum(usage.input_tokens for usage in result.usage), sum(usage.output_tokens for usage in result.usage)
        simulated = " simulated" if any(usage.simulated for usage in result.usage) else ""
        money = f"${result.usd:.4f}{simulated}" if result.priced else "price unknown"
        typer.echo(f"{len(result.usage)} calls, {tokens[0]} + {tokens[1]} tokens, {money}")
    typer.echo(f"Review them: touchstone golden review {golden.card.name}" if queued else "Nothing was queued: --dry-run")
