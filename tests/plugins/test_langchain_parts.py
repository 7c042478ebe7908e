"""LangChain's classes as plug-ins: what each adapter keeps, and what it refuses."""

import asyncio
from importlib.metadata import version as installed
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_text_splitters import TextSplitter

from serving.pipeline.errors import ConfigError, ThrottledError
from serving.pipeline.index import CHUNKERS, STORES
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.index.chunkers.langchain import piece_places
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.connect import connect_chat, connect_embeddings
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS, SEARCHERS
from serving.pipeline.retrieve.neighbours import add_neighbours
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Document, Hit, Principal, Query
from tests.plugins.company import DOCUMENTS, QUESTION, config, pipeline
from tests.support.langchain_parts import COMPRESSOR, RETRIEVER, SPLITTER
from tests.support.parts import some_parts

SETTINGS = PipelineSettings(_env_file=None)
PARTS = "tests.support.langchain_parts"
LEAVE = DOCUMENTS[0]
ANYONE = Query("paid leave")
BOARD = Query("paid leave", Principal("b", groups=frozenset({"board"})))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The company's chunks."""
    made = STORES.build(Spec(name="memory"), uri=str(tmp_path_factory.mktemp("store")), dimensions=16, settings=SETTINGS)
    cut = CHUNKERS.build(Spec(name="sentence", size=60, overlap_sentences=0))
    chunks = [chunk for document in DOCUMENTS for chunk in cut.split(document)]
    asyncio.run(fill(made, chunks))
    return made


async def fill(made: Store, chunks: list[Chunk]) -> None:
    texts = [chunk.text for chunk in chunks]
    await made.add(chunks, texts, HashingEmbeddings(16).vectors(texts))
    await made.finish()


async def found(store: Any, *passages: dict[str, Any], query: Query = ANYONE, **params: Any) -> list[Hit]:
    searcher = SEARCHERS.build(Spec(name=RETRIEVER, passages=list(passages), **params), parts=some_parts(store=store))
    return await searcher.search(query, 10)


def passage(text: str, **metadata: Any) -> dict[str, Any]:
    return {"page_content": text, "metadata": metadata}


# retrievers


async def test_a_text_without_a_name_is_placed_where_it_stands_even_across_chunks(store: Any) -> None:
    start = LEAVE.text.index("paid leave")
    for text in (LEAVE.text[start : start + 19], LEAVE.text[start:], f"  {LEAVE.text[start:]}\n"):
        [hit] = await found(store, passage(text))
        assert (hit.chunk.document_id, hit.chunk.start, hit.chunk.text) == ("leave.md", start, text.strip())
        assert LEAVE.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
        assert (hit.chunk.version, hit.chunk.domain) == ("7", "hr")


async def test_a_text_that_is_a_chunk_of_the_index_is_that_chunk(store: Any) -> None:
    [chunk, *_] = await store.slice("leave.md", 0, 0, Filter())
    [hit] = await found(store, passage(f"{chunk.text}", source="leave.md"), query=Query("Leave"))
    assert hit.chunk == chunk


async def test_a_repeated_text_is_placed_by_its_start(tmp_path: Path) -> None:
    document = Document("twice.md", "Take leave early.\n\nNothing else.\n\nTake leave early.")
    made = STORES.build(Spec(name="memory"), uri=str(tmp_path), dimensions=16, settings=SETTINGS)
    chunks = list(CHUNKERS.build(Spec(name="sentence", size=20, overlap_sentences=0)).split(document))
    await fill(made, chunks)
    later = document.text.rindex("Take")
    told = {"document_id": "twice.md", "start": later, "end": later + 17}
    hits = await found(made, passage("Take leave early."), passage("Take leave early.", **told), query=Query("leave"))
    assert [hit.chunk.start for hit in hits] == [0, later]


@pytest.mark.parametrize("about", [{}, {"document_id": "salaries.md"}, {"source": "salaries.md"}, {"id": "salaries.md"}])
@pytest.mark.parametrize("trusted", [False, True])
async def test_what_the_principal_may_not_read_is_dropped_however_it_is_found(store: Any, about: dict[str, str], trusted: bool) -> None:
    hidden = passage("Paid leave of directors: 40 days a year.", **about)
    assert await found(store, hidden, trusted=trusted) == []
    [hit] = await found(store, hidden, query=BOARD, trusted=trusted)
    assert hit.chunk.document_id == "salaries.md"


async def test_a_hidden_text_under_the_name_of_a_readable_document_is_dropped(store: Any) -> None:
    assert await found(store, passage("Paid leave of directors: 40 days a year.", source="leave.md"), trusted=True) == []


async def test_a_text_that_only_names_a_hidden_document_is_dropped(store: Any) -> None:
    told = passage("Paid leave of directors, in short: 40.", source="salaries.md")
    assert await found(store, told, trusted=True) == []
    [hit] = await found(store, told, query=BOARD)
    assert (hit.chunk.document_id, len(hit.chunk.span)) == ("salaries.md", 0)


