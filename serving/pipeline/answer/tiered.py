"""Answers by the route's tier, once more by a dearer one where the answer is escalated, and by the fallback in an outage."""

from dataclasses import dataclass

from serving.pipeline.answer.answerer import Answerer, AnswerResult, Emit
from serving.pipeline.answer.resilient import ResilientResult, WhenDown, answer_resiliently
from serving.pipeline.route.base import Escalation
from serving.pipeline.trace_recorder import TraceRecorder, cached_time
from serving.pipeline.types import Attempt, Hit, ModelOutage, Query, Route


@dataclass(frozen=True, slots=True)
class TieredResult:
    """An answer with its final route, the attempt that an escalation replaced, and the models that did not answer."""

    result: AnswerResult
    route: Route
    attempts: tuple[Attempt, ...] = ()
    outages: tuple[ModelOutage, ...] = ()


@dataclass(frozen=True, slots=True)
class TieredAnswerer:
    """The answerer with its escalation and its fallback tier."""

    answerer: Answerer
    escalation: Escalation
    fallback: str  # empty: none

    async def answer(
        self, query: Query, hits: tuple[Hit, ...], route: Route, *, emit: Emit | None, recorder: TraceRecorder, when_down: WhenDown
    ) -> TieredResult:
        """The answer of the route's tier, or of a dearer one where it is escalated."""
        first = await self._by_tier(query, hits, route, emit, recorder, when_down, self.fallback)
        answer = first.result.answer
        dearer = None if answer.degraded else await self.escalation.escalate(query, first.route, answer, first.result.passages)
        if dearer is None:
            return TieredResult(first.result, first.route, outages=first.outages)
        degrade = WhenDown.FAIL if when_down is WhenDown.FAIL else WhenDown.DEGRADE
        second = await self._by_tier(query, hits, dearer, emit, recorder, degrade, fallback="")
        outages = (*first.outages, *second.outages)
        if second.result.answer.degraded:  # a doubtful answer says more than passages alone
            return TieredResult(first.result, first.route, outages=outages)
        return TieredResult(second.result, second.route, (Attempt(first.route, answer),), outages)

    async def _by_tier(
        self,
        query: Query,
        hits: tuple[Hit, ...],
        route: Route,
        emit: Emit | None,
        recorder: TraceRecorder,
        when_down: WhenDown,
        fallback: str,
    ) -> ResilientResult:
        """The answer of the route's tier, or what replaces it in an outage; one `answer` stage of the trace."""
        with recorder.stage("answer", [route.tier, *(hit.chunk.id for hit in hits)]) as detail:
            written = await answer_resiliently(
                self.answerer,
                query,
                hits,
                route,
                fallback=fallback,
                when_down=when_down,
                emit=emit,
                late=recorder.add_late_usage,
            )
            result = written.result
            detail |= {"model": result.answer.model, "passages": len(result.passages), "dropped": result.dropped}
            detail |= {"truncated_passage": result.truncated_passage, "dangling_citations": result.dangling_citations}
            detail |= cached_time(result.kept_ms)
            if written.outages:
                detail |= {"tier": written.route.tier, "outages": len(written.outages)}
        recorder.add_usage(result.usage)
        return written
