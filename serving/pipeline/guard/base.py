"""What a guard promises."""

from collections.abc import Sequence
from typing import Protocol

from serving.pipeline.types import GuardVerdict, Hit, Query


class Guard(Protocol):
    """Judges a text; raises only for outages, never to say no."""

    rewrites: bool  # whether `check_output` may change or withhold a text, so that none may be shown before

    async def check_input(self, query: Query) -> GuardVerdict: ...

    async def check_output(self, query: Query, text: str, passages: Sequence[Hit]) -> GuardVerdict: ...
