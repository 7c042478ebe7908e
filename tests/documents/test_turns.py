"""A small document waits for no large one, and a large one is neither passed over for ever nor begun anew."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving.documents import merging
from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.order import IndexingLimits, IndexingOrder
from serving.documents.record import DocumentRecord
from serving.pipeline.errors import ModelError
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import OpenIndex, ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.parse import Parser
from tests.documents.making import RELEASED, proven_index, put, replica, settings_at, small_config
from tests.support.killing import killing
from tests.support.waiting import WITHIN_S, eventually

CONFIG = small_config(chunker={"name": "recursive", "size": 100, "overlap": 0})
LIMITS = IndexingLimits(small_bytes=400, small_chunks=4, turn_chunks=8, slice_chunks=4, saved_chunks=4, slices=1)
EVERYONE = Filter(everything=True)


class Counting:
    """An embedding model that counts what it is asked, and may choke on a word."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self.asked: list[str] = []

    def vectors(self, texts: list[str]):
        if any("unspeakable" in text for text in texts):
            raise ModelError("the model gave no vector")
        self.asked += texts
        return self._inner.vectors(texts)

    def __getattr__(self, name: str):
        return getattr(self._inner, name)


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    asyncio.run(proven_index(settings_at(home), CONFIG))
    return home


async def opened(home: Path, documents: Path | str, limits: IndexingLimits | None = LIMITS) -> IndexedDocuments:
    """A process of its own, as far as it goes, with a model that counts."""
    place = settings_at(home, str(documents))
    index: OpenIndex = await proven_index(place, CONFIG)
    return IndexedDocuments(open_documents(place), CONFIG, replace(index, embeddings=Counting(index.embeddings)), limits=limits)


@pytest.fixture
async def served(home: Path, tmp_path: Path) -> IndexedDocuments:
    return await opened(home, tmp_path / "documents")


def paragraph(number: int) -> str:
    return f"Paragraph {number} says that lunar desk {number} opens at the gate number {number} in the morning of day {number}."


def text_of(count: int, first: int = 0) -> str:
    return "\n\n".join(paragraph(number) for number in range(first, first + count))


def large(served: IndexedDocuments, count: int = 24, name: str = "large.md", first: int = 0) -> str:
    return put(served.documents, name, text_of(count, first), id=f"wiki/{name}", collection="wiki")


def asked(served: IndexedDocuments) -> list[str]:
    return served.embeddings.asked


def found(served: IndexedDocuments, ident: str) -> bool:
    return served.holds(served.documents.get(ident))


def begun(served: IndexedDocuments) -> list[str]:
    return [entry.key for entry in served.documents.storage.list("additions/") if "/begun/" in entry.key]


async def test_small_documents_that_come_after_a_large_one_are_found_before_it(served: IndexedDocuments, parser: Parser):
    first = large(served)
    await served.step(parser)
    after = [put(served.documents, f"{number}.md", f"solar tax {number}") for number in range(3)]
    await served.step(parser)
    assert [found(served, ident) for ident in after] == [True] * 3
    assert not found(served, first)
    assert served.documents.get(first).state == "indexing"
    await served.catch_up(parser)
    assert found(served, first)
    assert begun(served) == []


class Arriving(Counting):
    """Has something happen when it is asked for the vectors of a text."""

    def __init__(self, inner, word: str, happen: Callable[[], object]) -> None:
        super().__init__(inner)
        self._word, self._happen = word, happen

    def vectors(self, texts: list[str]):
        if any(self._word in text for text in texts):
            self._happen()
        return super().vectors(texts)


async def test_a_small_document_that_comes_between_two_slices_ends_the_turn(served: IndexedDocuments, parser: Parser):
    index = await index_of(served)
    small: list[str] = []
    model = Arriving(index.embeddings, "lunar desk 5 ", lambda: small.append(put(served.documents, "small.md", "solar tax")))
    served = IndexedDocuments(served.documents, CONFIG, replace(index, embeddings=model), limits=replace(LIMITS, slices=100))
    first = large(served)
    await served.step(parser)
    assert len(asked(served)) == 8
    await served.step(parser)
    assert found(served, small[0])
    assert found(served, first)


