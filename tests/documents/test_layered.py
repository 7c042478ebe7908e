"""Documents that are added to a proven index and removed from it are searched as if they were in one index."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.documents import merging
from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.order import IndexingLimits
from serving.pipeline.errors import ModelError
from serving.pipeline.index.base import Filter, StoredRow
from serving.pipeline.index.build import ensure_index
from serving.pipeline.index.chunk_rows import ChunkRows
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.layered.view import one_view
from serving.pipeline.index.parse import Parser
from serving.pipeline.index.resident.words import counted_words
from serving.pipeline.types import Document
from tests.documents.making import RELEASED, proven_index, put, replica, settings_at, small_config

WORDS = ["leave", "days", "receipts", "badge", "smoke", "kiosk", "payroll", "seven", "Tuesdays", "gate", "lunar", "the", "tax"]
CONFIG = small_config()
EVERYONE = Filter("acme", frozenset({"board", "hr"}))
READERS = [
    Filter(),
    Filter("acme"),
    Filter("acme", frozenset({"hr"})),
    EVERYONE,
    Filter(everything=True),
    Filter(domains=frozenset({"hr"})),
]


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the proven index."""
    home = tmp_path_factory.mktemp("home")
    asyncio.run(proven_index(settings_at(home)))
    return home


@pytest.fixture
async def served(home: Path, tmp_path: Path) -> IndexedDocuments:
    return await replica(settings_at(home, str(tmp_path / "documents")))


async def rows_of(documents: Sequence[Document], served: IndexedDocuments) -> list[StoredRow]:
    rows = ChunkRows(CONFIG.index, served.embeddings)
    return [row async for batch in rows.batches(rows.chunks(documents)) for row in batch]


