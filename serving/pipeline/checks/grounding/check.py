"""Checks whether an answer is grounded: every claim against the passages that it cites."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.checks.grounding.claims import AnswerClaim, claims_of, passages_for
from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.support import Claim, Support, support_all
from serving.pipeline.text.answer_words import without_marks
from serving.pipeline.types import Hit

_MOST_NAMED: Final = 3  # ungrounded claims named in a reason


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim and its support."""

    claim: AnswerClaim
    support: Support


@dataclass(frozen=True, slots=True)
class AnswerGrounding:
    """The claims of an answer with their support; without claims there are no numbers."""

    claims: tuple[CheckedClaim, ...]

    @property
    def ungrounded(self) -> tuple[CheckedClaim, ...]:
        """The claims that the passages do not support; `said.start` and `said.end` tell where each stands."""
        return tuple(checked for checked in self.claims if not checked.support.grounded)

    @property
    def probability(self) -> float | None:
        """Mean probability that the passages support a claim."""
        return sum(checked.support.probability for checked in self.claims) / len(self.claims) if self.claims else None

    @property
    def grounded_share(self) -> float | None:
        """Grounded claims over claims."""
        return sum(checked.support.grounded for checked in self.claims) / len(self.claims) if self.claims else None

    @property
    def reason(self) -> str:
        """The ungrounded claims and why they are."""
        ungrounded = self.ungrounded
        descriptions = [f"{checked.claim.text[:160]!r} ({checked.support.reason})" for checked in ungrounded[:_MOST_NAMED]]
        more = f" and {len(ungrounded) - _MOST_NAMED} more" if len(ungrounded) > _MOST_NAMED else ""
        return f"not grounded: {', '.join(descriptions)}{more}" if ungrounded else ""


def check_answer(answer: str, passages: Sequence[Hit], embedder: SentenceEmbedder) -> AnswerGrounding:
    """The support of every claim by the passages of the prompt, given in the order of their numbers; marks of a guard are no part of it."""
    claims = claims_of(without_marks(answer))
    supports = support_all([Claim(claim.text, passages_for(claim, passages)) for claim in claims], embedder)
    return AnswerGrounding(tuple(CheckedClaim(claim, support) for claim, support in zip(claims, supports, strict=True)))
