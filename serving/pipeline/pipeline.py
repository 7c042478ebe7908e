"""The whole flow of one question on one screen: guard → cache → retrieve → guard → route → answer → guard."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol, runtime_checkable

from serving.pipeline.answer.answerer import Answerer, AnswerResult
from serving.pipeline.answer.degraded import with_notice
from serving.pipeline.answer.guidance import guided
from serving.pipeline.answer.resilient import FALLBACK_WARNING, ResilientResult, WhenDown, answer_resiliently
from serving.pipeline.cache.audit import ShadowAudit
from serving.pipeline.cache.base import Cache, CacheContext, CacheEntry, CacheLookup
from serving.pipeline.cache.worth import still_stands, unfit_question, worth_keeping
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.deadline import nobody_waits
from serving.pipeline.follow_ups import StandAlone, stand_alone
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain, GuardResult
from serving.pipeline.guard.passage_guard import PassageGuard
from serving.pipeline.guard.placeholders import Placeholders, RestoringEmit
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.index.layered.view import one_view
from serving.pipeline.models.question_vector import one_query, paid_vectors
from serving.pipeline.observer import Observer
from serving.pipeline.parts import Digests
from serving.pipeline.retrieve.base import Rewriter
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.retrieve.rewrite.none import NoRewriter
from serving.pipeline.route.base import Escalation, Router
from serving.pipeline.spending import spending
from serving.pipeline.trace_recorder import TraceRecorder
from serving.pipeline.types import Answer, Attempt, Hit, ModelOutage, Query, Route, Trace, Turn, Usage

LOOKUPS: Final = 3  # at most, where what was found does not stand any more
Emit = Callable[[str], None]  # receives the answer's text in chunks


class PassageRetriever(Protocol):
    """Retrieves the passages of a query: the `Retriever`, or one that caches its results."""

    async def retrieve(self, query: Query) -> RetrievalResult: ...


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A new answer, and how it came about."""

    answer: Answer
    route: Route
    retrieved: RetrievalResult
    result: AnswerResult
    attempts: tuple[Attempt, ...]
    outages: tuple[ModelOutage, ...] = ()


@runtime_checkable
class Audited(Protocol):
    """A cache whose hits are sampled and answered anew."""

    @property
    def audit(self) -> ShadowAudit: ...