class NaiveModel:
    """All documents in a dict; every search looks at every row."""

    def __init__(self) -> None:
        self.documents = {document.id: document for document in RELEASED}
        self.mean_length = 0.0

    async def load(self, served: IndexedDocuments) -> None:
        proven = [row async for batch in served.store.proven.rows() for row in batch]
        self.mean_length = float(np.mean([len(list(counted_words(row.text, "drop"))) for row in proven]))
        self.rows = await rows_of(sorted(self.documents.values(), key=lambda one: one.id), served)

    def nearest(self, vector: np.ndarray, k: int, where: Filter) -> list[tuple[str, float]]:
        scored = [(row.chunk.id, float(row.vector @ vector)) for row in self.rows if where.admits(row.chunk)]
        return sorted(scored, key=lambda one: (-round(one[1], 6), one[0]))[:k]

    def best(self, text: str, k: int, where: Filter) -> list[tuple[str, float]]:
        asked = Counter(counted_words(text, "drop"))
        counts = [Counter(counted_words(row.text, "drop")) for row in self.rows]
        having = {word: sum(word in count for count in counts) for word in asked}
        scored = []
        for row, count in zip(self.rows, counts, strict=True):
            penalty = 1.2 * (0.25 + 0.75 * count.total() / self.mean_length)
            score = sum(
                times
                * math.log(1 + (len(counts) - having[word] + 0.5) / (having[word] + 0.5))
                * 2.2
                * count[word]
                / (count[word] + penalty)
                for word, times in asked.items()
                if count[word]
            )
            if score and where.admits(row.chunk):
                scored.append((row.chunk.id, score))
        return sorted(scored, key=lambda one: (-round(one[1], 5), one[0]))[:k]


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
access = st.fixed_dictionaries({
    "tenant": st.sampled_from(["public", "acme", "other"]),
    "groups": st.sampled_from([(), ("hr",), ("board", "hr")]),
    "domain": st.sampled_from(["hr", "finance"]),
})  # fmt: skip
changes = st.one_of(
    st.tuples(st.just("add"), texts, access),
    st.tuples(st.just("replace"), texts, access),
    st.tuples(st.just("supersede"), texts, st.sampled_from([document.id for document in RELEASED])),
    st.tuples(st.just("delete"), st.integers(0, 5), st.none()),
    st.tuples(st.just("remove"), st.sampled_from([document.id for document in RELEASED]), st.none()),
    st.tuples(st.just("index"), st.none(), st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    done=st.lists(changes, min_size=1, max_size=9),
    asked=texts,
    k=st.integers(1, 6),
    limits=st.sampled_from([None, IndexingLimits(small_bytes=30, slice_chunks=1, saved_chunks=1, slices=1)]),
)
async def test_any_additions_and_deletions_are_found_as_a_naive_model_finds_them(
    home: Path, tmp_path_factory: pytest.TempPathFactory, parser: Parser, done: list, asked: str, k: int, limits: IndexingLimits | None
) -> None:
    served = await replica(settings_at(home, str(tmp_path_factory.mktemp("documents"))), limits=limits)
    store, model, added = served.documents, NaiveModel(), []
    for number, (kind, what, more) in enumerate(done):
        if kind in ("add", "replace", "supersede"):
            about = dict(more) if isinstance(more, dict) else {}
            if kind == "replace" and added:
                about |= {"id": added[-1]}
            elif kind == "supersede":
                about = {"id": more}
            else:
                about |= {"id": f"wiki/{number}.md"}
            put(store, "note.md", what, collection="wiki", **about)
            record = store.get(about["id"])
            added = [one for one in added if one != record.id] + [record.id]
            model.documents[record.id] = record.document(what)
        elif kind == "delete" and added:
            gone = added.pop(what % len(added))
            store.delete([gone])
            model.documents.pop(gone)
        elif kind == "remove":
            store.delete([what])
            model.documents.pop(what, None)
            added = [one for one in added if one != what]
        elif kind == "index":
            await served.step(parser)
    await served.catch_up(parser)
    await served.step(parser)  # tidies
    await model.load(served)
    [vector] = [row.vector for row in await rows_of([Document("q", asked)], served)]
    for where in READERS:
        found = await served.store.search_vector(vector, k, where)
        expected = model.nearest(vector, k, where)
        assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=2e-6)
        assert all(where.admits(hit.chunk) for hit in found)
        if len({round(score, 5) for _, score in expected}) == len(expected):
            assert [hit.chunk.id for hit in found] == [name for name, _ in expected]
        by_words = await served.store.search_text(asked, k, where)
        assert [hit.score for hit in by_words] == pytest.approx([score for _, score in model.best(asked, k, where)], abs=2e-5)
    assert await served.store.count() == len(model.rows)
    assert {row.chunk.id async for batch in served.store.rows() for row in batch} == {row.chunk.id for row in model.rows}
    everything = Filter(everything=True)
    for ident in {*model.documents, *(document.id for document in RELEASED)}:
        chunks = await served.store.slice(ident, 0, 99, everything)
        assert [chunk.text for chunk in chunks] == [row.chunk.text for row in model.rows if row.chunk.document_id == ident]
    stored = await served.store.vectors([row.chunk.id for row in model.rows] + [f"{document.id}#0" for document in RELEASED])
    assert set(stored) == {row.chunk.id for row in model.rows}
    held = [one.id for segment in served.additions.segments for one in segment.documents]
    assert sorted(held) == sorted(record.id for record in store.current.live)  # nothing of a deleted document is left


async def test_without_changes_every_call_goes_to_the_proven_store(served: IndexedDocuments) -> None:
    await served.refresh()
    assert served.view.is_plain
    assert await served.store.data_version() == await served.store.proven.data_version()
    vector = np.ones(served.store._dimensions, np.float32)
    assert await served.store.search_vector(vector, 5, EVERYONE) == await served.store.proven.search_vector(vector, 5, EVERYONE)
    assert await served.store.search_text("paid leave", 5, EVERYONE) == await served.store.proven.search_text("paid leave", 5, EVERYONE)


