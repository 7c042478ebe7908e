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
from serving.pipeline.notes import Notes
from serving.pipeline.observer import Observer
from serving.pipeline.parts import Digests
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.route.base import Router
from serving.pipeline.types import Answer, Query, Trace

Emit = Callable[[str], None]  # takes the answer's text piece by piece


class Retrieving(Protocol):
    """What finds the passages of a query: the `Retriever`, or one that remembers what it found."""

    async def retrieve(self, query: Query) -> RetrievalResult: ...


@dataclass(frozen=True, slots=True)
class RagPipeline:
    """One configuration, wired and ready; `answer` is all it does."""

    digests: Digests
    index: OpenIndex
    input_guard: GuardChain
    output_guard: GuardChain
    cache: Cache
    retriever: Retrieving
    router: Router
    answerer: Answerer
    clock: Clock = field(default_factory=SystemClock)

    @property
    def config_digest(self) -> str:
        """Digest of everything that decides an answer."""
        return self.digests.config

    async def answer(self, query: Query, *, emit: Emit | None = None, observer: Observer | None = None) -> Trace:
        """Answer a question; `emit`, if given, receives the text as the model writes it, and `observer` is told of every stage."""
        note = Notes(query, observer, clock=self.clock, digests=self.digests, index_version=self.index.manifest.store_version)
        try:
            return await self._answer(query, emit, note)
        except BaseException as error:  # cancelled as well: whoever began to watch must hear the end
            note.failed(error)
            raise

    async def _answer(self, query: Query, emit: Emit | None, note: Notes) -> Trace:
        with note.stage("guard", query.text) as detail:
            incoming = await self.input_guard.run(query.text, CheckContext("input", query))
            detail["action"] = incoming.action.value
        note.guarded(incoming)
        if incoming.blocked:
            return note.finish(answer=_told(Answer(incoming.text, refused=True), emit))
        asked = replace(query, text=incoming.text)

        context = CacheContext.of(asked, self.digests, self.index.manifest.store_version)
        with note.stage("cache", asked.text) as detail:
            lookup = await self.cache.get(asked, context)
            detail["hit"] = lookup.hit is not None
        if self.cache.stateful:
            note.looked_up(lookup)
        if lookup.hit is not None:
            known = lookup.hit.entry
            return note.finish(answer=_told(known.answer, emit), passages=known.passages, route=known.route)

        with note.stage("retrieve", asked.text) as detail:
            retrieved = await self.retriever.retrieve(asked)
            detail |= {**retrieved.detail, **_kept(retrieved.kept_ms)}
        with note.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = self.router.route(asked, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        with note.stage("answer", [route.tier, *(hit.chunk.id for hit in retrieved.hits)]) as detail:
            held = None if self.output_guard.withholds else emit  # no text is shown before the guard has read it whole
            answered = await self.answerer.answer(asked, retrieved.hits, route, emit=held)
            detail |= {"model": answered.answer.model, "passages": len(answered.passages), "dropped": answered.dropped}
            detail |= {"truncated_passage": answered.truncated_passage, "dangling_citations": answered.dangling_citations}
            detail |= _kept(answered.kept_ms)

        with note.stage("guard", answered.answer.text) as detail:
            written = CheckContext("output", asked, answered.passages, answered.answer.refused)
            outgoing = await self.output_guard.run(answered.answer.text, written)
            detail["action"] = outgoing.action.value
        note.guarded(outgoing)
        answer = replace(answered.answer, text=outgoing.text)
        if outgoing.blocked:
            answer = Answer(outgoing.text, refused=True, model=answer.model)
        if held is None:
            answer = _told(answer, emit)
        if not answer.refused and not answer.truncated:
            await self.cache.put(asked, context, CacheEntry(answer, answered.passages, route, note.trace_id))

        return note.finish(
            answer=answer,
            hits=retrieved.hits,
            passages=answered.passages,
            dropped_passages=answered.dropped,
            route=route,
            prompt_id=answered.prompt_id,
            prompt=answered.prompt,
            usage=(answered.usage, *retrieved.usage),
            first_token_ms=answered.first_token_ms,
        )


def _kept(milliseconds: float | None) -> dict[str, float]:
    """For a stage's detail: how long what was not computed now took when it was."""
    return {} if milliseconds is None else {"kept_ms": milliseconds}


def _told(answer: Answer, emit: Emit | None) -> Answer:
    """The answer, after handing its whole text to a listener that has heard none of it."""
    if emit is not None:
        emit(answer.text)
    return answer
