"""Routes long questions to the dear tier: the second baseline that a router must beat."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, NonNegativeInt

from serving.pipeline.parts import Parts
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.route.tiers import Step, TierParams, climb, dear_domain, per_step
from serving.pipeline.types import Hit, Query, Route


class LengthRouter:
    """Chooses by the number of characters alone."""

    version: ClassVar[str] = "1"

    class Params(TierParams):
        """From which length on."""

        characters: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
            default=120, description="length above which the dearer tier answers; with several steps, one for all or one for each"
        )

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._lengths = per_step(params.characters, len(params.tiers) - 1, "route.router.characters")

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The tier for the question's length."""
        params, length = self._params, len(search_text(query))
        if (dear := dear_domain(params, hits)) is not None:
            return dear
        taken = climb(params.tiers, [Step(length, most) for most in self._lengths])
        limit = self._lengths[min(taken, len(self._lengths) - 1)]
        comparison = "≤" if taken < len(self._lengths) else ">"
        return Route(params.tiers[taken], f"{length} characters {comparison} {limit:g}", float(length))
