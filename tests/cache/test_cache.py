import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.app.query.wire import AnswerOut
from serving.pipeline.cache import CACHES
from serving.pipeline.cache.base import CacheLookup
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.parts import Digests
from serving.pipeline.registry import Spec
from serving.pipeline.types import Answer, Principal, Query, Turn
from tests.cache.making import ENTRY, EVERY, Maker, Turned, context, get, make, put
from tests.support.parts import some_parts
from tests.support.pipelines import CONFIG, SECRET, small_index, small_pipeline


@pytest.fixture(params=EVERY)
def made(request: pytest.FixtureRequest) -> Maker:
    """Every cache that remembers, in process and on Redis."""
    return make(request.param, request)


async def test_an_answer_comes_back_whole_with_its_age(made: Maker) -> None:
    clock = Turned()
    cache, query = made(clock), Query("How many days?")
    assert (await get(cache, query)).hit is None
    await put(cache, query)
    clock.at = 5.0
    hit = (await get(cache, query)).hit
    assert hit is not None
    assert (hit.entry, hit.similarity, hit.age_s, hit.kind) == (ENTRY, 1.0, 5.0, "exact")
    await cache.aclose()


async def test_none_remembers_nothing() -> None:
    cache, query = CACHES.build(Spec(name="none"), parts=some_parts()), Query("How many days?")
    await put(cache, query)
    assert await get(cache, query) == CacheLookup()
    assert not cache.stateful


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many  days?\n", " How many days?", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("What does IT do?", "What does it do?", False),
        ("How many days?", "how many days", True),
        ("the team’s days", "the team's days", True),
        ("Will Ito's days?", "will Ito's days?", False),
        ("What is 5!", "What is 5", False),
        ("How many days?", "How many hours?", False),
    ],
)
async def test_how_a_question_was_typed_makes_no_difference(made: Maker, one: str, other: str, same: bool) -> None:
    cache = made()
    await put(cache, Query(one))
    hit = (await get(cache, Query(other))).hit
    assert (hit is not None and hit.kind == "exact") == same
    await cache.aclose()


async def test_an_acronym_is_no_common_word(made: Maker) -> None:
    cache = made()
    await put(cache, Query("What does IT do?"))
    assert (await get(cache, Query("what does it do"))).hit is None
    await cache.aclose()


async def test_an_old_answer_is_forgotten(made: Maker) -> None:
    clock = Turned()
    cache, query = made(clock, ttl_s=60.0), Query("q")
    await put(cache, query)
    clock.at = 59.9
    assert (await get(cache, query)).hit
    clock.at = 60.0
    assert (await get(cache, query)).hit is None
    await cache.aclose()


async def test_the_least_recently_used_is_forgotten_first(made: Maker) -> None:
    clock = Turned()
    cache = made(clock, max_entries=2)
    for step, (act, word) in enumerate([(put, "apples"), (put, "pears"), (get, "apples"), (put, "plums")]):
        clock.at = float(step)
        await act(cache, Query(word))
    assert [word for word in ("apples", "pears", "plums") if (await get(cache, Query(word))).hit] == ["apples", "plums"]
    await cache.aclose()


async def test_a_newer_answer_replaces_the_older_one(made: Maker) -> None:
    cache = made()
    await put(cache, Query("q"))
    await put(cache, Query("q"), replace(ENTRY, writer="trace-2"))
    assert (await get(cache, Query("q"))).hit.entry.writer == "trace-2"
    await cache.aclose()


async def test_a_dropped_answer_is_not_found_again(made: Maker) -> None:
    cache, query = made(), Query("q")
    await put(cache, query)
    await cache.drop(query, context(query), (await get(cache, query)).hit)
    assert (await get(cache, query)).hit is None
    await cache.aclose()


async def test_an_answer_that_a_check_is_not_sure_of_is_not_kept(made: Maker) -> None:
    cache = made(least_confidence=0.5)
    for confidence, kept in ((0.4, False), (0.5, True), (None, True)):
        query = Query(f"q {confidence}")
        await put(cache, query, replace(ENTRY, answer=Answer("28 days", confidence=confidence)))
        assert ((await get(cache, query)).hit is not None) == kept
    await cache.aclose()


NAMES = st.sampled_from(["", "a", "b", "a,b", 'a"b', "public", "é", "\ud800"])
SETS = st.frozensets(NAMES, max_size=3)
METADATA = st.dictionaries(NAMES, NAMES, max_size=2)
PRINCIPALS = st.builds(Principal, id=NAMES, tenant=NAMES, groups=SETS, domains=st.none() | SETS)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    domains = tuple(draw(st.lists(NAMES, max_size=3)))
    metadata: Mapping[str, str] = draw(METADATA)
    history = tuple(map(Turn, draw(st.lists(NAMES, max_size=1))))
    return Query("How many days?", draw(PRINCIPALS), domains, metadata, draw(NAMES), history, draw(st.sampled_from(["", "de"])))


DIGEST = st.sampled_from(["", "x", "y"])
ANY_DIGESTS = st.builds(Digests, config=DIGEST, index=DIGEST, corpus=DIGEST, prompts=DIGEST, release=DIGEST)


