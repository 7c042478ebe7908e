"""Runs the checks of retrieved passages: documents are data, and an order that stands in one is none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain, GuardResult
from serving.pipeline.types import GuardAction, GuardVerdict, Hit, Query


@dataclass(frozen=True, slots=True)
class CheckedPassages:
    """The passages that may be read, and every verdict that is not "allow"."""

    hits: tuple[Hit, ...]
    result: GuardResult


class PassageGuard:
    """Drops each passage that a check blocks, and cuts out of what is read of one whatever a check cuts out.

    The passage itself stays an exact slice of its document, as citations need it.
    """

    def __init__(self, chain: GuardChain) -> None:
        self._chain = chain

    @property
    def empty(self) -> bool:
        """Whether there is nothing to run."""
        return self._chain.empty

    async def run(self, query: Query, hits: Sequence[Hit]) -> CheckedPassages:
        """The passages that every check allows, with new ranks."""
        kept: list[Hit] = []
        verdicts: list[GuardVerdict] = []
        for hit in hits:
            result = await self._chain.run(hit.chunk.text, CheckContext("passages", query, (hit,)))
            verdicts += [
                replace(verdict, text="", chunk_id=hit.chunk.id) for verdict in result.verdicts if verdict.action is not GuardAction.ALLOW
            ]
            if not result.blocked:
                kept.append(hit if result.text == hit.chunk.text else replace(hit, read=result.text))
        ranked = tuple(replace(hit, rank=rank) for rank, hit in enumerate(kept, start=1))
        return CheckedPassages(ranked, GuardResult("", tuple(verdicts)))