async def test_a_full_rebuild_gives_the_same_cosines_and_the_same_order_of_keywords(
    served: IndexedDocuments, tmp_path: Path, parser
) -> None:
    texts = [" ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 9)) for number in range(1, 12)]
    for number, text in enumerate(texts):
        put(served.documents, "note.md", text, id=f"wiki/{number}.md", collection="wiki", title="Note")
    served.documents.delete(["expenses.md"])
    await served.catch_up(parser)
    documents = [document for document in RELEASED if document.id != "expenses.md"]
    documents += [
        record.document(text)
        for record, text in zip(sorted(served.documents.current.live, key=lambda one: int(one.id[5:-3])), texts, strict=True)
    ]
    whole = await ensure_index(Corpus.of("tiny", documents), CONFIG, settings=settings_at(tmp_path))
    for asked in ["paid leave of directors", "receipts kept seven", "badge gate Tuesdays", "lunar payroll tax"]:
        [row] = await rows_of([Document("q", asked)], served)
        assert await served.store.search_vector(row.vector, 20, EVERYONE) == await whole.store.search_vector(row.vector, 20, EVERYONE)
        layered = [hit.chunk.id for hit in await served.store.search_text(asked, 20, EVERYONE)]
        rebuilt = [hit.chunk.id for hit in await whole.store.search_text(asked, 20, EVERYONE)]
        assert sorted(layered) == sorted(rebuilt)
        assert layered[0] == rebuilt[0]
        places = {name: place for place, name in enumerate(rebuilt)}
        pairs = [(a, b) for place, a in enumerate(layered) for b in layered[place + 1 :]]
        assert sum(places[a] < places[b] for a, b in pairs) >= 0.85 * len(pairs)


async def test_a_query_sees_one_state_from_its_first_search_to_its_last(served: IndexedDocuments, parser: Parser) -> None:
    with one_view():
        assert await served.store.search_text("lunar", 5, Filter()) == []
        put(served.documents, "moon.md", "lunar gate")
        await served.catch_up(parser)
        assert await served.store.search_text("lunar", 5, Filter()) == []
    assert len(await served.store.search_text("lunar", 5, Filter())) == 1


async def test_a_released_document_that_is_removed_is_never_found(served: IndexedDocuments, parser: Parser) -> None:
    served.documents.delete(["leave.md"])
    await served.refresh()
    everything = Filter(everything=True)
    assert "leave.md" not in {hit.chunk.document_id for hit in await served.store.search_text("paid leave", 99, everything)}
    vector = np.ones(served.store._dimensions, np.float32)
    assert "leave.md" not in {hit.chunk.document_id for hit in await served.store.search_vector(vector, 99, everything)}
    assert await served.store.slice("leave.md", 0, 9, everything) == []
    assert (served.view.removed, served.view.added) == (1, 0)


async def test_another_chunk_size_indexes_the_same_documents_anew(home: Path, tmp_path: Path, parser: Parser) -> None:
    place = settings_at(home, str(tmp_path / "documents"))
    first = await replica(place)
    put(first.documents, "moon.md", "\n\n".join(f"Lunar paragraph {number} about the gate and the tax." for number in range(40)))
    await first.catch_up(parser)
    second = await replica(place, small_config(chunker={"name": "recursive", "size": 200, "overlap": 0}))
    assert [record.state for record in second.documents.refresh().records.values()] == ["ready"]
    assert len(second.missing()) == 1
    await second.catch_up(parser)
    assert second.view.added_chunks > first.view.added_chunks
    assert second.documents.current.live[0].chunks == first.view.added_chunks  # of the index that held it first


async def test_files_that_cannot_be_read_fail_with_the_reason_and_keep_nobody_waiting(served: IndexedDocuments, parser: Parser) -> None:
    broken = put(served.documents, "broken.pdf", "no pdf at all")
    empty = put(served.documents, "empty.md", "   \n")
    odd = put(served.documents, "sheet.xlsx", "cells")
    good = put(served.documents, "good.md", "lunar tax")
    done = await served.catch_up(parser)
    parser.close()
    states = {record.id: (record.state, record.reason) for record in served.documents.current.records.values()}
    assert states[good] == ("ready", "")
    assert states[empty] == ("failed", "It has no text.")
    assert states[odd] == ("failed", "no loader for '.xlsx'")
    assert states[broken][0] == "failed"
    assert states[broken][1]
    assert (done.documents, done.failed) == (1, 3)


async def test_many_small_segments_become_few(served: IndexedDocuments, parser: Parser) -> None:
    for number in range(12):
        put(served.documents, f"{number}.md", f"lunar tax {number}")
        await served.step(parser)
    assert len(served.additions.segments) <= 3 * 2
    assert len(await served.store.search_text("lunar", 99, Filter())) == 12
    assert len(list(served.documents.storage.list(f"additions/{served.additions.recipe.index}/segments/"))) == len(
        served.additions.segments
    )


async def test_a_large_segment_is_written_anew_only_now_and_then(home: Path, tmp_path: Path, parser: Parser, monkeypatch) -> None:
    monkeypatch.setattr(merging, "ROWS", 2)
    now = [1000.0]
    place = settings_at(home, str(tmp_path / "documents"))
    served = IndexedDocuments(open_documents(place), CONFIG, await proven_index(place), clock=lambda: now[0])
    ids = [put(served.documents, f"{number}.md", f"lunar tax {number}") for number in range(4)]
    await served.catch_up(parser)
    written = [segment.name for segment in served.additions.segments]
    served.documents.delete(ids[:1])
    await served.step(parser)
    once = [segment.name for segment in served.additions.segments]
    assert once != written
    served.documents.delete(ids[1:2])
    await served.step(parser)
    assert len(await served.store.search_text("lunar", 9, Filter())) == 2  # not found at once, whenever it is written anew
    assert [segment.name for segment in served.additions.segments] == once
    now[0] += 61
    await served.step(parser)
    assert [segment.name for segment in served.additions.segments] != once
    assert sum(len(segment) for segment in served.additions.segments) == 2


class Moody:
    """An embedding model that chokes on one word, and may be out altogether."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self.out = False

    def vectors(self, texts: list[str]):
        if self.out or any("unspeakable" in text for text in texts):
            raise ModelError("the model gave no vector")
        return self._inner.vectors(texts)

    def __getattr__(self, name: str):
        return getattr(self._inner, name)


async def test_a_text_that_the_model_chokes_on_fails_alone_and_an_outage_fails_nothing(home: Path, tmp_path: Path, parser: Parser):
    place = settings_at(home, str(tmp_path / "documents"))
    index = await proven_index(place)
    model = Moody(index.embeddings)
    served = IndexedDocuments(open_documents(place), CONFIG, replace(index, embeddings=model))
    good, bad = put(served.documents, "good.md", "lunar tax"), put(served.documents, "bad.md", "unspeakable tax")
    model.out = True
    with pytest.raises(ModelError):
        await served.step(parser)
    assert len(served.missing()) == 2
    model.out = False
    done = await served.step(parser)
    assert (done.documents, done.failed) == (1, 1)
    assert served.documents.get(good).state == "ready"
    assert served.documents.get(bad).reason == "the model gave no vector"
    assert served.missing() == []
    again = put(served.documents, "bad.md", "unspeakable tax")
    assert served.documents.get(again).state == "waiting"  # adding it again tries again


async def test_a_chunker_that_breaks_at_one_document_keeps_no_other_waiting(served: IndexedDocuments, parser: Parser, monkeypatch):
    chunks = served._rows.chunks

    def breaking(documents):
        if "odd" in documents[0].text:
            raise RecursionError("too deep")
        return chunks(documents)

    monkeypatch.setattr(served._rows, "chunks", breaking)
    odd, good = put(served.documents, "odd.md", "odd"), put(served.documents, "good.md", "lunar")
    await served.step(parser)
    assert served.documents.get(odd).reason == "It could not be cut into chunks: RecursionError: too deep"
    assert served.documents.get(good).state == "ready"
