import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from serving.pipeline.answer.answerer import AnswerResult
from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.cache.none import NoCache
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.guard.passage_guard import PassageGuard
from serving.pipeline.index.base import Filter
from serving.pipeline.models.question_vector import QuestionVectors, shared_question_vectors
from serving.pipeline.parts import Digests
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.route.no_escalation import NoEscalation
from serving.pipeline.types import Answer, CacheRecord, Chunk, GuardAction, Hit, Principal, Query, Route, StageRecord, Trace, Turn, Usage
from tests.support.parts import some_parts

HIT = Hit(Chunk("d#0-5", "d", 0, 5, "hello"), 1.0, 1)
PAID = Usage("judge", 7, 1, 0.5)
NEVER = NoEscalation(NoEscalation.Params(), some_parts())


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
class Saying:
    """A check that always says the same, and remembers what it was told."""

    action: GuardAction
    text: str = ""
    told: list[CheckContext] = field(default_factory=list)
    sides = ("input", "output")
    rewrites = True
    blocks = True

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        self.told.append(context)
        return CheckVerdict(self.action, self.text or text, 0.9, "rule", "why", (PAID,))


def guard(side: Any, check: Any = None) -> GuardChain:
    return GuardChain(side, {"one": check} if check else {}, clock=lambda: 0.0, block_message="I cannot help with that.")


@dataclass
class Remembering:
    """A cache that shows what it was given."""

    known: dict[str, CacheEntry] = field(default_factory=dict)
    contexts: list[CacheContext] = field(default_factory=list)
    stateful = True

    async def get(self, query: Query, context: CacheContext) -> CacheLookup:
        entry = self.known.get(query.text)
        return CacheLookup(CacheHit(entry, 0.95, 12.0)) if entry else CacheLookup(nearest=0.4)

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None:
        self.contexts.append(context)
        self.known[query.text] = entry

    async def drop(self, query: Query, context: CacheContext, hit: CacheHit) -> None:
        del self.known[query.text]


@dataclass
class Shelf:
    """A store of one chunk, until it is taken away."""

    chunk: Chunk | None

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        return [self.chunk] if self.chunk and where.admits(self.chunk) else []


@dataclass
class Rooms:
    """Stubs of the rooms; `asked` is what retrieval was asked for."""

    refused: bool = False
    truncated: bool = False
    failure: Exception | None = None
    asked: list[str] = field(default_factory=list)
    read: list[tuple[Hit, ...]] = field(default_factory=list)

    async def retrieve(self, query: Query) -> RetrievalResult:
        if self.failure:
            raise self.failure
        self.asked.append(query.text)
        return RetrievalResult((HIT,), {"candidates": 1})

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        return Route("lite", "because")

    async def answer(
        self,
        query: Query,
        hits: Sequence[Hit],
        route: Route,
        *,
        emit: Callable[[str], None] | None = None,
        late: Callable[[Usage], None] | None = None,
    ) -> AnswerResult:
        self.read.append(tuple(hits))
        for piece in ("hello ", "there") if emit else ():
            emit(piece)  # type: ignore[misc]
        answer = Answer("hello there", refused=self.refused, model="m", truncated=self.truncated)
        fields: dict[str, Any] = {
            "answer": answer,
            "passages": (HIT,),
            "dropped": 0,
            "prompt_id": "p",
            "prompt": "said",
            "usage": Usage("m", 3, 2),
        }
        return AnswerResult(**fields, first_token_ms=1.0)


def a_pipeline(rooms: Rooms, **changes: Any) -> RagPipeline:
    index: Any = SimpleNamespace(digest="index", version="7", version_for=lambda tenant: "7", store=Shelf(HIT.chunk))
    digests = Digests("config", "index", "corpus", "prompts", "release")
    stub: Any = rooms
    no_cache = NoCache(NoCache.Params(), some_parts())
    whole = RagPipeline(
        digests, index, guard("input"), PassageGuard(guard("passages")), guard("output"), no_cache, stub, stub, NEVER, stub, Ticking()
    )
    return replace(whole, **changes)


