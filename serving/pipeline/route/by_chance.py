"""The random baseline that a router must beat at equal cost."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.route.tiers import Step, TierParams, climb, dear_domain, per_step
from serving.pipeline.text.folding import caseless
from serving.pipeline.types import Hit, Query, Route

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class RandomRouter:
    """A share of the questions goes to the dear tier, whatever they ask: the same question always to the same one."""

    version: ClassVar[str] = "1"

    class Params(TierParams):
        """How many, and which draw of them."""

        dear_share: Share | tuple[Share, ...] = Field(
            default=0.5, description="share of the questions that takes a step up; with several steps, one for all or one for each"
        )
        seed: int = Field(default=0, ge=0, description="another seed, other questions")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._shares = per_step(params.dear_share, len(params.tiers) - 1, "route.router.dear_share")

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The tier that the question's hash falls to."""
        params = self._params
        if (dear := dear_domain(params, hits)) is not None:
            return dear
        draw = self._draw(caseless(" ".join(search_text(query).split())))
        taken = climb(params.tiers, [Step(draw, round(1.0 - (share or 0.0), 6)) for share in self._shares])
        return Route(params.tiers[taken], f"by chance: drawn {draw:.2f}", draw)

    def _draw(self, text: str) -> float:
        """A number from 0 to below 1: even over questions, and the same on every machine."""
        digest = hashlib.blake2b(f"{self._params.seed} {text}".encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") // 2**8 / 2**40
