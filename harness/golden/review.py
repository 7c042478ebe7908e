"""Reviewing candidates: the decisions on them, each stored at once, and what a reviewer is shown."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from harness.golden.candidate import Candidate, Proposal, ReviewNote, locate_proposal, read_proposal
from harness.golden.case import Case, Evidence
from harness.golden.queue import Queue
from harness.golden.sets import GoldenSet
from harness.golden.similarity import question_words
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.text.stopwords import without_stop_words

CONTEXT_CHARACTERS = 240  # characters shown before and after a quote
EDITED_FIELDS = ("question", "answers", "evidence", "key_facts", "answerable", "domain", "kind", "difficulty")  # shown even if empty


@dataclass(frozen=True, slots=True)
class QuoteContext:
    """A quote with the text around it."""

    document: str
    before: str
    quote: str
    after: str


@dataclass(frozen=True, slots=True)
class NearestCase:
    """The case of the set that resembles a question most; `similarity` is from 0 to 1."""

    case: Case
    similarity: float


def now() -> str:
    """The time of the call, as provenance and decisions record it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class CandidateReview:
    """A reviewer's decisions on the candidates of a queue, checked against the set and its corpus."""

    queue: Queue
    golden: GoldenSet
    corpus: Corpus
    reviewer: str
    clock: Callable[[], str] = now

    def __post_init__(self) -> None:
        if not self.reviewer.strip():
            raise DataError("A decision needs a reviewer's name: --reviewer NAME.")

    def accept(self, candidate: Candidate) -> Candidate:
        """Accept a candidate that makes a complete case with valid quotes; the set itself does not change yet."""
        located = self.check(candidate.model_copy(update={"reviewer": self.reviewer}))
        return self._decide(candidate, {"state": "accepted", "note": "", "case": located.case})

    def reject(self, candidate: Candidate, why: str) -> Candidate:
        """Reject for a reason."""
        if not why.strip():
            raise DataError(f"Rejecting {candidate.id!r} needs a reason.")
        return self._decide(candidate, {"state": "rejected", "note": why.strip()})

    def edit(self, candidate: Candidate, text: str) -> Candidate:
        """Replace the proposal by the reviewer's YAML; it waits on, without its old marks."""
        where = f"candidate {candidate.id!r} as edited"
        try:
            values = load_plain(text)
        except YamlError as error:
            raise DataError(f"{where}, line {error.line}: not YAML: {error}") from None
        proposal = locate_proposal(read_proposal(values, where), self.corpus, where)
        edited = candidate.model_copy(update={"case": proposal, "marks": (ReviewNote(name="edited", reason=f"by {self.reviewer}"),)})
        self.check(edited)
        return self._decide(candidate, {"case": edited.case, "marks": edited.marks, "state": "waiting"})

    def check(self, candidate: Candidate) -> Candidate:
        """The candidate with its quotes located, or a `DataError` that says why it cannot be in the set."""
        where = f"candidate {candidate.id!r}"
        located = candidate.model_copy(update={"case": locate_proposal(candidate.case, self.corpus, where)})
        case = located.as_case()
        for other in self.golden.cases:
            if other.id == case.id:
                raise DataError(f"{where}: {self.golden.id} has a case {case.id!r} already. Edit its 'id'.")
            if question_words(other) == question_words(case):
                raise DataError(f"{where}: {self.golden.id} asks this already: case {other.id!r}.")
        for queued in self.queue.read():
            accepted = queued.state == "accepted" and not queued.published and queued.id != candidate.id
            if accepted and question_words(queued.as_case()) == question_words(case):
                raise DataError(f"{where}: {queued.id!r} asks this already, and is accepted.")
        return located

    def _decide(self, expected: Candidate, decision: dict[str, object]) -> Candidate:
        def change(before: Candidate) -> Candidate:
            if before.published:
                raise DataError(f"Candidate {before.id!r} is in {before.published} already.")
            if before != expected:
                raise DataError(
                    f"Candidate {before.id!r} was changed meanwhile (now {before.state}, by {before.reviewer or 'nobody'}). Look again."
                )
            return before.model_copy(update={"reviewer": self.reviewer, "decided_at": self.clock(), **decision})

        return self.queue.change(expected.id, change)


def proposal_yaml(proposal: Proposal) -> str:
    """A proposal as a reviewer edits it; quotes are found again, so offsets are left out."""
    values = proposal.model_dump(mode="json", exclude_defaults=True)
    fields = {name: getattr(proposal, name) for name in EDITED_FIELDS}
    fields |= values | {"evidence": [{"document": evidence.document, "quote": evidence.quote} for evidence in proposal.evidence]}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000)


def quote_context(evidence: Evidence, corpus: Corpus) -> QuoteContext:
    """A quote with the text around it, cut at line ends where possible."""
    text = next((document.text for document in corpus.documents if document.id == evidence.document), "")
    start = text.find(evidence.quote) if evidence.start < 0 else evidence.start
    end = start + len(evidence.quote)
    if start < 0 or text[start:end] != evidence.quote:
        return QuoteContext(evidence.document, "", evidence.quote, "")
    before, after = text[max(0, start - CONTEXT_CHARACTERS) : start], text[end : end + CONTEXT_CHARACTERS]
    before = before[before.find("\n") + 1 :] if start > CONTEXT_CHARACTERS and "\n" in before else before
    after = after[: after.rfind("\n")] if end + CONTEXT_CHARACTERS < len(text) and "\n" in after else after
    return QuoteContext(evidence.document, before, evidence.quote, after)


def nearest_case(question: str, cases: Iterable[Case]) -> NearestCase | None:
    """The case whose question has the most words in common with this one; `None` without cases."""
    from rapidfuzz import fuzz, process, utils

    known = {case.id: case for case in cases}
    questions = {ident: without_stop_words(case.question) for ident, case in known.items()}
    match = process.extractOne(without_stop_words(question), questions, scorer=fuzz.token_set_ratio, processor=utils.default_process)
    return None if match is None else NearestCase(known[match[2]], match[1] / 100)