async def test_a_trace_tells_every_stage_in_order_with_its_time() -> None:
    trace = await a_pipeline(Rooms()).answer(Query("q"))
    assert [stage.stage for stage in trace.stages] == ["guard", "cache", "retrieve", "route", "answer", "guard"]
    assert all(stage.milliseconds == 1000.0 for stage in trace.stages)
    assert (trace.config_digest, trace.index_digest, trace.index_version, trace.release_digest) == ("config", "index", "7", "release")
    assert trace.answer.text == "hello there"
    assert trace.hits == trace.passages == (HIT,)
    assert trace.route is not None and trace.route.reason == "because"
    assert trace.prompt == "said"
    assert trace.usage[0].input_tokens == 3
    assert (trace.guard, trace.cache) == ((), None)


async def test_the_same_question_at_the_same_time_of_the_same_name_in_another_tenant_has_a_trace_of_its_own() -> None:
    asked = [Query("q", Principal("api", tenant), id="request-1") for tenant in ("acme", "globex", "acme")]
    first, other, again = [(await a_pipeline(Rooms()).answer(query)).id for query in asked]
    assert first == again != other


async def test_a_blocked_question_is_never_looked_up_and_what_the_check_cost_is_told() -> None:
    rooms = Rooms()
    trace = await a_pipeline(rooms, input_guard=guard("input", Saying(GuardAction.BLOCK))).answer(Query("bad"))
    assert rooms.asked == []
    assert trace.answer.refused
    assert trace.answer.text == "I cannot help with that."
    [verdict] = trace.guard
    assert (verdict.side, verdict.check, verdict.action, verdict.score, verdict.rule) == ("input", "one", GuardAction.BLOCK, 0.9, "rule")
    assert trace.usage == (replace(PAID, stage="guard"),)


async def test_a_masked_question_goes_on_masked() -> None:
    rooms, reads = Rooms(), Saying(GuardAction.ALLOW)
    masks = guard("input", Saying(GuardAction.MASK, "who is <NAME>?"))
    trace = await a_pipeline(rooms, input_guard=masks, output_guard=guard("output", reads)).answer(Query("who is Ann?"))
    assert rooms.asked == ["who is <NAME>?"]
    [told] = reads.told
    assert (told.side, told.query.text, told.passages) == ("output", "who is <NAME>?", (HIT,))
    assert [use.stage for use in trace.usage] == ["answer", "guard", "guard"]


async def test_the_same_question_again_comes_from_the_cache_with_its_passages_and_who_wrote_it() -> None:
    rooms, cache = Rooms(), Remembering()
    pipeline = a_pipeline(rooms, cache=cache)
    first, second = await pipeline.answer(Query("q", id="1")), await pipeline.answer(Query("q", id="2"))
    assert (first.cached, second.cached) == (False, True)
    assert first.cache == CacheRecord(False, 0.4)
    assert second.cache == CacheRecord(True, 0.95, 12.0, first.id, "exact")
    assert (second.answer, second.passages, second.route) == (first.answer, first.passages, first.route)
    assert (second.hits, second.usage) == ((), ())
    assert rooms.asked == ["q"]
    assert (cache.contexts[0].config, cache.contexts[0].release) == ("config", "release")
    assert (cache.contexts[0].index, cache.contexts[0].index_version, cache.contexts[0].prompts) == ("index", "7", "prompts")


@pytest.mark.parametrize("rooms", [Rooms(refused=True), Rooms(truncated=True)])
async def test_refusals_and_truncated_answers_are_not_kept(rooms: Rooms) -> None:
    cache = Remembering()
    await a_pipeline(rooms, cache=cache).answer(Query("q"))
    assert cache.known == {}


@pytest.mark.parametrize("action", [GuardAction.BLOCK, GuardAction.MASK, GuardAction.FLAG])
async def test_an_answer_that_a_check_found_something_in_is_not_kept(action: GuardAction) -> None:
    cache = Remembering()
    await a_pipeline(Rooms(), cache=cache, output_guard=guard("output", Saying(action))).answer(Query("q"))
    assert cache.known == {}