@pytest.fixture(params=EVERY)
def fresh(request: pytest.FixtureRequest) -> Callable[[], Maker]:
    """The same, with nothing kept yet for each example of a property."""
    return lambda: make(request.param, request)


ASKED = ("How many days?", "How many of the days?")  # the same question, and one that a lenient semantic cache takes for the same


APART = ("", "tenant", "groups", "domains", "narrowed", "metadata", "history", "language", "digests", "version", "everything")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    writer=queries(),
    reader=queries(),
    wrote=ANY_DIGESTS,
    reads=ANY_DIGESTS,
    versions=st.tuples(DIGEST, DIGEST),
    apart=st.sampled_from(APART),
    asked=st.sampled_from(ASKED),
)
def test_no_answer_ever_crosses_into_another_context(
    fresh: Callable[[], Maker],
    writer: Query,
    reader: Query,
    wrote: Digests,
    reads: Digests,
    versions: tuple[str, str],
    apart: str,
    asked: str,
) -> None:
    if apart != "everything":  # random contexts are seldom equal: take them apart in one thing, or in none
        other, reader = reader, replace(writer, id="another")
        if apart in ("tenant", "groups", "domains"):
            reader = replace(reader, principal=replace(reader.principal, **{apart: getattr(other.principal, apart)}))
        elif apart in ("narrowed", "metadata", "history", "language"):
            field = {"narrowed": "domains"}.get(apart, apart)
            reader = replace(reader, **{field: getattr(other, field)})
        reads = reads if apart == "digests" else wrote
        versions = versions if apart == "version" else (versions[0], versions[0])
    reader = replace(reader, text=asked)
    before, after = context(writer, wrote, versions[0]), context(reader, reads, versions[1])
    seen: list[bool] = []

    async def found() -> bool:
        made = fresh()
        lenient: dict[str, Any] = {"threshold": 0.0, "least_similarity": 0.0, "scorer": "cosine"}
        writes, looks = (made(**lenient) if made.name == "semantic" else made() for _ in range(2))
        cache = looks if made.shared else writes
        seen.append(made.name == "semantic" or asked == ASKED[0])
        await writes.put(writer, before, ENTRY)
        hit = (await cache.get(reader, after)).hit
        await writes.aclose()
        await looks.aclose()
        return hit is not None

    same = Filter.of(writer) == Filter.of(reader) and decides(writer, wrote) == decides(reader, reads) and versions[0] == versions[1]
    assert asyncio.run(found()) == (same and seen[0])


def decides(query: Query, digests: Digests) -> tuple[object, ...]:
    return digests.release, digests.config, digests.index, digests.prompts, query.language, query.history


@given(query=queries(), other=NAMES)
def test_who_asks_makes_no_difference_only_what_they_may_see(query: Query, other: str) -> None:
    async def found() -> bool:
        cache = Maker("exact", {})()
        await put(cache, query)
        asks = replace(query, principal=replace(query.principal, id=other), id="another")
        return (await get(cache, asks)).hit is not None

    assert asyncio.run(found())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return small_index(tmp_path_factory.mktemp("home"))


async def test_a_pipeline_gives_a_remembered_answer_with_the_texts_of_its_citations(index: OpenIndex) -> None:
    pipeline = small_pipeline(index, {"cache.lookup.name": "exact"})
    query = Query("How many days of paid leave?")
    first, second = await pipeline.answer(query), await pipeline.answer(query)
    assert (first.cached, second.cached) == (False, True)
    assert second.cache is not None and second.cache.writer == first.id
    shown, again = AnswerOut.of(first), AnswerOut.of(second)
    assert again.citations == shown.citations
    assert again.citations[0].text
    assert again.cache is not None and (again.cache.trace_id, again.cache.similarity) == (first.id, 1.0)
    assert (again.usage.usd, again.route) == (0.0, shown.route)


async def test_a_group_never_hears_anothers_remembered_answer(index: OpenIndex) -> None:
    pipeline = small_pipeline(index, {"cache.lookup.name": "exact"})
    director = Query("How many days of paid leave?", Principal("d", groups=frozenset(SECRET.groups)))
    assert SECRET.id in {hit.chunk.document_id for hit in (await pipeline.answer(director)).passages}
    anyone = await pipeline.answer(Query(director.text))
    assert not anyone.cached
    assert SECRET.id not in {hit.chunk.document_id for hit in anyone.passages}


async def test_every_pipeline_has_a_cache_of_its_own(index: OpenIndex) -> None:
    one, other = (small_pipeline(index, {"cache.lookup.name": "exact"}) for _ in range(2))
    query = Query("How many days of paid leave?")
    await one.answer(query)
    assert (await one.answer(query)).cached
    assert not (await other.answer(query)).cached


def test_how_long_answers_are_kept_is_swept_and_hashed() -> None:
    exact = CONFIG.replace({"cache.lookup.name": "exact"})
    assert exact.at("cache.lookup.ttl_s") == 3600.0
    assert exact.digest() != exact.replace({"cache.lookup.ttl_s": 60.0}).digest()
