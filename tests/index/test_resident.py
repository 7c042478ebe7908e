"""The resident searcher finds what the store of record finds, and shows nobody what they may not read."""

import asyncio
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_stores import AWKWARD, CHUNKS, GROUPS, VECTORS, WIDTH, few, fill, filters, make

from serving.pipeline.config import RagConfig
from serving.pipeline.errors import IntegrityError, StoreError
from serving.pipeline.index.base import Filter, ScoredChunk, Store, Vectors
from serving.pipeline.index.build import build_index, index_uri
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.resident.mapped import START, map_arrays, write_arrays
from serving.pipeline.index.resident.open import FILE, StoreOfRecord, searchable
from serving.pipeline.index.resident.store import ResidentStore
from serving.pipeline.index.resident.words import counted_words
from serving.pipeline.index.shingles import shingles_of
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Document

NEAR = 5e-6  # scores are sums of float32

# endings of every kind, accents, figures, long runs, other scripts: what a tokeniser may do otherwise
LISTED = (
    "parental leave leaves leaving week weekly running runner the before does was policies policy generously business businesses "
    "naïve résumés Straße façade smørrebrød TG-4410 KR_91 v2.1 1,200.50 e-mail don't it's its us US IT ＡＢＣ ﬁnance x² ½ Ⅳ наука λόγος "
    "日本語 dying skis news inning proceed exceed early only idly sky skies succeed gases this lie tied cries by say"
)
VOCABULARY = [*LISTED.split(), "a" * 39, "b" * 40, "c" * 41, "é" * 19 + "e", "é" * 20]


def invented(count: int, seed: int) -> tuple[list[Chunk], list[str], Vectors]:
    chance = random.Random(seed)
    chunks, texts = [], []
    for place in range(count):
        text = " ".join(chance.choices(VOCABULARY, k=chance.randint(1, 40)))
        document = f"doc{chance.randrange(count // 5)}"
        groups = tuple(sorted(set(chance.choices(GROUPS, k=chance.choice((0, 0, 1, 3))))))
        metadata = {key: chance.choice(AWKWARD) for key in chance.sample(["status", "year", "it's"], chance.randrange(3))}
        chunk = Chunk(f"{document}#{place}", document, place, place + len(text), text, place, "Title", chance.choice(["", "A > B"]))
        rights = {"tenant": chance.choice(["public", "public", *AWKWARD]), "domain": chance.choice(AWKWARD)}
        chunks.append(replace(chunk, groups=groups, metadata=MappingProxyType(metadata), **rights))
        texts.append(f"Title\n{text}")
    return chunks, texts, np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


async def resident_of(record: Store, folder: Path, **given: object) -> ResidentStore:
    store = await searchable(
        record, folders=[folder], **{"index": "recipe 1", "data_version": await record.data_version(), "chunks": 1, **given}
    )
    assert isinstance(store, ResidentStore)
    return store


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, ResidentStore]:
    """A store of record and its resident searcher."""
    folder = tmp_path_factory.mktemp("both")

    async def fill_both() -> tuple[Store, ResidentStore]:
        record = make("lancedb", folder / "lancedb")
        chunks, texts, vectors = invented(600, 5)
        for start in range(0, len(chunks), 128):
            await record.add(chunks[start : start + 128], texts[start : start + 128], vectors[start : start + 128])
        await record.finish()
        return make("lancedb", folder / "lancedb"), await resident_of(record, folder)

    return asyncio.run(fill_both())


def assert_the_same(found: list[ScoredChunk], expected: list[ScoredChunk]) -> None:
    """The same chunks with the same scores in the same order, but for neighbours whose scores differ by no more than rounding."""
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=NEAR)
    scores = {hit.chunk.id: hit.score for hit in expected}
    chunks = {hit.chunk.id: hit.chunk for hit in expected}
    for hit in found:
        last = expected[-1].score  # in its place another chunk of the same score may stand
        assert hit.score == pytest.approx(scores.get(hit.chunk.id, last), abs=NEAR)
        assert hit.chunk == chunks.get(hit.chunk.id, hit.chunk)


async def test_it_finds_what_the_store_of_record_finds(both: tuple[Store, ResidentStore]) -> None:
    record, resident = both
    chance = random.Random(9)
    queries = np.random.default_rng(9).standard_normal((60, WIDTH)).astype(np.float32)
    found_words = 0
    for query in queries:
        tenant, groups = chance.choice(["a", "public", *AWKWARD]), frozenset(chance.choices(GROUPS, k=chance.randrange(6)))
        domains = chance.choice([None, frozenset(chance.choices(AWKWARD, k=4))])
        where = Filter(tenant, groups, domains, chance.choice([{}, {}, {"status": chance.choice(AWKWARD)}]), chance.random() < 0.2)
        k = chance.choice([1, 5, 40, 700])
        assert_the_same(await resident.search_vector(query, k, where), await record.search_vector(query, k, where))
        text = " ".join(chance.choices(VOCABULARY, k=chance.randint(1, 12)))
        expected = await record.search_text(text, k, where)
        assert_the_same(await resident.search_text(text, k, where), expected)
        found_words += len(expected)
        document = f"doc{chance.randrange(120)}"
        assert await resident.slice(document, 100, 400, where) == await record.slice(document, 100, 400, where)
    assert found_words > 100


