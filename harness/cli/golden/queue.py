"""`touchstone golden add | review`: proposed cases, and how they become a new version of a set."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import AsJson, print_json, read_corpus
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import near

if TYPE_CHECKING:
    from harness.golden.candidate import Proposal
    from harness.golden.queue import Queue
    from harness.golden.review import CandidateReview
    from harness.golden.sets import GoldenSet

SetName = Annotated[str, typer.Argument(help="A golden set by name; candidates are for its next version.")]
STATES = ("waiting", "accepted", "rejected", "all")


def add(
    name: SetName,
    question: Annotated[str, typer.Option("--question", help="The question.")] = "",
    answer: Annotated[list[str] | None, typer.Option("--answer", help="A reference answer. Repeatable.")] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option("--evidence", metavar="'DOCUMENT: QUOTE'", help="Words of a document that stand there once. Repeatable."),
    ] = None,
    key_fact: Annotated[list[str] | None, typer.Option("--key-fact", help="What a right answer must contain. Repeatable.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="factoid, multi-hop, comparison, aggregation, exact-code, temporal, …")] = "",
    domain: Annotated[str, typer.Option("--domain", help="Default: that of the first document quoted.")] = "",
    unanswerable: Annotated[bool, typer.Option("--unanswerable", help="No document answers it: it must be refused.")] = False,
    source: Annotated[str, typer.Option("--source", help="hand, or feedback: then --trace says on which query.")] = "hand",
    trace: Annotated[str, typer.Option("--trace", metavar="ID", help="The query that feedback was given on.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who proposes it.")] = "",
    file: Annotated[str, typer.Option("--from", metavar="FILE", help="JSON Lines, a proposal each; - for standard input.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put proposed cases into a set's queue, after checking their quotes against the corpus; the set itself does not change."""
    from harness.cli.golden.candidates import line, row
    from harness.golden.candidate import Candidate, Provenance, locate_proposal
    from harness.golden.lines import MAX_PROBLEMS, parse, refuse
    from harness.golden.review import now

    if source not in ("hand", "feedback"):
        raise ConfigError(f"--source {source!r}: hand or feedback; what synth proposes goes into the queue by itself.")
    if (source == "feedback") != bool(trace):
        raise ConfigError("Feedback is given on a query: --source feedback and --trace ID belong together.")
    if bool(question) == bool(file):
        raise ConfigError("Give one case by --question, --answer and --evidence, or many by --from FILE (- for standard input).")
    settings = read_settings()
    golden, queue = open_set(name, settings)
    corpus = read_corpus(golden.card.corpus, settings)
    values_given: dict[str, Any] = {"question": question, "answers": answer or [], "key_facts": key_fact or []}
    values_given |= {"evidence": [_evidence(text) for text in evidence or ()], "answerable": not unanswerable}
    values_given |= {"kind": kind or ("unanswerable" if unanswerable else "factoid"), **({"domain": domain} if domain else {})}
    proposals = _from_file(file) if file else [("the case", values_given)]
    candidates: list[Candidate] = []
    problems: list[str] = []
    for where, values in proposals:
        try:
            values = parse(values, where) if isinstance(values, str) else values
            proposal = locate_proposal(_with_domain(values, corpus, where), corpus, where, hint=len(problems) < MAX_PROBLEMS)
        except DataError as error:
            problems.append(str(error))
            continue
        candidates.append(Candidate.of(proposal, Provenance(source=source, made_at=now(), by=by, trace=trace, golden=golden.id)))
    refuse(problems)
    added = queue.add(candidates)
    if as_json:
        print_json(
            {
                "queue": str(queue.path),
                "added": [row(candidate) for candidate in added.new],
                "known": [candidate.id for candidate in added.known],
            }
        )
        return
    for candidate in added.new:
        typer.echo(line(candidate))
    known = f"; {len(added.known)} were there already" if added.known else ""
    typer.echo(f"{len(added.new)} added to {queue.path}{known}. Review them: touchstone golden review {golden.card.name}")


