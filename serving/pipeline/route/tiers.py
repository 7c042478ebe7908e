"""From a score to a tier: domains whose mistakes are dear come first, then a threshold for each step from a tier to the next dearer one."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from serving.pipeline.errors import ConfigError
from serving.pipeline.references import Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.route.features import domain_shares
from serving.pipeline.types import Hit, Route


class TierParams(PlugInParams):
    """The tiers that a router chooses from, and the domains that it does not decide about."""

    tiers: tuple[Tier, ...] = Field(default=("lite", "pro"), min_length=2, description="from the cheapest to the dearest")
    dear_domains: tuple[str, ...] = Field(default=("legal",), description="domains that the dearest tier always answers")
    domain_share: float = Field(default=0.6, ge=0.0, le=1.0, description="share of the hits' scores such a domain must have")

    @model_validator(mode="after")
    def _each_once(self) -> "TierParams":
        if len(set(self.tiers)) != len(self.tiers):
            raise ValueError("every tier is named once")
        return self


def dear_domain(params: TierParams, hits: Sequence[Hit]) -> Route | None:
    """The dearest tier where a domain demands it."""
    for domain, share in domain_shares(hits).items():
        if domain in params.dear_domains and share >= params.domain_share:
            reason = f"{domain} has {share:.0%} of the hits' scores, {params.domain_share:.0%} is enough"
            return Route(params.tiers[-1], reason)
    return None


@dataclass(frozen=True, slots=True)
class Step:
    """One step up: what is expected of it, and above which value it is taken."""

    score: float
    threshold: float | None  # None: there is no safe one, so the step is always taken


def climb(tiers: Sequence[str], steps: Sequence[Step]) -> int:
    """How many steps are taken: the first one whose score is not above its threshold ends the climb."""
    for place, step in enumerate(steps):
        if step.threshold is not None and step.score <= step.threshold:
            return place
    return len(tiers) - 1


def per_step(value: float | tuple[float, ...] | None, steps: int, where: str) -> tuple[float | None, ...]:
    """A threshold for each step, of one for all or of one for each."""
    if not isinstance(value, tuple):
        return (value,) * steps
    if len(value) != steps:
        several = f", or one for each of the {steps} steps" if steps > 1 else ""
        raise ConfigError(f"{where}: {len(value)} values for {steps + 1} tiers. Give one{several}.")
    return value
