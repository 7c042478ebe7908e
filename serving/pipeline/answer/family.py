"""Chooses the prompt family that fits a question."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from serving.pipeline.config import PromptChoice
from serving.pipeline.prompts import Prompt, PromptLibrary
from serving.pipeline.types import Hit, Query

_TOP: Final = 5
GENERAL: Final = "general"


def domain_of(query: Query, hits: Sequence[Hit], routed: str = "") -> str:
    """The domain asked for, else the route's, else that with more than half of the weight 1/place among the best five, else general."""
    if len(query.domains) == 1:
        return query.domains[0]
    if routed:
        return routed
    weights: defaultdict[str, float] = defaultdict(float)
    for place, hit in enumerate(hits[:_TOP], start=1):
        weights[hit.chunk.domain] += 1 / place
    total = sum(weights.values())
    return next((domain for domain, weight in sorted(weights.items()) if weight > total / 2), GENERAL)


def choose_prompt(choice: PromptChoice, library: PromptLibrary, domain: str) -> Prompt:
    """The domain's own family where it exists at the chosen version, else the family of the config."""
    if choice.by_domain and domain != GENERAL and choice.version in library.versions(domain):
        return library.get(domain, choice.version)
    return library.get(choice.name, choice.version)
