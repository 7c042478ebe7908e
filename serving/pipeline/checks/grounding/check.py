"""Whether an answer stands on its passages: every claim held against what it cites."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.checks.grounding.claims import Said, claims_of, passages_for
from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.support import Claim, Support, support_all
from serving.pipeline.types import Hit

_SHOWN: Final = 3  # ungrounded claims told in a reason


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim and its support."""

    said: Said
    support: Support


@dataclass(frozen=True, slots=True)
class AnswerGrounding:
    """The claims of an answer with their support; an answer that claims nothing has no numbers."""

    claims: tuple[CheckedClaim, ...]

    @property
    def ungrounded(self) -> tuple[CheckedClaim, ...]:
        """The claims that the passages do not support; `said.start` and `said.end` tell where each stands."""
        return tuple(one for one in self.claims if not one.support.grounded)

    @property
    def probability(self) -> float | None:
        """Mean probability that the passages support a claim."""
        return sum(one.support.probability for one in self.claims) / len(self.claims) if self.claims else None

    @property
    def grounded_share(self) -> float | None:
        """Grounded claims over claims."""
        return sum(one.support.grounded for one in self.claims) / len(self.claims) if self.claims else None

    @property
    def reason(self) -> str:
        """The ungrounded claims with what is wrong with them."""
        wrong = self.ungrounded
        told = [f"{one.said.text[:160]!r} ({one.support.reason})" for one in wrong[:_SHOWN]]
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return f"not grounded: {', '.join(told)}{more}" if wrong else ""


def check_answer(answer: str, passages: Sequence[Hit], embedder: SentenceEmbedder) -> AnswerGrounding:
    """Every claim of an answer held against the passages of its prompt, which come in the order of their numbers."""
    said = claims_of(answer)
    found = support_all([Claim(one.text, passages_for(one, passages)) for one in said], embedder)
    return AnswerGrounding(tuple(CheckedClaim(one, support) for one, support in zip(said, found, strict=True)))