async def test_domains_and_metadata_of_a_query_hold(store: Any) -> None:
    known = passage("28 days of paid leave", source="leave.md")
    assert await found(store, known, query=Query("paid leave", domains=("finance",))) == []
    assert await found(store, known, query=Query("paid leave", metadata={"year": "2024"})) == []


async def test_what_is_in_no_document_is_refused_unless_the_retriever_is_trusted(store: Any) -> None:
    foreign = passage("Paid leave elsewhere is 99 days.", source="wiki/leave", title="Wiki")
    with pytest.raises(ConfigError, match=r"belongs to no document of the index .*wiki/leave.* set retrieve\.search\.trusted: true"):
        await found(store, foreign)
    [hit] = await found(store, foreign, trusted=True)
    assert (hit.chunk.text, hit.chunk.title, hit.chunk.source) == ("Paid leave elsewhere is 99 days.", "Wiki", "wiki/leave")
    assert len(hit.chunk.span) == 0


async def test_a_text_that_only_names_a_readable_document_has_no_place_in_it(store: Any) -> None:
    hits = await found(
        store, passage("Paid leave, in short: 28.", source="leave.md"), passage("Paid leave is taken by halves.", source="leave.md")
    )
    assert [(hit.chunk.document_id, len(hit.chunk.span), hit.chunk.text[-3:]) for hit in hits] == [
        ("leave.md", 0, "28."),
        ("leave.md", 0, "es."),
    ]
    widened = await add_neighbours(hits, 1, store, Filter())
    assert [hit.chunk.text for hit in widened.hits] == [hit.chunk.text for hit in hits]


async def test_a_slice_is_widened_by_the_chunks_around_it(store: Any) -> None:
    hits = await found(store, passage("28 days of paid leave", source="leave.md"))
    widened = await add_neighbours(hits, 1, store, Filter())
    assert widened.added == 2
    assert all(LEAVE.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text for hit in widened.hits)


async def test_a_failure_of_the_retriever_is_one_of_our_errors(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(Exception):
        status_code = 429

    def fail(*_: object, **__: object) -> None:
        raise Busy

    monkeypatch.setattr(f"{PARTS}.WordRetriever._get_relevant_documents", fail)
    with pytest.raises(ThrottledError, match=f"{PARTS}:WordRetriever"):
        await found(store)


# compressors


def three_hits() -> list[Hit]:
    return [Hit(Chunk(name, name, 0, len(name), name), score) for name, score in (("ccc", 0.9), ("a", 0.5), ("bb", 0.4))]


async def reranked(name: str, **params: Any) -> list[Hit]:
    return await RERANKERS.build(Spec(name=name, **params), parts=some_parts()).rerank(Query("q"), three_hits(), 9)


async def test_a_compressor_orders_and_its_scores_are_kept_where_it_gives_any() -> None:
    assert [(hit.chunk.id, hit.score) for hit in await reranked(COMPRESSOR)] == [("a", 1.0), ("bb", 0.5), ("ccc", 1 / 3)]
    assert [(hit.chunk.id, hit.score) for hit in await reranked(COMPRESSOR, scored=True)] == [("a", 1.0), ("bb", 0.5), ("ccc", 1 / 3)]


@pytest.mark.parametrize(
    ("name", "words"), [("Extracting", "rewrote the text of 'ccc'"), ("Inventing", "gave a Document that it was not given")]
)
async def test_a_compressor_that_rewrites_or_invents_is_no_reranker(name: str, words: str) -> None:
    kind = Spec(name=f"{PARTS}:{name}")
    given = (
        [Hit(Chunk("long", "d", 0, 12, "a long ccc c"), 1.0), *three_hits()]
        if name == "Inventing"
        else [Hit(Chunk("ccc", "d", 0, 12, "a long ccc c"), 1.0)]
    )
    with pytest.raises(ConfigError, match=words):
        await RERANKERS.build(kind, parts=some_parts()).rerank(Query("q"), given, 3)


def test_a_secret_among_the_parameters_is_refused_however_deep() -> None:
    with pytest.raises(ConfigError, match="'api_key' looks like a secret") as caught:
        RERANKERS.params(Spec(name=COMPRESSOR, api_key="hush-123"))
    with pytest.raises(ConfigError, match="looks like a secret"):
        RERANKERS.params(Spec(name=COMPRESSOR, options={"clients": [{"openai_api_key": "hush-123"}]}))
    assert "hush-123" not in str(caught.value)
    for options in ({"azure_ad_token": "hush-123"}, {"headers": {"Authorization": "Bearer hush-123", "X-Api-Key": "hush-123"}}):
        with pytest.raises(ConfigError, match="looks like a secret"):
            RERANKERS.params(Spec(name=COMPRESSOR, options=options))
    with pytest.raises(ConfigError, match="'url' holds an address with a password") as caught:
        RERANKERS.params(Spec(name=COMPRESSOR, url="postgresql://me:hush-123@host/x"))
    assert "hush-123" not in str(caught.value)


def test_a_parameter_that_the_class_does_not_take_is_told_in_its_own_words() -> None:
    with pytest.raises(ConfigError, match=r"searcher 'tests\.support\.langchain_parts:WordRetriever' cannot be used: .*passages"):
        SEARCHERS.build(Spec(name=RETRIEVER), parts=some_parts())


# splitters


class Shouting(TextSplitter):
    """Cuts nothing and rewrites all."""

    def split_text(self, text: str) -> list[str]:
        return [text.upper()]


def split(text: str, name: str = SPLITTER, **params: Any) -> list[Chunk]:
    return list(CHUNKERS.build(Spec(name=name, **params)).split(Document("d.md", text)))


def test_pieces_are_found_again_with_their_overlap() -> None:
    text = "One is first here. Two is second here. Three is third here. Four is fourth."
    chunks = split(text, chunk_size=42, chunk_overlap=20, separators=[". ", " "])
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert any(after.start < before.end for before, after in pairwise(chunks))


def test_a_splitter_that_leaves_text_out_is_refused_with_the_mend() -> None:
    with pytest.raises(ConfigError, match=r"leaves out text of 'd\.md' that is not white space\. .*keep_separator: true"):
        split("One*Two*Three", "langchain_text_splitters:CharacterTextSplitter", separator="*", chunk_size=4, chunk_overlap=0)


def test_a_splitter_that_rewrites_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rewrites text: 'ONE TWO' is not in 'd\.md'"):
        split("one two", "tests.plugins.test_langchain_parts:Shouting")


PIECES = st.lists(st.sampled_from(["a", "b", "a ", " ", "\n", "ab"]), max_size=14).map("".join)


@given(text=PIECES, cuts=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=12))
def test_places_are_found_for_pieces_of_any_text_that_overlap_or_follow(text: str, cuts: list[tuple[int, int]]) -> None:
    pieces, position, begin = [], 0, -1
    for length, back in cuts:  # windows that follow one another, each reaching back a little
        begin = max(position - back, begin + 1)
        pieces.append(text[begin : position + length].strip())
        position = min(position + length, len(text))
    pieces = [piece for piece in [*pieces, text[position:].strip()] if piece]
    found = piece_places(text, pieces)
    assert found is not None
    assert all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(found))
    covered = {place for start, end in found for place in range(start, end)}
    assert all(place in covered or text[place].isspace() for place in range(len(text)))


