"""A reviewer's desk: what is shown of a candidate, and the decisions on it, each kept at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from harness.golden.candidate import Candidate, Mark, Proposal, located, read_proposal
from harness.golden.case import Case, Evidence
from harness.golden.check_alike import asked
from harness.golden.queue import Queue
from harness.golden.sets import GoldenSet
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.text.stopwords import without_stop_words

AROUND = 240  # characters shown before and after a quote
FIELDS = ("question", "answers", "evidence", "key_facts", "answerable", "domain", "kind", "difficulty")  # shown for editing even if empty


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote with the text around it."""

    document: str
    before: str
    quote: str
    after: str


@dataclass(frozen=True, slots=True)
class Nearest:
    """The case of the set that resembles a question most; `similarity` is from 0 to 1."""

    case: Case
    similarity: float


def now() -> str:
    """The moment of the call, as provenance and decisions keep it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Desk:
    """One reviewer, one queue, and the set and corpus that candidates are held against."""

    queue: Queue
    golden: GoldenSet
    corpus: Corpus
    reviewer: str
    clock: Callable[[], str] = now

    def __post_init__(self) -> None:
        if not self.reviewer.strip():
            raise DataError("A decision needs a reviewer's name: --reviewer NAME.")

    def accept(self, candidate: Candidate) -> Candidate:
        """Accept, if it makes a whole case whose quotes stand; the set itself does not change yet."""
        checked = self.checked(candidate.model_copy(update={"reviewer": self.reviewer}))
        return self._decide(candidate, {"state": "accepted", "note": "", "case": checked.case})

    def reject(self, candidate: Candidate, why: str) -> Candidate:
        """Reject for a reason."""
        if not why.strip():
            raise DataError(f"Rejecting {candidate.id!r} needs a reason.")
        return self._decide(candidate, {"state": "rejected", "note": why.strip()})

    def edit(self, candidate: Candidate, text: str) -> Candidate:
        """Replace the proposal by what a reviewer wrote as YAML; it waits on, with its old marks gone, which held for the old words."""
        where = f"candidate {candidate.id!r} as edited"
        try:
            values = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2024-13-45 has the shape of a date
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise DataError(f"{where}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
        proposal = located(read_proposal(values, where), self.corpus, where)
        edited = candidate.model_copy(update={"case": proposal, "marks": (Mark(name="edited", reason=f"by {self.reviewer}"),)})
        self.checked(edited)
        return self._decide(candidate, {"case": edited.case, "marks": edited.marks, "state": "waiting"})

    def checked(self, candidate: Candidate) -> Candidate:
        """The candidate with its quotes located, or a `DataError` that says what keeps it out of the set."""
        where = f"candidate {candidate.id!r}"
        whole = candidate.model_copy(update={"case": located(candidate.case, self.corpus, where)})
        case = whole.as_case()
        for other in self.golden.cases:
            if other.id == case.id:
                raise DataError(f"{where}: {self.golden.id} has a case {case.id!r} already. Edit its 'id'.")
            if asked(other) == asked(case):
                raise DataError(f"{where}: {self.golden.id} asks this already: case {other.id!r}.")
        for one in self.queue.read():
            if one.state == "accepted" and not one.published and one.id != candidate.id and asked(one.as_case()) == asked(case):
                raise DataError(f"{where}: {one.id!r} asks this already, and is accepted.")
        return whole

    def _decide(self, seen: Candidate, decision: dict[str, object]) -> Candidate:
        def change(before: Candidate) -> Candidate:
            if before.published:
                raise DataError(f"Candidate {before.id!r} is in {before.published} already.")
            if before != seen:
                raise DataError(
                    f"Candidate {before.id!r} was changed meanwhile (now {before.state}, by {before.reviewer or 'nobody'}). Look again."
                )
            return before.model_copy(update={"reviewer": self.reviewer, "decided_at": self.clock(), **decision})

        return self.queue.change(seen.id, change)


def as_yaml(proposal: Proposal) -> str:
    """A proposal as a reviewer edits it; quotes are found again, so offsets are left out."""
    values = proposal.model_dump(mode="json", exclude_defaults=True)
    whole = {name: getattr(proposal, name) for name in FIELDS}
    whole |= values | {"evidence": [{"document": one.document, "quote": one.quote} for one in proposal.evidence]}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in whole.items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000)


def quoted(evidence: Evidence, corpus: Corpus) -> Quoted:
    """A quote in its surroundings, cut at line ends where there are some."""
    text = next((document.text for document in corpus.documents if document.id == evidence.document), "")
    start = text.find(evidence.quote) if evidence.start < 0 else evidence.start
    end = start + len(evidence.quote)
    if start < 0 or text[start:end] != evidence.quote:
        return Quoted(evidence.document, "", evidence.quote, "")
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    before = before[before.find("\n") + 1 :] if start > AROUND and "\n" in before else before
    after = after[: after.rfind("\n")] if end + AROUND < len(text) and "\n" in after else after
    return Quoted(evidence.document, before, evidence.quote, after)


def nearest(question: str, cases: Iterable[Case]) -> Nearest | None:
    """The case whose question has the most words in common with this one, whatever their order; None without any."""
    from rapidfuzz import fuzz, process, utils

    known = {case.id: case for case in cases}
    about = {ident: without_stop_words(case.question) for ident, case in known.items()}
    found = process.extractOne(without_stop_words(question), about, scorer=fuzz.token_set_ratio, processor=utils.default_process)
    return None if found is None else Nearest(known[found[2]], found[1] / 100)