async def test_a_large_document_that_is_deleted_between_two_slices_ends_the_turn(served: IndexedDocuments, parser: Parser):
    index = await index_of(served)
    model = Arriving(index.embeddings, "lunar desk 5 ", lambda: served.documents.delete(["wiki/large.md"]))
    served = IndexedDocuments(served.documents, CONFIG, replace(index, embeddings=model), limits=replace(LIMITS, slices=100))
    large(served)
    await served.step(parser)
    assert len(asked(served)) == 8
    assert begun(served) == []
    assert not (await served.step(parser)).anything


async def test_a_large_document_says_how_far_it_is(served: IndexedDocuments, parser: Parser):
    first = large(served, 20)
    said = []
    while not found(served, first):
        await served.step(parser)
        said.append((served.documents.get(first).state, served.documents.get(first).progress))
    assert said == [*(("indexing", share) for share in (0.2, 0.4, 0.6, 0.8)), ("ready", 0.0)]


async def test_a_large_document_is_found_though_small_ones_never_end(served: IndexedDocuments, parser: Parser):
    first = large(served)
    for number in range(12):
        for each in range(20):
            put(served.documents, f"{number}-{each}.md", f"solar tax {number} {each}")
        await served.step(parser)
        if found(served, first):
            break
    assert found(served, first)
    assert len(served.missing()) > 20  # the small ones were never done


async def test_a_large_document_is_found_though_smaller_large_ones_never_end(served: IndexedDocuments, parser: Parser):
    first = large(served)
    for number in range(40):
        for each in range(2):
            large(served, 6, f"{number}-{each}.md", first=1000 * number + 10 * each)
        await served.step(parser)
        if found(served, first):
            break
    assert found(served, first)
    assert served.missing()


async def test_of_two_large_documents_the_smaller_is_found_first(served: IndexedDocuments, parser: Parser):
    first, second = large(served, 40), large(served, 12, "other.md", first=100)
    await served.step(parser)
    while not (found(served, first) or found(served, second)):
        await served.step(parser)
    assert found(served, second)
    assert not found(served, first)


async def test_a_small_file_with_many_chunks_is_a_large_document(served: IndexedDocuments, parser: Parser):
    limits = replace(LIMITS, small_bytes=1_000_000)
    served = IndexedDocuments(served.documents, CONFIG, await index_of(served), limits=limits)
    first = large(served)
    await served.step(parser)
    assert len(asked(served)) == 4
    await served.catch_up(parser)
    assert found(served, first)


async def index_of(served: IndexedDocuments) -> OpenIndex:
    index = await proven_index(settings_at(Path(served.documents.place).parent), CONFIG)
    return replace(index, embeddings=served.embeddings)


async def test_slices_give_the_rows_that_a_full_index_has(served: IndexedDocuments, parser: Parser, tmp_path: Path):
    first = large(served)
    await served.catch_up(parser)
    record = served.documents.get(first)
    whole = await ensure_index(
        Corpus.of("tiny", [*RELEASED, record.document(text_of(24))]), CONFIG, settings=settings_at(tmp_path / "whole")
    )
    expected = {row.chunk.id: row async for batch in whole.store.rows() for row in batch if row.chunk.document_id == first}
    rows = {row.chunk.id: row async for batch in served.store.rows() for row in batch if row.chunk.document_id == first}
    assert len(rows) == record.chunks == 24
    assert {key: (row.chunk, row.text, row.vector.tolist()) for key, row in rows.items()} == {
        key: (row.chunk, row.text, row.vector.tolist()) for key, row in expected.items()
    }


async def test_another_process_goes_on_where_one_was_stopped(served: IndexedDocuments, home: Path, tmp_path: Path, parser: Parser):
    first = large(served)
    for _ in range(3):
        await served.step(parser)
    assert len(asked(served)) == 12
    other = await opened(home, tmp_path / "documents")
    await other.catch_up(parser)
    assert len(asked(other)) == 24 - 12
    assert found(other, first)
    assert await served.refresh()
    assert found(served, first)


async def test_what_a_turn_computed_is_kept_at_its_end_however_little(home: Path, tmp_path: Path, parser: Parser):
    one, other = [await opened(home, tmp_path / "documents", replace(LIMITS, saved_chunks=100)) for _ in range(2)]
    large(one)
    await one.step(parser)
    await other.catch_up(parser)
    assert (len(asked(one)), len(asked(other))) == (4, 20)


