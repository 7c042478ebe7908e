"""What a cache promises."""

from typing import Protocol

from serving.pipeline.types import Answer, Query


class Cache(Protocol):
    """Keeps answers for questions that mean the same, per principal and per configuration."""

    async def get(self, query: Query) -> Answer | None: ...

    async def put(self, query: Query, answer: Answer) -> None: ...
