"""Verifies citations: whether each claim is supported by the passage that it cites, by another one, or by none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from serving.pipeline.checks.grounding.check import CheckedClaim
from serving.pipeline.checks.grounding.claims import AnswerClaim, claims_of, passages_for
from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.support import Claim, Support, support_all
from serving.pipeline.text.answer_words import without_marks
from serving.pipeline.types import Hit

Standing = Literal["supported", "elsewhere", "unsupported"]
TEXT_LIMIT: Final = 40_000  # characters of an answer that are looked at
MOST_PAIRS: Final = 500  # of a claim and another passage that are checked against each other
MOST_CLAIMS: Final = 100  # claims that are checked; an answer of 400 tokens has about ten


@dataclass(frozen=True, slots=True)
class VerifiedClaim:
    """A claim, its support by the passages that it cites, and the other passage that holds it if they do not."""

    claim: AnswerClaim
    support: Support
    source: int = 0  # number of the passage that supports it in place of those cited; 0: there is none, or no need of one
    source_probability: float = 0.0

    @property
    def standing(self) -> Standing:
        """What it rests on."""
        return "elsewhere" if self.source else "supported" if self.support.grounded else "unsupported"

    @property
    def probability(self) -> float:
        """The probability that the documents support it, wherever they do."""
        return max(self.support.probability, self.source_probability)


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """The claims of an answer; their spans are those of `text`."""

    text: str  # without the marks of a guard
    claims: tuple[VerifiedClaim, ...]
    whole: bool = True  # False: the answer is longer than what is looked at

    @property
    def probability(self) -> float | None:
        """Mean probability that the passages cited support a claim: the metric `groundedness`."""
        return sum(one.support.probability for one in self.claims) / len(self.claims) if self.claims else None

    @property
    def repaired_probability(self) -> float:
        """The same, were wrong citations right ones."""
        return sum(one.probability for one in self.claims) / len(self.claims) if self.claims else 0.0

    def of(self, standing: Standing) -> tuple[VerifiedClaim, ...]:
        """The claims of this standing."""
        return tuple(one for one in self.claims if one.standing == standing)

    def supports(self, *, repaired: bool) -> dict[int, float]:
        """For each passage cited, the least support of a claim that cites it; `repaired`: as if wrong citations were right ones."""
        least: dict[int, float] = {}
        for one in self.claims:
            anew = repaired and one.source > 0
            for number in (one.source,) if anew else one.claim.cited:
                least[number] = min(least.get(number, 1.0), one.source_probability if anew else one.support.probability)
        return least


def verify_answer(answer: str, passages: Sequence[Hit], embedder: SentenceEmbedder) -> VerifiedAnswer:
    """What each claim rests on; `passages` in the order of their numbers."""
    text = without_marks(answer)
    claims = claims_of(text[:TEXT_LIMIT])
    looked_at = claims[:MOST_CLAIMS]
    supports = support_all([Claim(claim.text, passages_for(claim, passages)) for claim in looked_at], embedder)
    checked = [CheckedClaim(claim, support) for claim, support in zip(looked_at, supports, strict=True)]
    others = _others(checked, passages, embedder)
    verified = tuple(others.get(index) or VerifiedClaim(one.claim, one.support) for index, one in enumerate(checked))
    return VerifiedAnswer(text, verified, whole=len(text) <= TEXT_LIMIT and len(claims) <= MOST_CLAIMS)


def _others(checked: Sequence[CheckedClaim], passages: Sequence[Hit], embedder: SentenceEmbedder) -> dict[int, VerifiedClaim]:
    """The claims that another passage supports than those they cite, by their place; claims that cite nothing are none."""
    asked: list[tuple[int, int]] = []  # a claim's place and a passage's number
    for index, one in enumerate(checked):
        cited = set(one.claim.cited)
        exists = any(0 < number <= len(passages) for number in cited)
        if cited and not (one.support.grounded and exists):  # where none of those cited exists, all were looked at
            asked += [(index, number) for number in range(1, len(passages) + 1) if number not in cited]
    asked = asked[:MOST_PAIRS]  # the claims beyond count as unsupported
    texts = [Claim(checked[index].claim.text, passages_for(_citing(checked[index].claim, number), passages)) for index, number in asked]
    found: dict[int, VerifiedClaim] = {}
    for (index, number), support in zip(asked, support_all(texts, embedder), strict=True):
        if support.grounded and support.probability > (found[index].source_probability if index in found else 0.0):
            found[index] = VerifiedClaim(checked[index].claim, checked[index].support, number, support.probability)
    return found


def _citing(claim: AnswerClaim, number: int) -> AnswerClaim:
    return AnswerClaim(claim.text, (number,), claim.start, claim.end)