@runtime_checkable
class Closable(Protocol):
    """A cache that holds connections."""

    async def aclose(self) -> None: ...


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
    rewriter: Rewriter = field(default_factory=NoRewriter)
    fallback: str = ""  # the tier that answers where another one's model does not

    async def aclose(self) -> None:
        """End what the cache does beside queries, and close its connections."""
        if isinstance(self.cache, Closable):
            await self.cache.aclose()

    @property
    def config_digest(self) -> str:
        """Digest of everything that decides an answer."""
        return self.digests.config

    @property
    def most_usd(self) -> float:
        """About the most that one question can cost: the dearest tier with a full context and answer, as often as it may be tried."""
        return self.answerer.most_usd * (1 + self.escalation.withholds + bool(self.fallback))

    async def answer(
        self,
        query: Query,
        *,
        emit: Emit | None = None,
        observer: Observer | None = None,
        placeholders: Placeholders | None = None,
        use_cache: bool = True,
        when_down: WhenDown = WhenDown.FAIL,
    ) -> Trace:
        """Answer a question; `emit`, if given, receives the text as the model writes it, and `observer` is told of every stage.

        A model's outage is raised, unless `when_down` says that another one is asked, or that the passages are given alone.

        Personal data that the guard masks in the question is kept in `placeholders` alone: the trace has their names, `emit` the values.
        """
        recorder = TraceRecorder(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.version)
        placeholders = Placeholders() if placeholders is None else placeholders
        reader = RestoringEmit(emit, placeholders) if emit else None
        try:
            with one_query(), one_view(), spending(recorder.add_usage):
                trace = await self._answer(query, reader, recorder, placeholders, use_cache, when_down)
                if reader:
                    reader.end()
                return trace
        except BaseException as error:  # cancellation as well: an observer is always notified of the end
            recorder.failed(error)
            raise

    async def _answer(
        self,
        query: Query,
        emit: Emit | None,
        recorder: TraceRecorder,
        placeholders: Placeholders,
        use_cache: bool,
        when_down: WhenDown,
    ) -> Trace:
        input_result = await self._check_question(query, recorder, placeholders)
        checked = recorder.query
        if input_result.blocked:
            return recorder.finish(answer=_emitted(Answer(input_result.text, refused=True), emit))

        alone = await self._stand_alone(query, recorder, placeholders)
        if alone.result is not None and alone.result.blocked:
            return recorder.finish(answer=_emitted(Answer(alone.result.text, refused=True), emit))
        checked = alone.query
        unfit = _unfit(input_result, alone) if use_cache else "bypass"
        lookup = await self._lookup(checked, unfit, recorder)
        if lookup.hit is not None:
            entry = lookup.hit.entry
            answer = entry.answer  # a degraded one is never kept: whoever shares it has checked it just now
            if not answer.degraded:
                answer = await self._checked_answer(answer, checked, entry.passages, recorder)
            if isinstance(self.cache, Audited):
                await self.cache.audit.offer(lookup.hit, partial(self._fresh, checked, recorder.add_late_usage))
            return recorder.finish(answer=_emitted(answer, emit), passages=entry.passages, route=entry.route)
        async with lookup.flight:
            written = await self._written(checked, emit, recorder, when_down)
            entry = CacheEntry(written.answer, written.result.passages, written.route, recorder.trace_id)
            if not unfit and worth_keeping(written.answer, recorder.verdicts):
                await self.cache.put(checked, self.context(checked), entry)
            await lookup.flight.share(entry)
        result = written.result
        return recorder.finish(
            answer=written.answer,
            attempts=written.attempts,
            outages=written.outages,
            hits=written.retrieved.hits,
            ranking=written.retrieved.ranking,
            passages=result.passages,
            dropped_passages=result.dropped,
            route=written.route,
            prompt_id=result.prompt_id,
            prompt=result.prompt,
            first_token_ms=result.first_token_ms,
        )

    def context(self, query: Query) -> CacheContext:
        """All but its words that the answer to a question depends on."""
        return CacheContext.of(query, self.digests, self.index.version_for(query.principal.tenant))

    async def _lookup(self, query: Query, unfit: str, recorder: TraceRecorder) -> CacheLookup:
        """The cached answer to a question, if everything that it was written from still stands for whoever asks."""
        with recorder.stage("cache", query.text) as detail:
            lookup = CacheLookup(reason=unfit) if unfit else await self._standing(query)
            detail["hit"] = lookup.hit is not None
        if self.cache.stateful:
            recorder.add_cache_lookup(lookup)
        return lookup

    async def _standing(self, query: Query) -> CacheLookup:
        context, fallen = self.context(query), ""
        for _ in range(LOOKUPS):
            lookup = await self.cache.get(query, context)
            if lookup.hit is None:
                return replace(lookup, reason=fallen or lookup.reason)
            if await still_stands(lookup.hit.entry, self.index.store, context.where):
                return lookup
            await self.cache.drop(query, context, lookup.hit)
            fallen = "changed"
        return CacheLookup(reason=fallen)

    async def _written(
        self, query: Query, emit: Emit | None, recorder: TraceRecorder, when_down: WhenDown = WhenDown.FAIL
    ) -> WrittenAnswer:
        """A new answer to a question that passed the checks of the input."""
        retrieved = await self._retrieve(query, recorder)
        with recorder.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = await self.router.route(query, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        withholds = self.output_guard.withholds or self.escalation.withholds  # no text is shown that may be changed or given up
        stream = None if withholds else emit
        written = await self._write(query, retrieved.hits, route, stream, recorder, when_down, fallback=self.fallback)
        attempts: tuple[Attempt, ...] = ()
        first = written.result
        second = None if first.answer.degraded else await self.escalation.escalate(query, written.route, first.answer, first.passages)
        if second is not None:
            or_the_first = WhenDown.FAIL if when_down is WhenDown.FAIL else WhenDown.DEGRADE
            dearer = await self._write(query, retrieved.hits, second, stream, recorder, or_the_first, fallback="")
            if dearer.result.answer.degraded:  # an answer that is in doubt says more than passages do
                written = ResilientResult(first, written.route, (*written.outages, *dearer.outages))
            else:
                attempts = (Attempt(written.route, first.answer),)
                written = ResilientResult(dearer.result, dearer.route, (*written.outages, *dearer.outages))
        result = written.result
        answer = await self._checked_answer(result.answer, query, result.passages, recorder)
        if result.answer.degraded:
            answer = with_notice(answer)
        elif written.outages:
            answer = replace(answer, warnings=(FALLBACK_WARNING, *answer.warnings))
        if self.guide_refusals:
            answer = guided(answer, result.passages)
        if stream and answer.guidance:
            stream(f" {answer.guidance}")
        streamed = stream is not None and not answer.degraded
        return WrittenAnswer(answer if streamed else _emitted(answer, emit), written.route, retrieved, result, attempts, written.outages)

    async def _fresh(self, query: Query, spent: Callable[[Usage], None]) -> Answer | None:
        """A new answer beside the cached one, for who asked; none where nothing can be said by it. What it cost is told to `spent`."""
        recorder = TraceRecorder(query, None, clock=self.clock, digests=self.digests, index_version=self.index.version)
        try:
            with nobody_waits(), one_query(), one_view(), spending(recorder.add_usage):
                written = await self._written(query, None, recorder)
        finally:
            recorder.hand_over(lambda usage: spent(replace(usage, stage="audit")))
        answer = written.answer
        return answer if answer.refused or worth_keeping(answer, recorder.verdicts) else None

    async def _check_question(self, query: Query, recorder: TraceRecorder, placeholders: Placeholders) -> GuardResult:
        """The verdicts on a question; the recorder then has it, and what was said before, as they may be kept and read on."""
        with recorder.stage("guard", lambda: recorder.query.text) as detail:
            context = CheckContext("input", query, placeholders=placeholders)
            result = await self.input_guard.run(query.text, context)
            history = [Turn(*[await self.input_guard.masked(said, context) for said in turn.texts]) for turn in query.history]
            recorder.question(replace(query, text=result.record, history=tuple(history)))
            detail["action"] = result.action.value
        recorder.add_verdicts(result.as_kept())
        return result

    async def _stand_alone(self, query: Query, recorder: TraceRecorder, placeholders: Placeholders) -> StandAlone:
        """The checked question, without the conversation that it may lean on."""
        return await stand_alone(query, rewriter=self.rewriter, guard=self.input_guard, recorder=recorder, placeholders=placeholders)

    async def search(self, query: Query, *, observer: Observer | None = None) -> Trace:
        """The passages for a question, as `answer` would read them, without an answer; a question that is blocked finds nothing."""
        recorder = TraceRecorder(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.version)
        try:
            with one_query(), one_view(), spending(recorder.add_usage):
                placeholders = Placeholders()
                result = await self._check_question(query, recorder, placeholders)
                if result.blocked:
                    return recorder.finish(answer=Answer(result.text, refused=True))
                alone = await self._stand_alone(query, recorder, placeholders)
                if alone.result is not None and alone.result.blocked:
                    return recorder.finish(answer=Answer(alone.result.text, refused=True))
                retrieved = await self._retrieve(alone.query, recorder)
                return recorder.finish(hits=retrieved.hits, passages=retrieved.hits, ranking=retrieved.ranking)
        except BaseException as error:
            recorder.failed(error)
            raise

    async def _retrieve(self, query: Query, recorder: TraceRecorder) -> RetrievalResult:
        """What was found and may be read."""
        with recorder.stage("retrieve", query.text) as detail:
            retrieved = await self.retriever.retrieve(query)
            detail |= {**retrieved.detail, **_cached_time(retrieved.kept_ms)}
        told = paid_vectors().values()  # by whoever asked for the question's vector first
        for usage in retrieved.usage:
            if usage not in told:
                recorder.add_usage(usage)
        if self.passage_guard.empty:
            return retrieved
        with recorder.stage("guard", [hit.chunk.id for hit in retrieved.hits]) as detail:
            passages = await self.passage_guard.run(query, retrieved.hits)
            detail |= {"action": passages.result.action.value, "dropped": len(retrieved.hits) - len(passages.hits)}
        recorder.add_verdicts(passages.result)
        return replace(retrieved, hits=passages.hits)

    async def _write(
        self,
        query: Query,
        hits: tuple[Hit, ...],
        route: Route,
        emit: Emit | None,
        recorder: TraceRecorder,
        when_down: WhenDown,
        *,
        fallback: str,
    ) -> ResilientResult:
        """The answer of the route's tier, or what is given in its place."""
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
            detail |= _cached_time(result.kept_ms)
            if written.outages:
                detail |= {"tier": written.route.tier, "outages": len(written.outages)}
        recorder.add_usage(result.usage)
        return written

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
        warnings = tuple(dict.fromkeys((*answer.warnings, *result.warnings)))
        return replace(answer, text=result.text, citations=citations, confidence=confidence, warnings=warnings)


def _unfit(checked: GuardResult, alone: StandAlone) -> str:
    """Why a question is neither looked up nor its answer kept; empty where it may be."""
    unfit = unfit_question(alone.query, checked)
    if not unfit and alone.result is not None:
        unfit = "masked" if alone.masked else unfit_question(alone.query, alone.result)
    return unfit


def _cached_time(milliseconds: float | None) -> dict[str, float]:
    """The detail of a stage with a cached result: how long the original computation took."""
    return {} if milliseconds is None else {"kept_ms": milliseconds}


def _emitted(answer: Answer, emit: Emit | None) -> Answer:
    """The answer, after emitting its whole text."""
    if emit is not None:
        emit(answer.shown)
    return answer