async def test_processes_that_take_turns_do_no_slice_twice(storage_uri: str, home: Path, parser: Parser):
    one, other = await opened(home, storage_uri), await opened(home, storage_uri)
    first = large(one)
    while not found(one, first):
        await one.step(parser)
        await other.step(parser)
    assert sorted(asked(one) + asked(other)) == sorted(set(asked(one) + asked(other)))
    assert len(asked(other)) > 4
    await other.step(parser)
    assert begun(one) == []


async def test_a_slice_that_was_damaged_is_done_again(served: IndexedDocuments, home: Path, tmp_path: Path, parser: Parser):
    first = large(served)
    await served.step(parser)
    [key] = begun(served)
    served.documents.storage.put(key, b"no arrays at all")
    other = await opened(home, tmp_path / "documents")
    await other.catch_up(parser)
    assert len(asked(other)) == 24
    assert found(other, first)


async def test_a_large_document_that_is_deleted_is_worked_at_no_more_and_leaves_nothing(served: IndexedDocuments, parser: Parser):
    first = large(served)
    await served.step(parser)
    assert begun(served)
    served.documents.delete([first])
    before = len(asked(served))
    await served.step(parser)
    assert len(asked(served)) == before
    assert begun(served) == []
    assert not (await served.step(parser)).anything


async def test_what_a_killed_process_kept_of_a_deleted_document_is_swept(
    served: IndexedDocuments, home: Path, tmp_path: Path, parser: Parser
):
    other = await opened(home, tmp_path / "documents")
    await other.step(parser)
    first, second = large(served, 30), large(served, 24, "other.md", first=100)
    for _ in range(4):
        await served.step(parser)
    kept = begun(served)
    other.documents.delete([first])
    other.remove_orphans()
    left = begun(other)
    assert 0 < len(left) < len(kept)
    await other.catch_up(parser)
    assert found(other, second)
    assert begun(other) == []


async def test_a_large_document_that_is_deleted_while_the_model_is_out_stays_in_no_memory(served: IndexedDocuments, parser: Parser):
    def fail() -> None:
        raise ModelError("the model is out")

    index = await index_of(served)
    model = Arriving(index.embeddings, " ", fail)
    served = IndexedDocuments(served.documents, CONFIG, replace(index, embeddings=model), limits=LIMITS)
    first = large(served)
    with pytest.raises(ModelError, match="is out"):
        await served.step(parser)
    assert served.documents.get(first).state == "indexing"
    assert served._open_documents
    served.documents.delete([first])
    await served.step(parser)
    assert not served._open_documents


async def test_a_large_document_that_the_model_chokes_on_fails_alone(served: IndexedDocuments, parser: Parser):
    bad = put(served.documents, "bad.md", text_of(10) + "\n\nAn unspeakable paragraph.", id="wiki/bad.md", collection="wiki")
    good = large(served, 12, first=100)
    await served.catch_up(parser)
    assert (served.documents.get(bad).state, served.documents.get(bad).reason) == ("failed", "the model gave no vector")
    assert found(served, good)
    await served.step(parser)
    assert begun(served) == []


@pytest.mark.parametrize("count", [3, 24], ids=["small", "large"])
async def test_a_new_version_uses_the_vectors_of_the_chunks_it_shares_with_the_last_one(
    served: IndexedDocuments, parser: Parser, count: int
):
    ident = large(served, count)
    await served.catch_up(parser)
    first = len(asked(served))
    changed = text_of(count).replace(
        paragraph(1), "A paragraph that is new: the lunar desk is closed on all days of this whole long year now."
    )
    put(served.documents, "large.md", changed, id=ident, collection="wiki", groups=("hr",))
    await served.step(parser)
    assert not await served.store.slice(ident, 0, 99, Filter())  # its readers are those of the new version at once
    await served.catch_up(parser)
    assert len(asked(served)) == first + 1
    chunks = await served.store.slice(ident, 0, 99, EVERYONE)
    assert [chunk.text for chunk in chunks] == changed.split("\n\n")
    assert {chunk.groups for chunk in chunks} == {("hr",)}
    await served.step(parser)
    assert sum(len(segment) for segment in served.additions.segments) == count  # nothing of the last version is left