def review(
    name: SetName,
    reviewer: Annotated[str, typer.Option("--reviewer", metavar="NAME", help="Whose decisions these are.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many candidates.")] = None,
    accept: Annotated[list[str] | None, typer.Option("--accept", metavar="ID", help="Accept without asking. Repeatable.")] = None,
    reject: Annotated[list[str] | None, typer.Option("--reject", metavar="ID", help="Reject without asking. Repeatable.")] = None,
    why: Annotated[str, typer.Option("--why", help="The reason of --reject.")] = "",
    publish: Annotated[bool, typer.Option("--publish", help="Make what is accepted the next version of the set.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Show the queue, decide nothing.")] = False,
    state: Annotated[str, typer.Option("--state", help="Of a listing: waiting, accepted, rejected or all.")] = "waiting",
    as_json: AsJson = False,
) -> None:
    """Accept, edit or reject candidates one by one; each decision is stored at once, and --publish makes the next version."""
    from harness.cli.golden.candidates import review_each
    from harness.golden.review import CandidateReview

    if state not in STATES:
        raise ConfigError(f"--state {state!r}.{near(state, list(STATES))} Known: {', '.join(STATES)}.")
    settings = read_settings()
    golden, queue = open_set(name, settings)
    decides = bool(accept or reject or publish)
    if listing or (as_json and not decides):
        _list(queue, state, limit, as_json=as_json)
        return
    decisions = CandidateReview(queue, golden, read_corpus(golden.card.corpus, settings), reviewer)
    for ident in accept or ():
        decisions.accept(queue.get(ident))
    for ident in reject or ():
        decisions.reject(queue.get(ident), why)
    if not decides:
        review_each(decisions, limit)
        accepted = sum(candidate.state == "accepted" and not candidate.published for candidate in queue.read())
        next_version = f"{golden.card.name}/v{golden.card.version + 1}"
        publish = bool(accepted) and typer.confirm(f"\n{accepted} accepted. Publish them as {next_version}?", default=False)
    published = _publish(decisions, settings) if publish else None
    if as_json:
        decided = [queue.get(ident) for ident in [*(accept or ()), *(reject or ())]]
        print_json({"decided": {candidate.id: candidate.state for candidate in decided}, "published": published.id if published else None})
    elif published:
        old, new = golden.folder / "cases.jsonl", published.folder / "cases.jsonl"
        added = len(published.cases) - len(golden.cases)
        typer.echo(f"{published.id}: {len(published.cases)} cases, {added} of them new, sealed, digest {published.digest}")
        typer.echo(f"  what changed: git diff --no-index {old} {new}")
    else:
        waiting = sum(candidate.state == "waiting" for candidate in queue.read())
        typer.echo(f"{len(accept or ())} accepted, {len(reject or ())} rejected, {waiting} waiting" if decides else f"{waiting} waiting")


def open_set(name: str, settings: HarnessSettings) -> "tuple[GoldenSet, Queue]":
    """The newest version of a set, and its queue."""
    from harness.golden.load import load_golden
    from harness.golden.queue import Queue

    golden = load_golden(settings.datasets, name.partition("/")[0])
    return golden, Queue(golden.folder.parent)


def _evidence(text: str) -> dict[str, str]:
    document, colon, quote = text.partition(": ")
    if not colon or not quote.strip():
        raise ConfigError(f"--evidence {text!r}: write 'DOCUMENT: QUOTE', for example 'hr/leave.md: 30 days of paid holiday'.")
    return {"document": document.strip(), "quote": quote.strip()}


def _from_file(file: str) -> list[tuple[str, Any]]:
    """The lines of a file or of standard input, each with its place."""
    from harness.golden.lines import lines

    if file != "-":
        return [(line.where, line.text) for line in lines(Path(file))]
    return [(f"standard input:{number}", text) for number, text in enumerate(sys.stdin, 1) if text.strip()]


def _with_domain(values: Any, corpus: Corpus, where: str) -> "Proposal":
    """The proposal, its domain that of the first document quoted where it names none."""
    from harness.golden.candidate import read_proposal

    proposal = read_proposal(values, where)
    first = corpus.get(proposal.evidence[0].document) if proposal.evidence else None
    return proposal.model_copy(update={"domain": first.domain}) if first and "domain" not in proposal.model_fields_set else proposal


def _list(queue: "Queue", state: str, limit: int | None, *, as_json: bool) -> None:
    from harness.cli.golden.candidates import line, row

    chosen = [candidate for candidate in queue.read() if state in ("all", candidate.state)][:limit]
    if as_json:
        print_json([row(candidate) for candidate in chosen])
        return
    for candidate in chosen:
        typer.echo(line(candidate))
    typer.echo(f"{len(chosen)} {'in the queue' if state == 'all' else state}, {queue.path}")


def _publish(decisions: "CandidateReview", settings: HarnessSettings) -> "GoldenSet":
    from harness.golden.publish import publish

    name, today = decisions.queue.folder.name, decisions.clock()[:10]
    return publish(settings.datasets, name, decisions.corpus, reviewer=decisions.reviewer, today=today)
