"""The whole flow of one question on one screen: guard → cache → retrieve → route → answer → guard."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from serving.pipeline.answer.answerer import Answerer
from serving.pipeline.cache.base import Cache, CacheContext, CacheEntry
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.observer import Observer
from serving.pipeline.parts import Digests
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.route.base import Router
from serving.pipeline.trace_recorder import TraceRecorder
from serving.pipeline.types import Answer, Query, Trace

Emit = Callable[[str], None]  # receives the answer's text in chunks


class PassageRetriever(Protocol):
    """Retrieves the passages of a query: the `Retriever`, or one that caches its results."""

    async def retrieve(self, query: Query) -> RetrievalResult: ...


@dataclass(frozen=True, slots=True)
class RagPipeline:
    """One configuration, built and ready to answer queries."""

    digests: Digests
    index: OpenIndex
    input_guard: GuardChain
    output_guard: GuardChain
    cache: Cache
    retriever: PassageRetriever
    router: Router
    answerer: Answerer
    clock: Clock = field(default_factory=SystemClock)

    @property
    def config_digest(self) -> str:
        """Digest of everything that decides an answer."""
        return self.digests.config

    async def answer(self, query: Query, *, emit: Emit | None = None, observer: Observer | None = None) -> Trace:
        """Answer a question; `emit`, if given, receives the text as the model writes it, and `observer` is told of every stage."""
        recorder = TraceRecorder(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.manifest.store_version)
        try:
            return await self._answer(query, emit, recorder)
        except BaseException as error:  # cancellation as well: an observer is always notified of the end
            recorder.failed(error)
            raise

    async def _answer(self, query: Query, emit: Emit | None, recorder: TraceRecorder) -> Trace:
        with recorder.stage("guard", query.text) as detail:
            input_result = await self.input_guard.run(query.text, CheckContext("input", query))
            detail["action"] = input_result.action.value
        recorder.add_verdicts(input_result)
        if input_result.blocked:
            return recorder.finish(answer=_emitted(Answer(input_result.text, refused=True), emit))
        checked = replace(query, text=input_result.text)

        context = CacheContext.of(checked, self.digests, self.index.manifest.store_version)
        with recorder.stage("cache", checked.text) as detail:
            lookup = await self.cache.get(checked, context)
            detail["hit"] = lookup.hit is not None
        if self.cache.stateful:
            recorder.add_cache_lookup(lookup)
        if lookup.hit is not None:
            entry = lookup.hit.entry
            return recorder.finish(answer=_emitted(entry.answer, emit), passages=entry.passages, route=entry.route)

        with recorder.stage("retrieve", checked.text) as detail:
            retrieved = await self.retriever.retrieve(checked)
            detail |= {**retrieved.detail, **_cached_time(retrieved.kept_ms)}
        recorder.add_usage(*retrieved.usage)
        with recorder.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = self.router.route(checked, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        with recorder.stage("answer", [route.tier, *(hit.chunk.id for hit in retrieved.hits)]) as detail:
            stream = None if self.output_guard.withholds else emit  # no text is shown before the guard has checked all of it
            result = await self.answerer.answer(checked, retrieved.hits, route, emit=stream, late=recorder.add_late_usage)
            detail |= {"model": result.answer.model, "passages": len(result.passages), "dropped": result.dropped}
            detail |= {"truncated_passage": result.truncated_passage, "dangling_citations": result.dangling_citations}
            detail |= _cached_time(result.kept_ms)
        recorder.add_usage(result.usage)

        with recorder.stage("guard", result.answer.text) as detail:
            output_context = CheckContext("output", checked, result.passages, result.answer.refused)
            output_result = await self.output_guard.run(result.answer.text, output_context)
            detail["action"] = output_result.action.value
        recorder.add_verdicts(output_result)
        answer = replace(result.answer, text=output_result.text)
        if output_result.blocked:
            answer = Answer(output_result.text, refused=True, model=answer.model)
        if stream is None:
            answer = _emitted(answer, emit)
        if not answer.refused and not answer.truncated:
            await self.cache.put(checked, context, CacheEntry(answer, result.passages, route, recorder.trace_id))

        return recorder.finish(
            answer=answer,
            hits=retrieved.hits,
            ranking=retrieved.ranking,
            passages=result.passages,
            dropped_passages=result.dropped,
            route=route,
            prompt_id=result.prompt_id,
            prompt=result.prompt,
            usage=(result.usage, *retrieved.usage),
            first_token_ms=result.first_token_ms,
        )


def _cached_time(milliseconds: float | None) -> dict[str, float]:
    """The detail of a stage with a cached result: how long the original computation took."""
    return {} if milliseconds is None else {"kept_ms": milliseconds}


def _emitted(answer: Answer, emit: Emit | None) -> Answer:
    """The answer, after emitting its whole text."""
    if emit is not None:
        emit(answer.text)
    return answer
