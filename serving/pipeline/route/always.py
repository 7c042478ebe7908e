"""One tier for every question."""

from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.parts import Parts
from serving.pipeline.references import Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Hit, Query, Route


class AlwaysRouter:
    """Always the same tier: the baseline that a router must beat."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which tier."""

        tier: Tier = "lite"

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The configured tier."""
        return Route(self._params.tier, f"always {self._params.tier}")