@pytest.mark.parametrize(("action", "reason"), [(GuardAction.MASK, "masked"), (GuardAction.FLAG, "flagged")])
async def test_a_question_that_a_check_found_something_in_is_not_looked_up_nor_kept(action: GuardAction, reason: str) -> None:
    cache = Remembering({"q": CacheEntry(Answer("of somebody else"))})
    trace = await a_pipeline(Rooms(), cache=cache, input_guard=guard("input", Saying(action, "q"))).answer(Query("q"))
    assert trace.cache == CacheRecord(False, reason=reason)
    assert trace.answer.text == "hello there"
    assert cache.contexts == []


async def test_a_follow_up_is_neither_looked_up_nor_its_answer_kept() -> None:
    cache = Remembering({"q": CacheEntry(Answer("of another conversation"))})
    trace = await a_pipeline(Rooms(), cache=cache).answer(Query("q", history=(Turn("before"),)))
    assert trace.cache == CacheRecord(False, reason="history")
    assert cache.contexts == []


@pytest.mark.parametrize(
    "now",
    [None, replace(HIT.chunk, text="changed"), replace(HIT.chunk, groups=("others",)), replace(HIT.chunk, tenant="other")],
    ids=["gone", "changed", "of a group", "of a tenant"],
)
async def test_an_answer_whose_passage_does_not_stand_any_more_is_dropped_and_written_anew(now: Chunk | None) -> None:
    cache, rooms = Remembering(), Rooms()
    pipeline = a_pipeline(rooms, cache=cache)
    await pipeline.answer(Query("q"))
    pipeline.index.store.chunk = now  # type: ignore[attr-defined]
    trace = await pipeline.answer(Query("q", id="2"))
    assert trace.cache == CacheRecord(False, 0.4, reason="changed")
    assert rooms.asked == ["q", "q"]
    assert cache.known["q"].writer == trace.id


async def test_a_cached_answer_is_read_by_the_guard_of_the_output_as_well() -> None:
    cache, reads = Remembering(), Saying(GuardAction.BLOCK)
    await a_pipeline(Rooms(), cache=cache).answer(Query("q"))
    trace = await a_pipeline(Rooms(), cache=cache, output_guard=guard("output", reads)).answer(Query("q"))
    assert trace.cached
    assert trace.answer.text == "I cannot help with that."
    assert reads.told[0].passages == (HIT,)


async def test_a_blocked_passage_is_neither_routed_nor_read_and_its_verdict_names_it() -> None:
    rooms, blocks = Rooms(), Saying(GuardAction.BLOCK)
    trace = await a_pipeline(rooms, passage_guard=PassageGuard(guard("passages", blocks))).answer(Query("q"))
    assert rooms.read == [()]
    assert trace.hits == ()
    assert blocks.told[0].passages == (HIT,)
    [verdict] = trace.guard
    assert (verdict.side, verdict.action, verdict.chunk_id, verdict.text) == ("passages", GuardAction.BLOCK, "d#0-5", "")
    assert [stage.stage for stage in trace.stages] == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]


async def test_passages_that_pass_are_ranked_anew_and_leave_no_verdict() -> None:
    later = replace(HIT, rank=3)
    passed = await PassageGuard(guard("passages", Saying(GuardAction.ALLOW))).run(Query("q"), (later,))
    assert passed.hits == (HIT,)
    assert passed.result.verdicts == ()


class Once:
    """Gives up whatever the tier "lite" wrote."""

    withholds = True

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        return Route("pro", "not sure enough") if route.tier == "lite" else None


async def test_an_answer_that_is_given_up_is_never_shown_and_both_calls_are_counted() -> None:
    pieces: list[str] = []
    trace = await a_pipeline(Rooms(), escalation=Once()).answer(Query("q"), emit=pieces.append)
    assert pieces == ["hello there"]
    assert trace.route == Route("pro", "not sure enough")
    assert [(attempt.route.tier, attempt.answer.text) for attempt in trace.attempts] == [("lite", "hello there")]
    assert [usage.input_tokens for usage in trace.usage] == [3, 3]
    assert [stage.stage for stage in trace.stages].count("answer") == 2


