"""What a router promises."""

from collections.abc import Sequence
from typing import Protocol

from serving.pipeline.types import Hit, Query, Route


class Router(Protocol):
    """Chooses a tier from the question and what was found, without calling a model."""

    def route(self, query: Query, hits: Sequence[Hit]) -> Route: ...
