"""The whole flow of one question on one screen: guard → cache → retrieve → guard → route → answer → guard."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from serving.pipeline.answer.answerer import Answerer, AnswerResult
from serving.pipeline.answer.guidance import guided
from serving.pipeline.cache.base import Cache, CacheContext, CacheEntry
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.guard.passage_guard import PassageGuard
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.models.question_vector import one_query
from serving.pipeline.observer import Observer
from serving.pipeline.parts import Digests
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.route.base import Escalation, Router
from serving.pipeline.trace_recorder import TraceRecorder
from serving.pipeline.types import Answer, Attempt, Hit, Query, Route, Trace

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
    passage_guard: PassageGuard
    output_guard: GuardChain
    cache: Cache
    retriever: PassageRetriever
    router: Router
    escalation: Escalation
    answerer: Answerer
    clock: Clock = field(default_factory=SystemClock)
    guide_refusals: bool = True

    @property
    def config_digest(self) -> str:
        """Digest of everything that decides an answer."""
        return self.digests.config

    async def answer(self, query: Query, *, emit: Emit | None = None, observer: Observer | None = None) -> Trace:
        """Answer a question; `emit`, if given, receives the text as the model writes it, and `observer` is told of every stage."""
        recorder = TraceRecorder(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.manifest.store_version)
        try:
            with one_query():
                return await self._answer(query, emit, recorder)
        except BaseException as error:  # cancellation as well: an observer is always notified of the end
            recorder.failed(error)
            raise

    async def _answer(self, query: Query, emit: Emit | None, recorder: TraceRecorder) -> Trace:
        with recorder.stage("guard", query.text) as detail:
            input_result = await self.input_guard.run(query.text, CheckContext("input", query))
            detail["action"] = input_result.action.value
        recorder.add_verdicts(input_result)
        checked = replace(query, text=query.text if input_result.blocked else input_result.text)
        recorder.question(checked)
        if input_result.blocked:
            return recorder.finish(answer=_emitted(Answer(input_result.text, refused=True), emit))

        context = CacheContext.of(checked, self.digests, self.index.manifest.store_version)
        with recorder.stage("cache", checked.text) as detail:
            lookup = await self.cache.get(checked, context)
            detail["hit"] = lookup.hit is not None
        if self.cache.stateful:
            recorder.add_cache_lookup(lookup)
        if lookup.hit is not None:
            entry = lookup.hit.entry
            answer = await self._checked_answer(entry.answer, checked, entry.passages, recorder)
            return recorder.finish(answer=_emitted(answer, emit), passages=entry.passages, route=entry.route)

        retrieved = await self._retrieve(checked, recorder)
        with recorder.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = await self.router.route(checked, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        withholds = self.output_guard.withholds or self.escalation.withholds  # no text is shown that may be changed or given up
        stream = None if withholds else emit
        result = await self._write(checked, retrieved.hits, route, stream, recorder)
        attempts: tuple[Attempt, ...] = ()
        second = await self.escalation.escalate(checked, route, result.answer, result.passages)
        if second is not None:
            attempts, route = (Attempt(route, result.answer),), second
            result = await self._write(checked, retrieved.hits, route, stream, recorder)

        answer = await self._checked_answer(result.answer, checked, result.passages, recorder)
        if self.guide_refusals:
            answer = guided(answer, result.passages)
        if stream is None:
            answer = _emitted(answer, emit)
        elif answer.guidance:
            stream(f" {answer.guidance}")
        if not answer.refused and not answer.truncated:
            await self.cache.put(checked, context, CacheEntry(answer, result.passages, route, recorder.trace_id))

        return recorder.finish(
            answer=answer,
            attempts=attempts,
            hits=retrieved.hits,
            ranking=retrieved.ranking,
            passages=result.passages,
            dropped_passages=result.dropped,
            route=route,
            prompt_id=result.prompt_id,
            prompt=result.prompt,
            first_token_ms=result.first_token_ms,
        )

    async def _retrieve(self, query: Query, recorder: TraceRecorder) -> RetrievalResult:
        """What was found and may be read."""
        with recorder.stage("retrieve", query.text) as detail:
            retrieved = await self.retriever.retrieve(query)
            detail |= {**retrieved.detail, **_cached_time(retrieved.kept_ms)}
        recorder.add_usage(*retrieved.usage)
        if self.passage_guard.empty:
            return retrieved
        with recorder.stage("guard", [hit.chunk.id for hit in retrieved.hits]) as detail:
            passages = await self.passage_guard.run(query, retrieved.hits)
            detail |= {"action": passages.result.action.value, "dropped": len(retrieved.hits) - len(passages.hits)}
        recorder.add_verdicts(passages.result)
        return replace(retrieved, hits=passages.hits)

    async def _write(self, query: Query, hits: tuple[Hit, ...], route: Route, emit: Emit | None, recorder: TraceRecorder) -> AnswerResult:
        """The answer of the route's tier."""
        with recorder.stage("answer", [route.tier, *(hit.chunk.id for hit in hits)]) as detail:
            result = await self.answerer.answer(query, hits, route, emit=emit, late=recorder.add_late_usage)
            detail |= {"model": result.answer.model, "passages": len(result.passages), "dropped": result.dropped}
            detail |= {"truncated_passage": result.truncated_passage, "dangling_citations": result.dangling_citations}
            detail |= _cached_time(result.kept_ms)
        recorder.add_usage(result.usage)
        return result

    async def _checked_answer(self, answer: Answer, query: Query, passages: tuple[Hit, ...], recorder: TraceRecorder) -> Answer:
        """The answer as the checks of the output leave it, whether it was written now or before."""
        with recorder.stage("guard", answer.text) as detail:
            result = await self.output_guard.run(answer.text, CheckContext("output", query, passages, answer.refused, answer))
            detail["action"] = result.action.value
        recorder.add_verdicts(result)
        if result.blocked:
            return Answer(result.text, refused=True, model=answer.model, confidence=result.confidence, warnings=result.warnings)
        confidence = answer.confidence if result.confidence is None else result.confidence
        citations = answer.citations if result.citations is None or answer.refused else result.citations
        return replace(answer, text=result.text, citations=citations, confidence=confidence, warnings=result.warnings or answer.warnings)


def _cached_time(milliseconds: float | None) -> dict[str, float]:
    """The detail of a stage with a cached result: how long the original computation took."""
    return {} if milliseconds is None else {"kept_ms": milliseconds}


def _emitted(answer: Answer, emit: Emit | None) -> Answer:
    """The answer, after emitting its whole text."""
    if emit is not None:
        emit(answer.shown)
    return answer
