"""The findings of the groundedness check, as text for the trace and for the reader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from serving.pipeline.checks.grounding.verify import VerifiedAnswer, VerifiedClaim
from serving.pipeline.text.quoted import quoted
from serving.pipeline.types import Hit

MOST_QUOTED = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """The claims that no passage supports, those that cite the wrong one, and whether the answer as a whole is below the threshold."""

    answer: VerifiedAnswer
    low: bool
    unsupported: tuple[VerifiedClaim, ...]
    wrong: tuple[VerifiedClaim, ...]

    @classmethod
    def of(cls, answer: VerifiedAnswer, *, low: bool, citations: bool) -> Self:
        """The findings of an answer; wrong citations count only where they are looked at."""
        return cls(answer, low, answer.of("unsupported"), answer.of("elsewhere") if citations else ())

    @property
    def any(self) -> bool:
        """Whether there is a finding."""
        return self.low or bool(self.unsupported or self.wrong) or not self.answer.whole

    @property
    def rule(self) -> str:
        """The rule of the most severe finding."""
        return "wrong_citation" if self.wrong and not self.unsupported and self.answer.whole else "ungrounded"

    @property
    def excerpt(self) -> str:
        """The first claim that was found against."""
        first = next(iter((*self.unsupported, *self.wrong, *self.answer.claims)), None)
        return quoted(first.claim.text) if first else ""

    @property
    def reason(self) -> str:
        """Every finding with its cause."""
        return "; ".join(self._reasons()) or "marks that no check has set"

    def warning(self, passages: Sequence[Hit], *, repaired: bool) -> str:
        """The warning for the reader; a repaired citation needs none."""
        return " ".join(self._warnings(passages, repaired=repaired))

    def _reasons(self) -> Iterator[str]:
        if self.unsupported:
            yield _listed("not grounded: ", [f"{_quote(one)} ({_cause(one)})" for one in self.unsupported])
        if self.wrong:
            yield _listed("cited from the wrong passage: ", [f"{_quote(one)} (in {one.source})" for one in self.wrong])
        if self.low and not self.unsupported:
            yield "the passages cited support it only in part"
        if not self.answer.whole:
            yield "too long to be checked to its end"

    def _warnings(self, passages: Sequence[Hit], *, repaired: bool) -> Iterator[str]:
        if self.unsupported:
            yield f"{_listed('Not supported by the documents: ', [_quote(one) for one in self.unsupported])}."
        if self.wrong and not repaired:
            named = [f"{_quote(one)} (see {_name(passages[one.source - 1])})" for one in self.wrong]
            yield f"{_listed('Supported by another source than the one cited: ', named)}."
        if self.low and not (self.unsupported or self.wrong):
            yield "The documents support this answer only in part."
        if not self.answer.whole:
            yield "This answer is too long to be checked to its end."


def _quote(one: VerifiedClaim) -> str:
    return f"“{quoted(one.claim.text).rstrip('.')}”"


def _cause(one: VerifiedClaim) -> str:
    """Why, without the values: a number may be somebody's."""
    lexical = one.support.lexical
    found = (
        ("a number or name is nowhere", lexical.numbers + lexical.names),
        ("contradicted", lexical.denied),
        ("misplaced", lexical.misplaced),
    )
    return "; ".join(cause for cause, terms in found if terms) or f"{lexical.window:.0%} of its words are there"


def _name(hit: Hit) -> str:
    return f"“{quoted(hit.chunk.title or hit.chunk.document_id, 60)}”"


def _listed(head: str, items: Sequence[str]) -> str:
    more = f" and {len(items) - MOST_QUOTED} more" if len(items) > MOST_QUOTED else ""
    return f"{head}{', '.join(items[:MOST_QUOTED])}{more}"
