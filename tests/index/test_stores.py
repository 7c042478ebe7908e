"""What every store in the table promises."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.pipeline.errors import StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.base import Filter, ScoredChunk, Store, StoredRow, Vectors
from serving.pipeline.index.layered.segment import IndexedDocument, LiveSegment, Segment, SegmentRecipe, pack_segment
from serving.pipeline.index.layered.store import LayeredStore
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.index.rank import top_k
from serving.pipeline.index.resident.open import searchable
from serving.pipeline.index.resident.store import ResidentStore
from serving.pipeline.index.stores.memory import MemoryStore
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk

WIDTH = 8
AWKWARD = ["a", "b", "it's", '"', "\\", "x' OR '1'='1", "😀", "a=b", "", "%", "é", "A", "public", "null"]
GROUPS = [*AWKWARD, "a/b", "a/it's", "a/", "/a", "/", "public/a", "a/b/c", "it's/b", "a//b", "b/a", "public/a/b"]
FACTS = [{}, {"status": "current"}, {"it's": 'a "b"', "k": "\\"}, {"status": ""}, {"a": "b=c"}, {"a=b": "c"}]

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some_chunks() -> list[Chunk]:
    words = ["parental", "leave", "weeks", "TG-4410", "invoice", "retention", "naïve", "running", "the", "it's", "(AND)", "😀"]
    chunks = []
    for place in range(120):
        text = " ".join(words[(place * step) % len(words)] for step in range(1, 2 + place % 9))
        chunks.append(
            Chunk(
                id=f"doc{place % 7}#{place:03}",
                document_id=f"doc{place % 7}",
                start=place,
                end=place + len(text),
                text=text,
                ordinal=place // 7,
                title="Title",
                heading="A > B",
                domain=AWKWARD[place % 5],
                source="s",
                version="2",
                tenant=["public", "public", *AWKWARD][place % 16],
                groups=tuple(sorted(set([*GROUPS, *GROUPS][place % len(GROUPS) :][: (0, 1, 2, 3, 7)[place // 3 % 5]]))),
                metadata=MappingProxyType(FACTS[place % len(FACTS)]),
            )
        )
    return chunks


def some_vectors(count: int, seed: int = 1) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    rows[10:14] = rows[10]  # equals, whose order only their ids decide
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


CHUNKS = some_chunks()
VECTORS = some_vectors(len(CHUNKS))


def make(name: str, folder: Path, **params: object) -> Store:
    return STORES.build(Spec(name=name, **params), uri=str(folder), dimensions=WIDTH, settings=PipelineSettings())


async def fill(store: Store, chunks: Sequence[Chunk] = CHUNKS, vectors: Vectors = VECTORS, batch: int = 50) -> str:
    for start in range(0, len(chunks), batch):
        part = chunks[start : start + batch]
        await store.add(part, [f"Title\n{chunk.text}" for chunk in part], vectors[start : start + batch])
    return await store.finish()


RESIDENT = "lancedb's resident searcher"
LAYERED = "added chunks over it"
LAYERED_MEMORY = "added chunks over memory"


@pytest.fixture(params=[*STORES.names(), RESIDENT, LAYERED, LAYERED_MEMORY])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param in (LAYERED, LAYERED_MEMORY):
        return await layered(tmp_path, "memory" if request.param == LAYERED_MEMORY else "lancedb")
    store = make("lancedb" if request.param == RESIDENT else request.param, tmp_path / "store")
    await fill(store)
    return await searched(store, tmp_path) if request.param == RESIDENT else store


async def layered(folder: Path, name: str) -> Store:
    """Some documents in a proven index, some beside it in two segments; one is proven too, and hidden there."""
    proven, added = {"doc0", "doc1", "doc5"}, [{"doc2", "doc3"}, {"doc4", "doc5", "doc6"}]
    store = make(name, folder / "store")
    places = [place for place, chunk in enumerate(CHUNKS) if chunk.document_id in proven]
    old = [replace(CHUNKS[place], text="an older version") if CHUNKS[place].document_id == "doc5" else CHUNKS[place] for place in places]
    await fill(store, old, VECTORS[places])
    over = LayeredStore(await searched(store, folder) if name == "lancedb" else store, WIDTH)
    recipe = SegmentRecipe("index", "embedder", "1", "1", "title", "drop")
    segments = []
    for documents in added:
        rows = [
            StoredRow.of(chunk, f"Title\n{chunk.text}", VECTORS[place])
            for place, chunk in enumerate(CHUNKS)
            if chunk.document_id in documents
        ]
        held = [IndexedDocument(name, "content", sum(row.chunk.document_id == name for row in rows)) for name in sorted(documents)]
        segments.append(LiveSegment(Segment.of("s", pack_segment(recipe, held, rows), recipe), None))
    hidden = sum(chunk.document_id == "doc5" for chunk in old)
    added_chunks = sum(one.count for one in segments)
    over.show(LayeredView(tuple(segments), frozenset({"doc5"}), "v", added=5, added_chunks=added_chunks, hidden_chunks=hidden))
    return over


async def searched(store: Store, folder: Path) -> Store:
    return await searchable(store, folders=[folder], index="recipe 1", data_version=await store.data_version(), chunks=1)


async def test_vector_search_finds_the_nearest_with_their_cosines(store: Store) -> None:
    found = await store.search_vector(VECTORS[3], 5, Filter("a", groups=frozenset(AWKWARD)))
    admitted = [place for place, chunk in enumerate(CHUNKS) if Filter("a", groups=frozenset(AWKWARD)).admits(chunk)]
    best = sorted(admitted, key=lambda place: (-float(VECTORS[place] @ VECTORS[3]), CHUNKS[place].id))[:5]
    assert [hit.chunk for hit in found] == [CHUNKS[place] for place in best]
    assert [hit.score for hit in found] == pytest.approx([float(VECTORS[place] @ VECTORS[3]) for place in best], abs=2e-6)


async def test_a_filter_of_everything_admits_whatever_is_there(store: Store) -> None:
    everything = Filter("nobody", domains=frozenset(), everything=True)
    assert all(everything.admits(chunk) for chunk in CHUNKS)
    assert {hit.chunk.id for hit in await store.search_vector(VECTORS[3], len(CHUNKS), everything)} == {chunk.id for chunk in CHUNKS}
    for document_id in {chunk.document_id for chunk in CHUNKS}:
        there = {chunk.id for chunk in CHUNKS if chunk.document_id == document_id}
        assert {chunk.id for chunk in await store.slice(document_id, 0, 2**31 - 1, everything)} == there


async def test_equal_scores_are_ordered_by_id_even_at_the_last_place(store: Store, tmp_path: Path) -> None:
    same = make("memory" if isinstance(store, MemoryStore) else "lancedb", tmp_path / "same")
    chunks = [Chunk(f"c{place:03}", "d", 0, 4, "same word") for place in reversed(range(90))]
    await fill(same, chunks, np.ones((90, WIDTH), np.float32))
    if isinstance(store, ResidentStore):
        same = await searched(same, tmp_path / "same")
    for k in (1, 7, 90):
        expected = [f"c{place:03}" for place in range(k)]
        assert [hit.chunk.id for hit in await same.search_vector(np.ones(WIDTH, np.float32), k, Filter())] == expected
        assert [hit.chunk.id for hit in await same.search_text("word", k, Filter())] == expected


async def test_text_search_stems_and_ignores_case_and_accents(store: Store) -> None:
    everyone = Filter("a", groups=frozenset(AWKWARD))
    for asked, word in [("RUNS", "running"), ("naive", "naïve"), ("tg-4410", "TG-4410"), ("week", "weeks")]:
        found = await store.search_text(asked, 200, everyone)
        assert {hit.chunk.id for hit in found} == {chunk.id for chunk in CHUNKS if word in chunk.text and everyone.admits(chunk)}, asked
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


@pytest.mark.parametrize("text", ["", "  \n", "😀😀", "\0", "()", '"', "zzz", "\ud800"])
async def test_a_text_without_a_known_word_finds_nothing(store: Store, text: str) -> None:
    assert await store.search_text(text, 5, Filter()) == []


ODD = [
    '"',
    "'",
    "AND",
    "OR",
    "NOT",
    "(",
    ")",
    "*",
    "~",
    ":",
    "^2",
    "[a TO b]",
    "\\",
    "+",
    "-",
    "\0",
    "😀",
    "leave",
    "\u202e",
    "%",
    "\ud83d",
]


@few
@given(text=st.one_of(st.text(max_size=80), st.lists(st.sampled_from(ODD), max_size=8).map(" ".join), st.just("leave " * 3000)))
async def test_any_text_is_a_query(store: Store, text: str) -> None:
    found = await store.search_text(text, 3, Filter())
    assert len(found) <= 3
    assert all(Filter().admits(hit.chunk) for hit in found)


some = st.sampled_from([*AWKWARD, "\ud800", "nul\0"])
some_groups = st.sampled_from([*GROUPS, "\ud800", "a/\ud800", "nul\0"])
filters = st.builds(
    Filter,
    without=st.frozensets(st.sampled_from(["doc0", "doc3", "doc5", "it's"]), max_size=2),
    tenant=some,
    groups=st.frozensets(some_groups, max_size=4),
    domains=st.none() | st.frozensets(some, max_size=3),
    metadata=st.sampled_from([*FACTS, {"status": "\ud800"}, {"none": "x"}]) | st.dictionaries(some, some, max_size=1),
)


@few
@given(where=filters)
async def test_every_search_returns_all_that_the_filter_admits_and_nothing_else(store: Store, where: Filter) -> None:
    admitted = {chunk.id for chunk in CHUNKS if where.admits(chunk)}
    assert {hit.chunk.id for hit in await store.search_vector(VECTORS[0], 500, where)} == admitted
    assert {hit.chunk.id for hit in await store.search_text("parental", 500, where)} == {
        chunk.id for chunk in CHUNKS if chunk.id in admitted and "parental" in chunk.text
    }
    assert [chunk.id for chunk in await store.slice("doc3", 2, 9, where)] == [
        chunk.id for chunk in CHUNKS if chunk.id in admitted and chunk.document_id == "doc3" and 2 <= chunk.ordinal <= 9
    ]


async def test_a_filter_narrows_before_the_best_are_taken(store: Store) -> None:
    where = Filter(metadata={"it's": 'a "b"'}, groups=frozenset(AWKWARD), domains=frozenset(["it's"]), tenant='"')
    expected = sorted(chunk.id for chunk in CHUNKS if where.admits(chunk))
    assert expected
    assert sorted(hit.chunk.id for hit in await store.search_vector(VECTORS[0], len(expected), where)) == expected


async def test_stored_vectors_come_back(store: Store) -> None:
    got = await store.vectors([CHUNKS[5].id, "unknown", CHUNKS[77].id, "\ud800", CHUNKS[5].id])
    assert set(got) == {CHUNKS[5].id, CHUNKS[77].id}
    assert np.array_equal(got[CHUNKS[77].id], VECTORS[77])


async def test_it_counts_its_chunks(store: Store) -> None:
    assert await store.count() == len(CHUNKS)
    assert await store.search_vector(VECTORS[0], 0, Filter()) == []


@pytest.mark.parametrize("bad", [np.zeros(WIDTH), np.full(WIDTH, np.nan), np.ones(WIDTH + 1)])
async def test_a_query_that_is_no_direction_is_an_error_not_an_empty_result(store: Store, bad: Vectors) -> None:
    with pytest.raises(StoreError):
        await store.search_vector(bad.astype(np.float32), 5, Filter())


@pytest.mark.parametrize("name", STORES.names())
async def test_a_batch_that_does_not_fit_together_is_refused(name: str, tmp_path: Path) -> None:
    store = make(name, tmp_path)
    with pytest.raises(StoreError, match="no direction"):
        await store.add(CHUNKS[:2], ["a", "b"], np.array([[1.0] * WIDTH, [0.0] * WIDTH], np.float32))
    with pytest.raises(StoreError, match="one text and one vector for each chunk, not 2, 1 and 2"):
        await store.add(CHUNKS[:2], ["a"], VECTORS[:2])


@pytest.mark.parametrize("name", STORES.names())
async def test_another_process_reads_what_was_finished(name: str, tmp_path: Path) -> None:
    await fill(make(name, tmp_path / "a"))
    again = make(name, tmp_path / "a")
    where = Filter("a", groups=frozenset(AWKWARD))
    first, second = await again.search_vector(VECTORS[3], 9, where), await again.search_text("leave invoice", 9, where)
    other = make(name, tmp_path / "b")
    await fill(other, batch=17)
    assert await other.search_vector(VECTORS[3], 9, where) == first
    assert await other.search_text("leave invoice", 9, where) == second
    assert first
    assert second


@pytest.mark.parametrize("name", STORES.names())
async def test_a_place_without_an_index_is_a_clear_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be opened"):
        await make(name, tmp_path / "nothing").count()
    with pytest.raises(StoreError, match="could not be"):
        await make(name, tmp_path / "empty").finish()


@pytest.mark.parametrize("name", STORES.names())
async def test_a_folder_that_cannot_be_written_is_a_store_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        await fill(make(name, tmp_path / "file" / "store"))


async def test_bm25_gives_the_numbers_worked_out_by_hand(tmp_path: Path) -> None:
    store = make("memory", tmp_path)
    texts = ["leave leave weeks", "weeks", "invoice"]  # lengths 3, 1, 1: the mean is 5/3
    chunks = [Chunk(f"c{place}", "d", 0, 1, text) for place, text in enumerate(texts)]
    await store.add(chunks, texts, VECTORS[:3])
    await store.finish()
    rare, common = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)  # words in one and in two of three texts
    long, short = 0.9 * (0.6 + 0.4 * 9 / 5), 0.9 * (0.6 + 0.4 * 3 / 5)
    found = {hit.chunk.id: hit.score for hit in await store.search_text("leave weeks", 9, Filter())}
    assert found == {
        "c0": pytest.approx(rare * 2 / (2 + long) + common * 1 / (1 + long), abs=1e-6),
        "c1": pytest.approx(common * 1 / (1 + short), abs=1e-6),
    }


async def test_above_its_size_lancedb_searches_a_graph_and_still_finds_the_nearest(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((600, WIDTH)).astype(np.float32)
    chunks = [Chunk(f"c{place:03}", "d", 0, 4, "text", tenant="public" if place % 3 else "other") for place in range(600)]
    exact, graph = make("lancedb", tmp_path / "exact"), make("lancedb", tmp_path / "graph", ann_above=500)
    await fill(exact, chunks, rows)
    await fill(graph, chunks, rows)
    assert "vector_idx" in json.dumps([index.name for index in await (await graph._table()).list_indices()])  # type: ignore[attr-defined]
    for query in rng.standard_normal((20, WIDTH)).astype(np.float32):
        want, got = await exact.search_vector(query, 5, Filter()), await graph.search_vector(query, 5, Filter())
        assert len({hit.chunk.id for hit in want} & {hit.chunk.id for hit in got}) >= 4
        assert all(hit.chunk.tenant == "public" for hit in got)


def test_a_tie_that_may_go_on_beyond_what_was_asked_for_is_noticed() -> None:
    chunk = Chunk("c", "d", 0, 1, "t")
    tied = [ScoredChunk(chunk, 0.5)] * 6
    assert top_k(tied, 3, limit=6) is None
    assert top_k(tied, 3, limit=7) == tied[:3]
    assert top_k([*tied[:5], ScoredChunk(chunk, 0.4)], 3, limit=6) == tied[:3]
