"""Warms a cache with reviewed wordings: one is answered by the real pipeline, the others are given its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.pipeline.cache.base import MISS_REASONS
from serving.pipeline.cache.eligibility import bypass_reason
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.types import Query, Trace


@dataclass(frozen=True, slots=True)
class WarmedQuestion:
    """The result of warming one question: which of its wordings were cached."""

    trace: Trace
    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    reason: str = ""  # why something was left out


async def warm(pipeline: RagPipeline, query: Query, variants: Sequence[str]) -> WarmedQuestion:
    """Answer a question and keep its answer for every wording; an answer that is not worth keeping is kept for none."""
    trace = await pipeline.answer(query)
    lookup = await pipeline.cache.get(trace.query, pipeline.context(trace.query))
    lookup.flight.end()
    if lookup.hit is None or lookup.hit.kind == "shared":
        why = trace.cache.reason if trace.cache and trace.cache.reason in ("masked", "flagged", "history") else ""
        return WarmedQuestion(trace, (), (query.text, *variants), MISS_REASONS.get(why) or _why_not(trace))
    kept, left_out, reason = [query.text], list[str](), ""
    for variant in variants:
        other = replace(query, text=variant)
        checked = await pipeline.input_guard.run(variant, CheckContext("input", other))
        if unfit := bypass_reason(other, checked):
            left_out.append(variant)
            reason = MISS_REASONS[unfit]
            continue
        await pipeline.cache.put(other, pipeline.context(other), lookup.hit.entry)
        kept.append(variant)
    return WarmedQuestion(trace, tuple(kept), tuple(left_out), reason)


def _why_not(trace: Trace) -> str:
    answer = trace.answer
    if answer.refused:
        return "the answer is a refusal"
    if answer.truncated:
        return "the answer was cut off"
    return "the answer is not sure enough, or a check found something in it"
