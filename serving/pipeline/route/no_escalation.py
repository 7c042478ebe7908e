"""Every answer is the first one."""

from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Answer, Hit, Query, Route


class NoEscalation:
    """Never tries again."""

    version: ClassVar[str] = "1"
    withholds: ClassVar[bool] = False

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        """None."""
        return None
