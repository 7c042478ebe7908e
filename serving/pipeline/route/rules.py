"""Routes by how complex a question looks and by what it is about."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.references import Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.route.features import count_questions, domain_shares, features
from serving.pipeline.types import Hit, Query, Route

NUMBERS = ("no", "one", "two", "three", "four", "five")
LEAST_SHARE_NAMED = 0.05  # of the score: contributions from here on are named in the reason


def _weight(default: float, description: str) -> float:
    weight: float = Field(default=default, ge=-2.0, le=2.0, description=description)
    return weight


class RulesRouter:
    """One tier for questions above a complexity and for domains where mistakes are dear, another for the rest.

    Complexity is the weighted sum of the question's features, kept between 0 and 1.
    """

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """The thresholds, and what each feature adds to the complexity when it is at its full 1."""

        simple: Tier = Field(default="lite", description="the tier of most questions")
        complex: Tier = Field(default="pro", description="the tier of questions above the complexity, and of the domains below")
        pro_above: float = Field(default=0.5, ge=0.0, le=1.0, description="complexity above which the complex tier answers")
        pro_domains: tuple[str, ...] = Field(default=("legal",), description="domains that the complex tier always answers")
        domain_share: float = Field(default=0.6, ge=0.0, le=1.0, description="share of the hits' scores such a domain must have")

        words: float = _weight(0.25, "length")
        clauses: float = _weight(0.2, "subordinate clauses and lists")
        multi_part: float = _weight(0.5, "several questions in one")
        comparison: float = _weight(0.4, "compare, versus, more than")
        aggregation: float = _weight(0.3, "all, total, how many")
        temporal: float = _weight(0.2, "current, before, a year")
        negation: float = _weight(0.2, "not, except, unless")
        reasoning: float = _weight(0.3, "why, explain, what happens if")
        codes: float = _weight(-0.1, "numbers and part codes: most often one exact look-up")
        flatness: float = _weight(0.1, "no hit stands out")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The tier with the rule that chose it."""
        signals = dict(features(query.text, hits))
        contributions = {name: getattr(self._params, name) * value for name, value in signals.items()}
        score = round(min(max(sum(contributions.values()), 0.0), 1.0), 6)
        for domain, share in domain_shares(hits).items():
            if domain in self._params.pro_domains and share >= self._params.domain_share:
                reason = f"{domain} has {share:.0%} of the hits' scores, {self._params.domain_share:.0%} is enough"
                return Route(self._params.complex, reason, score, signals)
        explanation = _reason(contributions, count_questions(query.text))
        threshold = self._params.pro_above
        if score > threshold:
            return Route(self._params.complex, f"complexity {score:.2f} > {threshold:.2f}: {explanation}", score, signals)
        return Route(self._params.simple, f"complexity {score:.2f} ≤ {threshold:.2f}: {explanation}", score, signals)


def _reason(contributions: Mapping[str, float], questions: int) -> str:
    """The features that added most, in words."""
    named = sorted(
        (name for name in contributions if contributions[name] >= LEAST_SHARE_NAMED), key=lambda name: (-contributions[name], name)
    )
    words = {
        "words": "long",
        "clauses": "clauses",
        "multi_part": f"{NUMBERS[questions] if questions < len(NUMBERS) else questions} parts",
        "temporal": "time",
        "flatness": "no hit stands out",
    }
    return ", ".join(words.get(name, name) for name in named) or "nothing that makes it hard"