async def test_a_question_is_embedded_once_for_all_who_ask_within_a_query_and_anew_outside() -> None:
    calls: list[str] = []

    class Counting:
        async def aembed_query(self, text: str) -> list[float]:
            calls.append(text)
            return [3.0, 4.0] if text != "nothing" else [0.0, 0.0]

    question: Any = Counting()
    with shared_question_vectors():
        first, second = await asyncio.gather(QuestionVectors(question).vector("q"), QuestionVectors(question).vector("q"))
        assert first is second
        assert first is not None
        assert first.tolist() == pytest.approx([0.6, 0.8])
        assert await QuestionVectors(question).vector("nothing") is None
    assert calls == ["q", "nothing"]
    await QuestionVectors(question).vector("q")
    assert calls == ["q", "nothing", "q"]
    assert await QuestionVectors(question).vector("") is None


async def streamed(pipeline: RagPipeline) -> tuple[list[str], Trace]:
    pieces: list[str] = []
    return pieces, await pipeline.answer(Query("q"), emit=pieces.append)


async def test_text_is_streamed_as_it_comes() -> None:
    pieces, _ = await streamed(a_pipeline(Rooms()))
    assert pieces == ["hello ", "there"]


async def test_no_text_is_shown_before_a_guard_that_may_change_it_has_read_it_whole() -> None:
    pieces, trace = await streamed(a_pipeline(Rooms(), output_guard=guard("output", Saying(GuardAction.BLOCK))))
    assert pieces == ["I cannot help with that."]
    assert trace.answer.refused
    assert trace.answer.citations == ()


async def test_a_check_that_can_only_flag_holds_no_text_back() -> None:
    check: Any = Saying(GuardAction.FLAG)
    check.rewrites = check.blocks = False
    pieces, trace = await streamed(a_pipeline(Rooms(), output_guard=guard("output", check)))
    assert pieces == ["hello ", "there"]
    assert trace.guard[0].action is GuardAction.FLAG


async def test_what_no_model_streams_is_told_in_one_piece() -> None:
    assert (await streamed(a_pipeline(Rooms(), input_guard=guard("input", Saying(GuardAction.BLOCK)))))[0] == ["I cannot help with that."]
    known = Remembering({"q": CacheEntry(Answer("from memory"))})
    assert (await streamed(a_pipeline(Rooms(), cache=known)))[0] == ["from memory"]


@dataclass
class Watching:
    """An observer that writes down what it hears."""

    heard: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def stage_started(self, query: Query, stage: str) -> None:
        self.queries.append(query)
        self.heard.append(f"{stage} …")

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        self.heard.append(f"{record.stage} {record.milliseconds:.0f}")

    def answered(self, trace: Trace) -> None:
        self.heard.append(f"answered {trace.answer.text}")

    def failed(self, query: Query, error: BaseException) -> None:
        self.heard.append(f"failed {error}")

    def spent(self, query: Query, usage: Usage) -> None:
        self.heard.append(f"spent {usage.model}")


async def test_an_observer_hears_of_every_stage_in_order_and_of_the_answer() -> None:
    watching, query = Watching(), Query("q")
    masks = guard("input", Saying(GuardAction.MASK, "masked"))
    trace = await a_pipeline(Rooms(), input_guard=masks).answer(query, observer=watching)
    stages = [words for record in trace.stages for words in (f"{record.stage} …", f"{record.stage} {record.milliseconds:.0f}")]
    assert watching.heard == [*stages, "answered hello there"]
    [told] = {id(told): told for told in watching.queries}.values()  # one object, so that queries are told apart
    assert told == replace(query, text="")  # it was told before the text was checked


async def test_an_observer_hears_what_a_query_failed_with() -> None:
    watching = Watching()
    with pytest.raises(ValueError, match="no index"):
        await a_pipeline(Rooms(failure=ValueError("no index"))).answer(Query("q"), observer=watching)
    assert watching.heard[-2:] == ["retrieve …", "failed no index"]


async def test_watching_changes_nothing() -> None:
    alone, watched = await a_pipeline(Rooms()).answer(Query("q")), await a_pipeline(Rooms()).answer(Query("q"), observer=Watching())
    assert alone == watched