def test_pieces_that_leave_something_out_have_no_places() -> None:
    assert piece_places("a b c", ["a", "c"]) is None
    assert piece_places("a b", ["a"]) is None
    assert piece_places("a b", ["b", "a"]) is None
    assert piece_places("", []) == []


# models, and all of it at once


async def test_an_embedding_class_is_the_index_own_model(tmp_path: Path) -> None:
    spec = Spec(name="langchain_core.embeddings:DeterministicFakeEmbedding", size=24)
    vector = connect_embeddings(spec, SETTINGS).embed_query("leave")
    assert len(vector) == 24
    assert EMBEDDINGS.version(spec) == f"1 langchain-core {installed('langchain-core')}"


async def test_a_chat_class_answers() -> None:
    chat = connect_chat(Spec(name="langchain_core.language_models:FakeListChatModel", responses=["Twenty-eight."]), SETTINGS)
    assert (await chat.model.ainvoke("?")).text == "Twenty-eight."


async def test_a_pipeline_of_nothing_but_langchains_parts_answers(tmp_path: Path) -> None:
    chunk = DOCUMENTS[0].text[9:]
    chat = {"name": "langchain_core.language_models:FakeListChatModel", "responses": ["It is 28 days [1]."]}
    chosen = config(
        **{
            "index.chunker": {"name": SPLITTER, "chunk_size": 60, "chunk_overlap": 0},
            "index.embedder": {"name": "langchain_core.embeddings:DeterministicFakeEmbedding", "size": 24},
            "retrieve.search": {"name": RETRIEVER, "passages": [passage(chunk, source="leave.md"), passage("Receipts above 25 euro")]},
            "retrieve.reranker": {"name": COMPRESSOR},
            "answer.models.lite": chat,
        }
    )
    trace = await (await pipeline(tmp_path, chosen)).answer(Query(QUESTION))
    assert trace.answer.text == "It is 28 days [1]."
    assert [hit.chunk.document_id for hit in trace.hits] == ["leave.md"]
    [citation] = trace.answer.citations
    assert DOCUMENTS[0].text[citation.span.start : citation.span.end] == chunk
