"""The flow of one question, top to bottom: guard → cache → retrieve → guard → route → answer → guard."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

from serving.pipeline.answer.answerer import Answerer, AnswerResult, Emit
from serving.pipeline.answer.degraded import with_notice
from serving.pipeline.answer.guidance import guided
from serving.pipeline.answer.resilient import FALLBACK_WARNING, WhenDown
from serving.pipeline.answer.tiered import TieredAnswerer
from serving.pipeline.cache.audit import Audited
from serving.pipeline.cache.base import Cache, CacheContext, CacheEntry, CacheHit, CacheLookup, Closable
from serving.pipeline.cache.eligibility import bypass_reason, is_cacheable, is_still_valid
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.deadline import no_deadline
from serving.pipeline.follow_ups import StandaloneQuestion, standalone_question
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain, GuardResult
from serving.pipeline.guard.passage_guard import PassageGuard
from serving.pipeline.guard.placeholders import Placeholders, RestoringEmit
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.index.layered.view import one_view
from serving.pipeline.models.question_vector import shared_question_vectors, vector_usage
from serving.pipeline.observer import Observer
from serving.pipeline.parts import Digests
from serving.pipeline.retrieve.base import Rewriter
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.retrieve.rewrite.none import NoRewriter
from serving.pipeline.route.base import Escalation, Router
from serving.pipeline.trace_recorder import TraceRecorder, cached_time
from serving.pipeline.types import Answer, Attempt, Hit, ModelOutage, Query, Route, Trace, Turn, Usage
from serving.pipeline.usage_meter import metering

MAX_LOOKUPS: Final = 3  # entries that are no longer valid are dropped, and the next one is looked up


class PassageRetriever(Protocol):
    """Retrieves the passages of a query: the `Retriever`, or a wrapper that caches its results."""

    async def retrieve(self, query: Query) -> RetrievalResult: ...


@dataclass(frozen=True, slots=True)
class CheckedQuestion:
    """A question after the input guard; a blocked one has a message in place of an answer."""

    query: Query
    bypass: str = ""  # why it bypasses the cache
    blocked: bool = False
    block_message: str = ""


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A newly written answer with what led to it."""

    answer: Answer
    route: Route
    retrieved: RetrievalResult
    result: AnswerResult
    attempts: tuple[Attempt, ...]
    outages: tuple[ModelOutage, ...] = ()


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
        """Stop the cache's background work and close its connections."""
        if isinstance(self.cache, Closable):
            await self.cache.aclose()

    @property
    def config_digest(self) -> str:
        """Digest of everything that decides an answer."""
        return self.digests.config

    @property
    def most_usd(self) -> float:
        """An upper estimate of one question's cost: the dearest tier with a full context and answer, for every attempt that may be made."""
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
        """Answer a question; `emit`, if given, receives the text as the model writes it, and `observer` is notified of every stage.

        A model's outage is raised, unless `when_down` allows the fallback tier, or the passages alone.

        Personal data that the guard masks in the question is kept in `placeholders` only: the trace has their names, `emit` the values.
        """
        recorder = self._recorder(query, observer)
        placeholders = Placeholders() if placeholders is None else placeholders
        restored = RestoringEmit(emit, placeholders) if emit else None
        try:
            with shared_question_vectors(), one_view(), metering(recorder.add_usage):
                trace = await self._answer(query, restored, recorder, placeholders, use_cache, when_down)
                if restored:
                    restored.end()
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
        question = await self._checked_question(query, recorder, placeholders)
        if question.blocked:
            return recorder.finish(answer=_emitted(Answer(question.block_message, refused=True), emit))
        bypass = question.bypass if use_cache else "bypass"
        lookup = await self._lookup(question.query, bypass, recorder)
        if lookup.hit is not None:
            return await self._answer_from_cache(question.query, lookup.hit, emit, recorder)
        async with lookup.flight:
            written = await self._write_answer(question.query, emit, recorder, when_down)
            entry = CacheEntry(written.answer, written.result.passages, written.route, recorder.trace_id)
            if not bypass and is_cacheable(written.answer, recorder.verdicts):
                await self.cache.put(question.query, self.context(question.query), entry)
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

    async def search(self, query: Query, *, observer: Observer | None = None) -> Trace:
        """The passages for a question, as `answer` would read them, without an answer; a question that is blocked finds nothing."""
        recorder = self._recorder(query, observer)
        try:
            with shared_question_vectors(), one_view(), metering(recorder.add_usage):
                question = await self._checked_question(query, recorder, Placeholders())
                if question.blocked:
                    return recorder.finish(answer=Answer(question.block_message, refused=True))
                retrieved = await self._retrieve(question.query, recorder)
                return recorder.finish(hits=retrieved.hits, passages=retrieved.hits, ranking=retrieved.ranking)
        except BaseException as error:
            recorder.failed(error)
            raise

    def context(self, query: Query) -> CacheContext:
        """Everything but the question's text that its answer depends on."""
        return CacheContext.of(query, self.digests, self.index.version_for(query.principal.tenant))

    def _recorder(self, query: Query, observer: Observer | None = None) -> TraceRecorder:
        return TraceRecorder(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.version)

    async def _checked_question(self, query: Query, recorder: TraceRecorder, placeholders: Placeholders) -> CheckedQuestion:
        """The question after the input guard, rewritten to stand alone where it is a follow-up."""
        with recorder.stage("guard", lambda: recorder.query.text) as detail:
            context = CheckContext("input", query, placeholders=placeholders)
            result = await self.input_guard.run(query.text, context)
            history = [Turn(*[await self.input_guard.masked(text, context) for text in turn.texts]) for turn in query.history]
            recorder.set_query(replace(query, text=result.record, history=tuple(history)))
            detail["action"] = result.action.value
        recorder.add_verdicts(result.as_kept())
        if result.blocked:
            return CheckedQuestion(recorder.query, blocked=True, block_message=result.text)
        standalone = await standalone_question(
            query, rewriter=self.rewriter, guard=self.input_guard, recorder=recorder, placeholders=placeholders
        )
        if standalone.result is not None and standalone.result.blocked:
            return CheckedQuestion(standalone.query, blocked=True, block_message=standalone.result.text)
        return CheckedQuestion(standalone.query, bypass=_bypass(result, standalone))

    async def _lookup(self, query: Query, bypass: str, recorder: TraceRecorder) -> CacheLookup:
        """The cached answer to a question, if everything that it was written from is still valid for this caller."""
        with recorder.stage("cache", query.text) as detail:
            lookup = CacheLookup(reason=bypass) if bypass else await self._valid_entry(query)
            detail["hit"] = lookup.hit is not None
        if self.cache.stateful:
            recorder.add_cache_lookup(lookup)
        return lookup

    async def _valid_entry(self, query: Query) -> CacheLookup:
        """Look up until a valid entry or a miss is found; entries that are no longer valid are dropped."""
        context, dropped = self.context(query), ""
        for _ in range(MAX_LOOKUPS):
            lookup = await self.cache.get(query, context)
            if lookup.hit is None:
                return replace(lookup, reason=dropped or lookup.reason)
            if await is_still_valid(lookup.hit.entry, self.index.store, context.where):
                return lookup
            await self.cache.drop(query, context, lookup.hit)
            dropped = "changed"
        return CacheLookup(reason=dropped)

    async def _answer_from_cache(self, query: Query, hit: CacheHit, emit: Emit | None, recorder: TraceRecorder) -> Trace:
        """A cached answer, checked again by the output guard."""
        entry = hit.entry
        answer = entry.answer  # a degraded one is never stored: it is shared by an equal question, which has just checked it
        if not answer.degraded:
            answer = await self._checked_answer(answer, query, entry.passages, recorder)
        if isinstance(self.cache, Audited):
            await self.cache.audit.offer(hit, partial(self._audit_answer, query, recorder.add_late_usage))
        return recorder.finish(answer=_emitted(answer, emit), passages=entry.passages, route=entry.route)

    async def _audit_answer(self, query: Query, record: Callable[[Usage], None]) -> Answer | None:
        """A new answer to compare a cached one with; `None` where it is no basis for a comparison. `record` receives its usage."""
        recorder = self._recorder(query)
        try:
            with no_deadline(), shared_question_vectors(), one_view(), metering(recorder.add_usage):
                written = await self._write_answer(query, None, recorder, WhenDown.FAIL)
        finally:
            recorder.discard(lambda usage: record(replace(usage, stage="audit")))
        answer = written.answer
        return answer if answer.refused or is_cacheable(answer, recorder.verdicts) else None

    async def _write_answer(self, query: Query, emit: Emit | None, recorder: TraceRecorder, when_down: WhenDown) -> WrittenAnswer:
        """Retrieve, route, answer and check: a new answer to a checked question."""
        retrieved = await self._retrieve(query, recorder)
        with recorder.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = await self.router.route(query, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        withholds = self.output_guard.withholds or self.escalation.withholds  # the text may still be changed or replaced
        stream = None if withholds else emit
        tiers = TieredAnswerer(self.answerer, self.escalation, self.fallback)
        written = await tiers.answer(query, retrieved.hits, route, emit=stream, recorder=recorder, when_down=when_down)
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
        if stream is None or answer.degraded:
            answer = _emitted(answer, emit)
        return WrittenAnswer(answer, written.route, retrieved, result, written.attempts, written.outages)

    async def _retrieve(self, query: Query, recorder: TraceRecorder) -> RetrievalResult:
        """The passages that were found and that the passage guard allows."""
        with recorder.stage("retrieve", query.text) as detail:
            retrieved = await self.retriever.retrieve(query)
            detail |= {**retrieved.detail, **cached_time(retrieved.kept_ms)}
        recorded = vector_usage().values()  # the question's vector, by the stage that needed it first
        for usage in retrieved.usage:
            if usage not in recorded:
                recorder.add_usage(usage)
        if self.passage_guard.empty:
            return retrieved
        with recorder.stage("guard", [hit.chunk.id for hit in retrieved.hits]) as detail:
            passages = await self.passage_guard.run(query, retrieved.hits)
            detail |= {"action": passages.result.action.value, "dropped": len(retrieved.hits) - len(passages.hits)}
        recorder.add_verdicts(passages.result)
        return replace(retrieved, hits=passages.hits)

    async def _checked_answer(self, answer: Answer, query: Query, passages: tuple[Hit, ...], recorder: TraceRecorder) -> Answer:
        """The answer, new or cached, as the output guard leaves it."""
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


def _bypass(checked: GuardResult, standalone: StandaloneQuestion) -> str:
    """Why a question bypasses the cache; empty where it does not."""
    reason = bypass_reason(standalone.query, checked)
    if not reason and standalone.result is not None:
        reason = "masked" if standalone.masked else bypass_reason(standalone.query, standalone.result)
    return reason


def _emitted(answer: Answer, emit: Emit | None) -> Answer:
    """The answer, after emitting its whole text."""
    if emit is not None:
        emit(answer.shown)
    return answer
