"""Routes by how complex a question looks and by what it is about."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.references import Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.route.features import domain_shares, features, parts
from serving.pipeline.types import Hit, Query, Route

NUMBERS = ("no", "one", "two", "three", "four", "five")
TELLING = 0.05  # of the score: what a feature must have added to be named in the reason


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

    def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The tier with the rule that chose it."""
        found = dict(features(query.text, hits))
        added = {name: getattr(self._params, name) * value for name, value in found.items()}
        score = round(min(max(sum(added.values()), 0.0), 1.0), 6)
        for domain, share in domain_shares(hits).items():
            if domain in self._params.pro_domains and share >= self._params.domain_share:
                reason = f"{domain} has {share:.0%} of the hits' scores, {self._params.domain_share:.0%} is enough"
                return Route(self._params.complex, reason, score, found)
        why = _why(added, parts(query.text))
        threshold = self._params.pro_above
        if score > threshold:
            return Route(self._params.complex, f"complexity {score:.2f} > {threshold:.2f}: {why}", score, found)
        return Route(self._params.simple, f"complexity {score:.2f} ≤ {threshold:.2f}: {why}", score, found)


def _why(added: Mapping[str, float], asked: int) -> str:
    """The features that added most, in words."""
    telling = sorted((name for name in added if added[name] >= TELLING), key=lambda name: (-added[name], name))
    names = {
        "words": "long",
        "clauses": "clauses",
        "multi_part": f"{NUMBERS[asked] if asked < len(NUMBERS) else asked} parts",
        "temporal": "time",
        "flatness": "no hit stands out",
    }
    return ", ".join(names.get(name, name) for name in telling) or "nothing that makes it hard"
