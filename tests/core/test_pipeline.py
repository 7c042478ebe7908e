from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from serving.pipeline.answer.answerer import Answered
from serving.pipeline.cache.none import NoCache
from serving.pipeline.guard.none import NoGuard
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.retrieve.retriever import Retrieved
from serving.pipeline.types import Answer, Chunk, GuardAction, GuardVerdict, Hit, Query, Route, Trace, Usage

HIT = Hit(Chunk("d#0-5", "d", 0, 5, "hello"), 1.0, 1)


class Ticking:
    """A clock that moves one second at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> datetime:
        return datetime(2026, 9, 30, tzinfo=UTC)

    def seconds(self) -> float:
        self.looks += 1
        return float(self.looks)


@dataclass
class Guarding:
    """A guard with fixed verdicts."""

    incoming: GuardVerdict | None = None
    outgoing: GuardVerdict | None = None
    rewrites: bool = True

    async def check_input(self, query: Query) -> GuardVerdict:
        return self.incoming or GuardVerdict("input", GuardAction.ALLOW, query.text)

    async def check_output(self, query: Query, text: str, passages: Sequence[Hit]) -> GuardVerdict:
        return self.outgoing or GuardVerdict("output", GuardAction.ALLOW, text)


@dataclass
class Remembering:
    """A cache that shows what it was given."""

    known: dict[str, Answer] = field(default_factory=dict)

    async def get(self, query: Query) -> Answer | None:
        return self.known.get(query.text)

    async def put(self, query: Query, answer: Answer) -> None:
        self.known[query.text] = answer


@dataclass
class Parts:
    """Stubs of the rooms; `asked` is what retrieval was asked for."""

    refused: bool = False
    asked: list[str] = field(default_factory=list)

    async def retrieve(self, query: Query) -> Retrieved:
        self.asked.append(query.text)
        return Retrieved((HIT,), {"candidates": 1})

    def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        return Route("lite", "because")

    async def answer(self, query: Query, hits: Sequence[Hit], route: Route, *, emit: Callable[[str], None] | None = None) -> Answered:
        for piece in ("hello ", "there") if emit else ():
            emit(piece)  # type: ignore[misc]
        answer = Answer("hello there", refused=self.refused, model="m")
        fields: dict[str, Any] = {
            "answer": answer,
            "passages": (HIT,),
            "dropped": 0,
            "prompt_id": "p",
            "prompt": "said",
            "usage": Usage("m", 3, 2),
        }
        return Answered(**fields, first_token_ms=1.0)


def a_pipeline(parts: Parts, **changes: Any) -> RagPipeline:
    index: Any = SimpleNamespace(digest="index", manifest=SimpleNamespace(store_version="7"))
    none, no_cache = NoGuard(NoGuard.Params()), NoCache(NoCache.Params())
    stub: Any = parts
    whole = RagPipeline("config", index, none, none, no_cache, stub, stub, stub, Ticking(), "release")
    return replace(whole, **changes)


async def test_a_trace_tells_every_stage_in_order_with_its_time() -> None:
    trace = await a_pipeline(Parts()).answer(Query("q"))
    assert [stage.stage for stage in trace.stages] == ["guard", "cache", "retrieve", "route", "answer", "guard"]
    assert all(stage.milliseconds == 1000.0 for stage in trace.stages)
    assert (trace.config_digest, trace.index_digest, trace.index_version, trace.release_digest) == ("config", "index", "7", "release")
    assert trace.answer.text == "hello there"
    assert trace.hits == trace.passages == (HIT,)
    assert trace.route is not None and trace.route.reason == "because"
    assert trace.prompt == "said"
    assert trace.usage[0].input_tokens == 3


async def test_a_blocked_question_is_never_looked_up() -> None:
    parts = Parts()
    block = GuardVerdict("input", GuardAction.BLOCK, "I cannot help with that.", "why")
    trace = await a_pipeline(parts, input_guard=Guarding(incoming=block)).answer(Query("bad"))
    assert parts.asked == []
    assert trace.answer.refused
    assert trace.answer.text == "I cannot help with that."
    assert trace.guard == (block,)


async def test_a_masked_question_goes_on_masked() -> None:
    parts = Parts()
    mask = GuardVerdict("input", GuardAction.MASK, "who is <NAME>?")
    await a_pipeline(parts, input_guard=Guarding(incoming=mask)).answer(Query("who is Ann?"))
    assert parts.asked == ["who is <NAME>?"]


async def test_the_same_question_again_comes_from_the_cache_and_a_refusal_is_not_kept() -> None:
    parts, cache = Parts(), Remembering()
    pipeline = a_pipeline(parts, cache=cache)
    first, second = await pipeline.answer(Query("q")), await pipeline.answer(Query("q"))
    assert (first.cached, second.cached) == (False, True)
    assert second.answer == first.answer
    assert parts.asked == ["q"]
    await a_pipeline(Parts(refused=True), cache=cache).answer(Query("other"))
    assert "other" not in cache.known


async def streamed(pipeline: RagPipeline) -> tuple[list[str], Trace]:
    pieces: list[str] = []
    return pieces, await pipeline.answer(Query("q"), emit=pieces.append)


async def test_text_is_streamed_as_it_comes() -> None:
    pieces, _ = await streamed(a_pipeline(Parts()))
    assert pieces == ["hello ", "there"]


async def test_no_text_is_shown_before_a_guard_that_may_change_it_has_read_it_whole() -> None:
    verdict = GuardVerdict("output", GuardAction.BLOCK, "withheld")
    pieces, trace = await streamed(a_pipeline(Parts(), output_guard=Guarding(outgoing=verdict)))
    assert pieces == ["withheld"]
    assert trace.answer.refused
    assert trace.answer.citations == ()


async def test_what_no_model_streams_is_told_in_one_piece() -> None:
    block = GuardVerdict("input", GuardAction.BLOCK, "no")
    assert (await streamed(a_pipeline(Parts(), input_guard=Guarding(incoming=block))))[0] == ["no"]
    known = Remembering({"q": Answer("from memory")})
    assert (await streamed(a_pipeline(Parts(), cache=known)))[0] == ["from memory"]
