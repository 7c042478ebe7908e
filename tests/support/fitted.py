"""A router that cannot do without an artefact."""

import json
from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact, Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Hit, Query, Route

WEIGHTS = {"threshold": 0.25, "weights": [1.0, -2.0]}


class FittedRouter:
    """Chooses by how long the question is, by a threshold that was fitted."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Where the threshold is."""

        fitted: Artefact
        more: tuple[Artefact, ...] = ()
        tiers: tuple[Tier, ...] = ("lite", "pro")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._tiers = params.tiers
        self._threshold = json.loads(parts.artefacts.read(params.fitted))["threshold"]

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The second tier for long questions."""
        return Route(self._tiers[len(query.text) / 100 > self._threshold], "by its length")
