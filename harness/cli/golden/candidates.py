"""Candidates on a terminal; their words are data, so nothing in them can steer it."""

from collections.abc import Sequence
from typing import Any

import typer
from rich.text import Text

from harness.cli.output.console import terminal_console
from harness.golden.candidate import Candidate, ReviewNote
from harness.golden.review import CandidateReview, NearestCase, QuoteContext, nearest_case, proposal_yaml, quote_context
from serving.pipeline.errors import DataError

KEYS = "[a]ccept  [e]dit  [r]eject  [s]kip  [q]uit"


def show_candidate(candidate: Candidate, quotes: Sequence[QuoteContext], near: NearestCase | None, place: str = "") -> None:
    """A candidate as a reviewer reads it: the proposal, its evidence in context, its marks and the case most like it."""
    console, case = terminal_console(wrap=True), candidate.case
    console.print(
        Text(f"\n{place}{candidate.id}  {case.domain} · {case.kind} · {case.difficulty} · {candidate.provenance.text}", style="dim")
    )
    console.print(Text(case.question, style="bold"))
    for answer in case.answers:
        console.print(Text(f"  = {answer}"))
    if case.key_facts:
        console.print(Text(f"  facts: {' | '.join(case.key_facts)}"))
    if not case.answerable:
        console.print(Text("  must be refused: no document answers it"))
    for quote in quotes:
        console.print(Text(f"  {quote.document}", style="cyan"))
        console.print(_in_context(quote))
    for mark in candidate.marks:
        console.print(Text(f"  ! {mark_text(mark)}", style="yellow"))
    if near is not None:
        console.print(Text(f"  nearest case ({near.similarity:.0%}): {near.case.id}: {near.case.question}", style="dim"))


def mark_text(mark: ReviewNote) -> str:
    """A mark on one line."""
    return f"{mark.name}: {mark.reason}" if mark.reason else mark.name


def row(candidate: Candidate) -> dict[str, Any]:
    """A candidate for `--json`, with nothing left out."""
    return candidate.model_dump(mode="json")


def line(candidate: Candidate) -> str:
    """A candidate on one line."""
    marks = "".join(f" [{mark.name}]" for mark in candidate.marks)
    return f"{candidate.id}  {candidate.published or candidate.state}  {candidate.case.kind}{marks}  {candidate.case.question}"


def _in_context(quote: QuoteContext) -> Text:
    text = Text()
    text.append(quote.before, style="dim")
    text.append(quote.quote, style="bold reverse")
    text.append(quote.after, style="dim")
    lines = Text("\n").join(line for line in text.split("\n") if line.plain.strip())
    return Text("\n").join(Text("    ") + line for line in lines.split("\n"))


def review_each(decisions: CandidateReview, limit: int | None) -> None:
    """Show every waiting candidate and ask; what was decided stays decided, however the loop ends."""
    waiting = [candidate for candidate in decisions.queue.read() if candidate.state == "waiting"][:limit]
    for number, candidate in enumerate(waiting, 1):
        quotes = [quote_context(evidence, decisions.corpus) for evidence in candidate.case.evidence]
        show_candidate(candidate, quotes, nearest_case(candidate.case.question, decisions.golden.cases), f"{number}/{len(waiting)}  ")
        if not _is_decided(decisions, candidate):
            return


def _is_decided(decisions: CandidateReview, candidate: Candidate) -> bool:
    """Ask until the candidate is decided or skipped; False when the reviewer has had enough."""
    draft = ""
    while True:
        key = str(typer.prompt(KEYS, default="s", show_default=False, err=True)).strip().casefold()[:1]
        try:
            match key:
                case "a":
                    decisions.accept(candidate)
                    return True
                case "r":
                    decisions.reject(candidate, typer.prompt("Why", err=True))
                    return True
                case "e":
                    draft = _edited_text(candidate, draft)
                    if draft:
                        candidate, draft = decisions.edit(candidate, draft), ""
                        show_candidate(candidate, [quote_context(evidence, decisions.corpus) for evidence in candidate.case.evidence], None)
                case "s" | "q":
                    return key == "s"
                case _:
                    typer.echo(KEYS, err=True)
        except DataError as error:
            typer.echo(f"  {error}", err=True)


def _edited_text(candidate: Candidate, draft: str) -> str:
    """What the reviewer made of the candidate (or of the last try at it) in the editor; empty when nothing was changed."""
    import click

    try:
        return click.edit(draft or proposal_yaml(candidate.case), extension=".yaml") or ""
    except click.ClickException as error:
        raise DataError(f"The editor did not end well: {error.format_message()} Name another with EDITOR.") from None