@pytest.mark.parametrize("word", VOCABULARY)
async def test_every_kind_of_word_is_counted_as_the_store_of_record_counts_it(both: tuple[Store, ResidentStore], word: str) -> None:
    record, resident = both
    everything = Filter(everything=True)
    expected = {hit.chunk.id: hit.score for hit in await record.search_text(word, 700, everything)}
    assert {hit.chunk.id: hit.score for hit in await resident.search_text(word, 700, everything)} == pytest.approx(expected, abs=NEAR)


@few
@given(where=filters, query=st.integers(0, 2**31), words=st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4))
async def test_whatever_is_asked_the_filter_holds_and_nothing_it_admits_is_missing(
    both: tuple[Store, ResidentStore], where: Filter, query: int, words: list[str]
) -> None:
    _, resident = both
    chunks, texts, _ = invented(600, 5)
    admitted = {chunk.id for chunk in chunks if where.admits(chunk)}
    vector = np.random.default_rng(query).standard_normal(WIDTH).astype(np.float32)
    assert {hit.chunk.id for hit in await resident.search_vector(vector, 700, where)} == admitted
    asked = set(counted_words(" ".join(words), "drop"))
    matching = {chunk.id for chunk, text in zip(chunks, texts, strict=True) if asked & set(counted_words(text, "drop"))}
    assert {hit.chunk.id for hit in await resident.search_text(" ".join(words), 700, where)} == admitted & matching
    few_hits = await resident.search_vector(vector, 3, where)
    assert len(few_hits) == min(3, len(admitted))
    assert all(where.admits(hit.chunk) for hit in few_hits)
    for document in {chunk.document_id for chunk in chunks[:5]}:
        assert {chunk.id for chunk in await resident.slice(document, 0, 2**31, where)} == {
            chunk.id for chunk in chunks if chunk.document_id == document and chunk.id in admitted
        }


@pytest.fixture
async def record(tmp_path: Path) -> Store:
    record = make("lancedb", tmp_path / "lancedb")
    await fill(record)
    return record


async def test_it_is_made_once_and_made_anew_when_it_is_missing_damaged_or_of_other_data(record: Store, tmp_path: Path) -> None:
    path = tmp_path / FILE
    await resident_of(record, tmp_path)
    made = path.stat().st_mtime_ns, path.read_bytes()
    await resident_of(record, tmp_path)
    assert path.stat().st_mtime_ns == made[0], "made twice"
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[: len(whole) // 2],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        b"x" + whole[1:],
        whole[:START] + b"\0" + whole[START + 1 :],
    ):
        path.write_bytes(damaged)
        assert map_arrays(path) is None
        found = await (await resident_of(record, tmp_path)).search_vector(VECTORS[3], 5, Filter())
        assert_the_same(found, await record.search_vector(VECTORS[3], 5, Filter()))
        assert path.read_bytes() == whole, "the same rows make the same file"
    await resident_of(record, tmp_path, index="recipe 2")
    assert path.read_bytes() != whole
    path.unlink()
    await resident_of(record, tmp_path)
    assert path.read_bytes() == whole


