import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.app.query.wire import AnswerOut
from serving.pipeline.cache import CACHES
from serving.pipeline.cache.base import Cache, CacheContext, CacheEntry, CacheLookup
from serving.pipeline.clock import SystemClock
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.parts import Digests
from serving.pipeline.registry import Spec
from serving.pipeline.types import Answer, Principal, Query, Route
from tests.support.parts import some_parts
from tests.support.pipelines import CONFIG, SECRET, small_index, small_pipeline

DIGESTS = Digests("config", "index", "corpus", "prompts", "release")
ENTRY = CacheEntry(Answer("28 days"), route=Route("lite", "because"), writer="trace-1")
STATEFUL = [name for name in CACHES.names() if CACHES.load(name).stateful]  # type: ignore[attr-defined]


class Turned(SystemClock):
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 0.0

    def seconds(self) -> float:
        return self.at


def a_cache(name: str = "exact", clock: Turned | None = None, **params: float) -> Cache:
    return CACHES.build(Spec(name=name, **params), parts=some_parts(clock=clock or Turned()))  # type: ignore[arg-type]


def context(query: Query, digests: Digests = DIGESTS, version: str = "7") -> CacheContext:
    return CacheContext.of(query, digests, version)


def put(cache: Cache, query: Query, entry: CacheEntry = ENTRY) -> None:
    asyncio.run(cache.put(query, context(query), entry))


def get(cache: Cache, query: Query) -> CacheLookup:
    return asyncio.run(cache.get(query, context(query)))


@pytest.mark.parametrize("name", STATEFUL)
def test_an_answer_comes_back_whole_with_its_age(name: str) -> None:
    clock = Turned()
    cache, query = a_cache(name, clock), Query("How many days?")
    assert get(cache, query).hit is None
    put(cache, query)
    clock.at = 5.0
    hit = get(cache, query).hit
    assert hit is not None
    assert (hit.entry, hit.similarity, hit.age_s) == (ENTRY, 1.0, 5.0)


def test_none_remembers_nothing() -> None:
    cache, query = a_cache("none"), Query("How many days?")
    put(cache, query)
    assert get(cache, query) == CacheLookup()
    assert not cache.stateful


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many  days?\n", " How many days?", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("What does IT do?", "What does it do?", False),
        ("How many days?", "How many days", False),
        ("How many days?", "How many hours?", False),
    ],
)
def test_only_white_space_and_unicode_form_make_no_difference(one: str, other: str, same: bool) -> None:
    cache = a_cache()
    put(cache, Query(one))
    assert (get(cache, Query(other)).hit is not None) == same


def test_an_old_answer_is_forgotten() -> None:
    clock = Turned()
    cache, query = a_cache(clock=clock, ttl_s=60.0), Query("q")
    put(cache, query)
    clock.at = 59.9
    assert get(cache, query).hit
    clock.at = 60.0
    assert get(cache, query).hit is None
    clock.at = 0.0
    assert get(cache, query).hit is None  # it is gone, not only hidden


def test_the_least_recently_used_is_forgotten_first() -> None:
    cache = a_cache(max_entries=2)
    put(cache, Query("a"))
    put(cache, Query("b"))
    get(cache, Query("a"))
    put(cache, Query("c"))
    assert [name for name in "abc" if get(cache, Query(name)).hit] == ["a", "c"]


def test_a_newer_answer_replaces_the_older_one() -> None:
    cache = a_cache()
    put(cache, Query("q"))
    put(cache, Query("q"), replace(ENTRY, writer="trace-2"))
    hit = get(cache, Query("q")).hit
    assert hit is not None and hit.entry.writer == "trace-2"


NAMES = st.sampled_from(["", "a", "b", "a,b", 'a"b', "public", "é", "\ud800"])
SETS = st.frozensets(NAMES, max_size=3)
METADATA = st.dictionaries(NAMES, NAMES, max_size=2)
PRINCIPALS = st.builds(Principal, id=NAMES, tenant=NAMES, groups=SETS, domains=st.none() | SETS)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    domains = tuple(draw(st.lists(NAMES, max_size=3)))
    metadata: Mapping[str, str] = draw(METADATA)
    return Query("How many days?", draw(PRINCIPALS), domains, metadata, draw(NAMES))


DIGEST = st.sampled_from(["", "x", "y"])
ANY_DIGESTS = st.builds(Digests, config=DIGEST, index=DIGEST, corpus=DIGEST, prompts=DIGEST, release=DIGEST)


@pytest.mark.parametrize("name", STATEFUL)
@given(writer=queries(), reader=queries(), wrote=ANY_DIGESTS, reads=ANY_DIGESTS, versions=st.tuples(DIGEST, DIGEST))
def test_no_answer_ever_crosses_into_another_context(
    name: str, writer: Query, reader: Query, wrote: Digests, reads: Digests, versions: tuple[str, str]
) -> None:
    cache = a_cache(name)
    before, after = context(writer, wrote, versions[0]), context(reader, reads, versions[1])
    asyncio.run(cache.put(writer, before, ENTRY))
    found = asyncio.run(cache.get(reader, after)).hit is not None
    assert found == (Filter.of(writer) == Filter.of(reader) and decides(wrote) == decides(reads) and versions[0] == versions[1])


def decides(digests: Digests) -> tuple[str, ...]:
    return digests.release or digests.config, digests.index, digests.prompts


@given(query=queries(), other=NAMES)
def test_who_asks_makes_no_difference_only_what_they_may_see(query: Query, other: str) -> None:
    cache = a_cache()
    put(cache, query)
    assert get(cache, replace(query, principal=replace(query.principal, id=other), id="another")).hit


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
