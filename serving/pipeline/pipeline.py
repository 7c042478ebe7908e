"""The whole flow of one question on one screen: guard → cache → retrieve → route → answer → guard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from serving.pipeline.answer.answerer import Answerer
from serving.pipeline.cache.base import Cache
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.digest import digest_of
from serving.pipeline.guard.base import Guard
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.retrieve.retriever import Retrieved
from serving.pipeline.route.base import Router
from serving.pipeline.types import Answer, GuardAction, GuardVerdict, Query, StageRecord, Trace

Emit = Callable[[str], None]  # takes the answer's text piece by piece


class Retrieving(Protocol):
    """What finds the passages of a query: the `Retriever`, or one that remembers what it found."""

    async def retrieve(self, query: Query) -> Retrieved: ...


@dataclass(frozen=True, slots=True)
class RagPipeline:
    """One configuration, wired and ready; `answer` is all it does."""

    config_digest: str
    index: OpenIndex
    input_guard: Guard
    output_guard: Guard
    cache: Cache
    retriever: Retrieving
    router: Router
    answerer: Answerer
    clock: Clock = field(default_factory=SystemClock)
    release_digest: str = ""

    async def answer(self, query: Query, *, emit: Emit | None = None) -> Trace:
        """Answer a question; `emit`, if given, receives the text as the model writes it."""
        note = _Notes(self, query)

        with note.stage("guard", query.text) as detail:
            verdict = await self.input_guard.check_input(query)
            detail["action"] = verdict.action.value
        note.guard(verdict)
        if verdict.action is GuardAction.BLOCK:
            return note.finish(answer=_told(Answer(verdict.text, refused=True), emit))
        asked = replace(query, text=verdict.text)

        with note.stage("cache", asked.text) as detail:
            known = await self.cache.get(asked)
            detail["hit"] = known is not None
        if known is not None:
            return note.finish(answer=_told(known, emit), cached=True)

        with note.stage("retrieve", asked.text) as detail:
            retrieved = await self.retriever.retrieve(asked)
            detail |= {**retrieved.detail, **_kept(retrieved.kept_ms)}
        with note.stage("route", [hit.chunk.id for hit in retrieved.hits]) as detail:
            route = self.router.route(asked, retrieved.hits)
            detail |= {"tier": route.tier, "reason": route.reason}
        with note.stage("answer", [route.tier, *(hit.chunk.id for hit in retrieved.hits)]) as detail:
            held = None if self.output_guard.rewrites else emit  # no text is shown before the guard has read it whole
            answered = await self.answerer.answer(asked, retrieved.hits, route, emit=held)
            detail |= {"model": answered.answer.model, "passages": len(answered.passages), "dropped": answered.dropped}
            detail |= {"truncated_passage": answered.truncated_passage, "dangling_citations": answered.dangling_citations}
            detail |= _kept(answered.kept_ms)

        with note.stage("guard", answered.answer.text) as detail:
            verdict = await self.output_guard.check_output(asked, answered.answer.text, answered.passages)
            detail["action"] = verdict.action.value
        note.guard(verdict)
        answer = replace(answered.answer, text=verdict.text)
        if verdict.action is GuardAction.BLOCK:
            answer = Answer(verdict.text, refused=True, model=answer.model)
        if held is None:
            answer = _told(answer, emit)
        if not answer.refused:
            await self.cache.put(asked, answer)

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


class _Notes:
    """Writes down what happens to one query and makes a `Trace` of it."""

    def __init__(self, pipeline: RagPipeline, query: Query) -> None:
        self._clock = pipeline.clock
        self._begin = pipeline.clock.seconds()
        self._kept_ms = 0.0
        self._stages: list[StageRecord] = []
        self._verdicts: list[GuardVerdict] = []
        started = pipeline.clock.now().isoformat(timespec="milliseconds")
        self._base = Trace(
            id=digest_of([pipeline.config_digest, query.id, query.text, query.principal.id, started]),
            query=query,
            config_digest=pipeline.config_digest,
            index_digest=pipeline.index.digest,
            release_digest=pipeline.release_digest,
            index_version=pipeline.index.manifest.store_version,
            started_at=started,
        )

    @contextmanager
    def stage(self, name: str, inputs: object) -> Iterator[dict[str, Any]]:
        """Time one stage; what is put into the yielded dict is kept as its detail, and a `kept_ms` there is counted as time."""
        begin, detail = self._clock.seconds(), dict[str, Any]()
        yield detail
        elapsed = (self._clock.seconds() - begin) * 1000 + detail.get("kept_ms", 0.0)
        self._kept_ms += detail.get("kept_ms", 0.0)
        self._stages.append(StageRecord(name, digest_of(inputs), round(elapsed, 3), detail))

    def guard(self, verdict: GuardVerdict) -> None:
        """Keep a guard's verdict."""
        self._verdicts.append(verdict)

    def finish(self, **outcome: Any) -> Trace:
        """The trace of the finished query."""
        elapsed = (self._clock.seconds() - self._begin) * 1000 + self._kept_ms
        return replace(self._base, stages=tuple(self._stages), guard=tuple(self._verdicts), milliseconds=round(elapsed, 3), **outcome)