async def test_of_several_last_versions_one_is_kept_until_the_next_is_indexed(
    served: IndexedDocuments, parser: Parser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(merging, "ROWS", 1)
    index = await index_of(served)
    served = IndexedDocuments(
        served.documents, CONFIG, index, limits=LIMITS, clock=lambda: 0.5 - merging.REWRITE_S
    )  # too early to write anew
    about = {"id": "wiki/large.md", "collection": "wiki"}
    for words in ("lunar tax", "lunar payroll"):
        put(served.documents, "large.md", words, **about)
        await served.step(parser)
    for number in range(2):
        put(served.documents, f"{number}.md", f"solar tax {number}")
        if number:
            put(served.documents, "large.md", text_of(24) + "\n\nlunar payroll", **about)
        await served.step(parser)
    [segment] = served.additions.segments
    assert sorted(len(one.id.split("/")) for one in segment.documents) == [2, 3, 3]  # of the wiki one, and both notes
    await served.catch_up(parser)
    assert [chunk.ordinal for chunk in await served.store.slice("wiki/large.md", 0, 99, EVERYONE)] == list(range(25))


async def test_the_next_version_of_a_document_that_is_being_indexed_uses_what_was_done(served: IndexedDocuments, parser: Parser):
    ident = large(served)
    for _ in range(3):
        await served.step(parser)
    put(served.documents, "large.md", text_of(25), id=ident, collection="wiki")
    await served.catch_up(parser)
    assert len(asked(served)) == 25
    assert len(await served.store.slice(ident, 0, 99, EVERYONE)) == 25


class Slow(Parser):
    """Reads a large file when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def parse(self, data: bytes, name: str, kind: str):
        if name == "large.md":
            self._loop.call_soon_threadsafe(self.begun.set)
            asyncio.run_coroutine_threadsafe(self.go.wait(), self._loop).result(2 * WITHIN_S)
        return super().parse(data, name, kind)


async def test_small_documents_do_not_wait_for_the_reading_of_a_large_one(served: IndexedDocuments):
    parser = Slow()
    first = large(served)
    async with asyncio.timeout(WITHIN_S):
        stepping = asyncio.create_task(served.step(parser))
        await parser.begun.wait()
        small = put(served.documents, "small.md", "solar tax")
        await eventually(lambda: found(served, small))
        assert not stepping.done()
        parser.go.set()
        await stepping
        await served.catch_up(parser)
    assert found(served, first)


@pytest.mark.slow
async def test_killed_in_the_middle_of_a_large_document_it_loses_at_most_a_slice(tmp_path: Path):
    place = tmp_path / "place"
    await replica(settings_at(place), CONFIG)  # builds the index
    with killing("tests.documents.work:index_large", str(place)) as killed:
        for slices in (1, 3, 2):
            assert killed(slices) == -signal.SIGKILL
    served = await opened(place, place / "home" / "documents")
    await served.catch_up(Parser())
    assert len(asked(served)) == 40 - (1 + 3 + 2) * 4
    assert len(await served.store.slice("wiki/large.md", 0, 99, EVERYONE)) == 40


def record(name: str, size: int) -> DocumentRecord:
    return DocumentRecord(id=name, content=name, bytes=size, created_at="", updated_at="")


def test_every_fourth_turn_is_of_the_document_that_waited_longest():
    order = IndexingOrder()
    old, young, small = record("old", 900_000), record("young", 100_000), record("small", 10)
    assert order.large([old]).id == "old"
    assert [order.large([small, young, old]).id for _ in range(7)] == ["young", "young", "old", "young", "young", "young", "old"]
    assert order.large([small]) is None


def test_a_turn_takes_small_documents_in_their_order_up_to_so_many_bytes():
    order = IndexingOrder(IndexingLimits(small_bytes=1000, turn_chunks=2, batch_chunks=3))
    missing = [record("a", 900), record("large", 1100), record("b", 900), record("c", 900), record("d", 100)]
    assert [one.id for one in order.small(missing, 64)] == ["a", "b", "c"]
    assert [one.id for one in order.small(missing, 2)] == ["a", "b"]
    assert [one.id for one in order.small(missing[2:] + missing[:1], 64)] == ["b", "c", "d", "a"]  # no large one waits
    order.found_large(missing[0])
    assert [one.id for one in order.small(missing, 64)] == ["b", "c", "d"]
    assert [one.id for one in order.small(missing[::-1], 64)] == ["d", "c", "b"]