async def test_every_flipped_byte_is_noticed(record: Store, tmp_path: Path) -> None:
    await resident_of(record, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    chance = random.Random(4)
    for place in [*range(60), *(chance.randrange(len(whole)) for _ in range(100))]:
        (tmp_path / FILE).write_bytes(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
        assert map_arrays(tmp_path / FILE) is None, place


async def test_of_many_that_open_it_at_once_one_makes_it(record: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    assert isinstance(record, StoreOfRecord)
    rows = record.rows

    async def counted():  # type: ignore[no-untyped-def]
        nonlocal read
        read += 1
        async for batch in rows():
            yield batch

    monkeypatch.setattr(record, "rows", counted)  # the real store, counting who reads it
    stores = await asyncio.gather(*(resident_of(record, tmp_path) for _ in range(5)))
    assert read == 1
    hits = [await store.search_vector(VECTORS[3], 5, Filter()) for store in stores]
    assert all(one == hits[0] for one in hits)
    assert sorted(os.listdir(tmp_path)) == ["lancedb", FILE]


async def test_where_the_index_lies_nothing_can_be_written_it_is_made_elsewhere(record: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folders = [tmp_path / "file" / "index", tmp_path / "elsewhere"]
    version = await record.data_version()
    for _ in range(2):
        store = await searchable(record, folders=folders, index="recipe 1", data_version=version, chunks=1)
        assert_the_same(await store.search_vector(VECTORS[3], 5, Filter()), await record.search_vector(VECTORS[3], 5, Filter()))
    assert os.listdir(tmp_path / "elsewhere") == [FILE]
    with pytest.raises(StoreError, match="cannot be written"):
        await searchable(record, folders=folders[:1], index="recipe 1", data_version=version, chunks=1)


async def test_what_a_killed_writer_left_is_swept_up(record: Store, tmp_path: Path) -> None:
    (tmp_path / f".{FILE}.0123456789ab").write_bytes(b"half")
    await resident_of(record, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["lancedb", FILE]


async def test_rows_that_are_not_those_of_the_manifest_are_refused(record: Store, tmp_path: Path) -> None:
    await resident_of(record, tmp_path)
    content = json.loads((tmp_path / FILE).read_bytes()[START + 8 :].split(b'}, "arrays"')[0].removeprefix(b'{"header": ') + b"}")[
        "content"
    ]
    await resident_of(record, tmp_path, content=content)
    with pytest.raises(IntegrityError, match="its rows or vectors are not those that were built"):
        await searchable(record, folders=[tmp_path], index="recipe 1", data_version="1", chunks=1, content="0" * 64)


async def test_columns_that_disagree_on_who_may_read_are_refused(record: Store, tmp_path: Path) -> None:
    table = await record._table()  # type: ignore[attr-defined]
    await table.update({"open": "true"}, where=f"id = '{next(chunk.id for chunk in CHUNKS if chunk.groups)}'")
    with pytest.raises(IntegrityError, match="do not agree on who may read it"):
        await searchable(record, folders=[tmp_path], index="recipe 1", data_version="1", chunks=1)


async def test_a_store_above_its_size_is_searched_itself(tmp_path: Path) -> None:
    record = make("lancedb", tmp_path / "lancedb", ann_above=100)
    await fill(record)
    assert await searchable(record, folders=[tmp_path], index="recipe 1", data_version="1", chunks=len(CHUNKS)) is record
    memory = make("memory", tmp_path / "memory")
    await fill(memory)
    assert await searchable(memory, folders=[tmp_path], index="recipe 1", data_version="1", chunks=1) is memory
    assert not (tmp_path / FILE).exists()


async def test_closed_it_opens_again_and_takes_nothing_new(record: Store, tmp_path: Path) -> None:
    resident = await resident_of(record, tmp_path)
    before = await resident.search_vector(VECTORS[3], 5, Filter())
    resident.close()
    assert await resident.search_vector(VECTORS[3], 5, Filter()) == before
    resident.close()
    (tmp_path / FILE).unlink()
    with pytest.raises(StoreError, match="gone, damaged or of other data"):
        await resident.count()
    with pytest.raises(StoreError, match="takes no further chunks"):
        await resident.add([], [], VECTORS[:0])
    with pytest.raises(StoreError, match="is finished"):
        await resident.finish()


async def test_it_keeps_the_shingles_of_its_chunks(record: Store, tmp_path: Path) -> None:
    resident = await resident_of(record, tmp_path)
    for chunk in [*CHUNKS, replace(CHUNKS[3], text="another text than the index has"), Chunk("unknown", "d", 0, 3, "one two three four")]:
        assert resident.shingles(chunk).tolist() == shingles_of(chunk.text).tolist()


async def test_a_large_index_is_compared_beside_the_event_loop_and_finds_the_same(
    both: tuple[Store, ResidentStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, resident = both
    query = np.random.default_rng(2).standard_normal(WIDTH).astype(np.float32)
    where = Filter("a", frozenset(AWKWARD))
    here = await resident.search_vector(query, 9, where)
    monkeypatch.setattr("serving.pipeline.index.resident.store.AT_ONCE", 10)  # a size, not a part: any index is large then
    assert await resident.search_vector(query, 9, where) == here


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    arrays = {"empty": np.empty(0, np.uint64), "rows": np.arange(7, dtype=np.uint32), "table": np.ones((3, 5), np.float32)[:, ::2]}
    write_arrays(tmp_path / "file", {"a": 1}, arrays)
    read = map_arrays(tmp_path / "file")
    assert read is not None
    assert read.header == {"a": 1}
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)
    with pytest.raises(ValueError, match="read-only"):
        read["rows"][0] = 1
    (tmp_path / "blocked").write_text("in the way")
    with pytest.raises(StoreError, match="could not be written"):
        write_arrays(tmp_path / "blocked" / "file", {}, {})


SEARCH = """
import asyncio, sys
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import open_index_at
from serving.pipeline.settings import PipelineSettings

async def search():
    index = await open_index_at(sys.argv[1], PipelineSettings(_env_file=None))
    await index.probe()
    found = await index.store.search_text("leave", 3, Filter())
    found += await index.store.search_vector(index.embeddings.vectors(["leave"])[0], 3, Filter())
    assert len(found) == 2, found

asyncio.run(search())
heavy = {"lancedb", "pyarrow", "scipy", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.slow
async def test_a_finished_index_is_searched_without_its_database_in_memory(tmp_path: Path) -> None:
    settings = PipelineSettings(home=tmp_path, _env_file=None)
    config = RagConfig().replace({"index.embedder.name": "local:hashing"})
    index = await build_index(Corpus.of("small", [Document("leave", "Everyone has 28 days of leave.")]), config, settings=settings)
    place = index_uri(config, index.manifest.corpus_digest, settings)
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", SEARCH, place], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
