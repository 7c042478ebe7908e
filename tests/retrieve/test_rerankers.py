import numpy as np
import pytest

from serving.pipeline.errors import ConfigError
from serving.pipeline.models.vector_cache import VectorCache
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.types import Chunk, Hit, Query
from tests.support.langchain_parts import COMPRESSOR
from tests.support.parts import some_parts

QUERY = Query("red apple")
LOCAL = [*(name for name in RERANKERS.names() if name != "bedrock"), COMPRESSOR]  # that one is tried against its own double


def hits(**scores):
    return [Hit(Chunk(name, name, 0, 1, name), score, rank) for rank, (name, score) in enumerate(scores.items(), start=1)]


class Vectors:
    """A store that knows vectors only."""

    def __init__(self, **vectors):
        self._vectors = {name: np.array(vector, np.float32) for name, vector in vectors.items()}

    async def vectors(self, ids):
        return {name: self._vectors[name] for name in ids if name in self._vectors}


class Letters:
    """Token vectors by letter, so that a score can be worked out by hand; counts what it computes."""

    def __init__(self, table):
        self.table, self.asked = table, []

    def token_vectors(self, text):
        self.asked.append(text)
        return np.array([self.table[letter] for letter in text if letter in self.table], np.float32).reshape(-1, 2)


def build(name, store=None, embeddings=None, **params):
    parts = some_parts(store=store or Vectors(), embeddings=embeddings or Letters({}))
    return RERANKERS.build(Spec(name=name, **params), parts=parts)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("k", [0, 1, 2, 9])
async def test_a_reranker_returns_no_more_than_k_of_the_hits_it_was_given_and_in_order_of_score(name, k):
    given = hits(a=0.9, b=0.5, c=0.4)
    best = await build(name, Vectors(a=[1, 0], b=[1, 0.1], c=[0, 1])).rerank(QUERY, given, k)
    assert len(best) == min(k, 3)
    assert {hit.chunk.id for hit in best} <= {hit.chunk.id for hit in given}
    assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)


@pytest.mark.parametrize("name", LOCAL)
async def test_a_reranker_that_is_asked_for_more_puts_the_same_hits_first(name):
    """An evaluation asks for the whole ranking, and must see the hits that are served."""
    given = hits(a=0.9, b=0.5, c=0.4, d=0.1)
    reranker = build(name, Vectors(a=[1, 0], b=[1, 0.1], c=[0, 1], d=[0.5, 1]))
    every = [hit.chunk.id for hit in await reranker.rerank(QUERY, given, 4)]
    for k in (1, 2, 3):
        assert [hit.chunk.id for hit in await reranker.rerank(QUERY, given, k)] == every[:k]


@pytest.mark.parametrize("name", LOCAL)
async def test_no_hits_stay_no_hits(name):
    assert await build(name).rerank(QUERY, [], 5) == []


async def test_none_keeps_the_order():
    given = hits(a=0.9, b=0.5, c=0.4)
    assert await build("none").rerank(QUERY, given, 2) == given[:2]


async def test_mmr_prefers_the_new_to_the_repeated():
    store = Vectors(a=[1, 0], twin=[1, 0], other=[0, 1])
    best = await build("mmr", store, relevance=0.5).rerank(QUERY, hits(a=1.0, twin=0.9, other=0.0), 3)
    # a: .5·1 + .5·1; then other: .5·0 + .5·(1 − 0) against twin: .5·.9 + .5·(1 − 1)
    assert [(hit.chunk.id, pytest.approx(hit.score)) for hit in best] == [("a", 1.0), ("other", 0.5), ("twin", 0.45)]


async def test_mmr_at_full_relevance_keeps_the_order():
    store = Vectors(a=[1, 0], twin=[1, 0], other=[0, 1])
    best = await build("mmr", store, relevance=1.0).rerank(QUERY, hits(a=1.0, twin=0.9, other=0.0), 3)
    assert [hit.chunk.id for hit in best] == ["a", "twin", "other"]


async def test_mmr_does_without_vectors():
    given = hits(a=1.0, b=0.9, c=0.1)
    assert [hit.chunk.id for hit in await build("mmr").rerank(QUERY, given, 2)] == ["a", "b"]
    best = await build("mmr", Vectors(a=[1, 0], b=[1, 0]), relevance=0.5).rerank(QUERY, given, 3)
    assert {hit.chunk.id for hit in best} == {"a", "b", "c"}


LETTERS = {"x": [1.0, 0.0], "y": [0.0, 1.0], "z": [0.6, 0.8]}


async def test_maxsim_is_the_mean_of_each_tokens_best_match():
    given = hits(x=1.0, zz=0.5, xy=0.0)
    best = await build("maxsim", embeddings=Letters(LETTERS), weight=1.0).rerank(Query("xy"), given, 3)
    # against "xy": x → (1 + 0)/2 = .5; zz → (.6 + .8)/2 = .7; xy → 1; brought to 0..1
    assert [(hit.chunk.id, pytest.approx(hit.score, abs=1e-3)) for hit in best] == [("xy", 1.0), ("zz", 0.4), ("x", 0.0)]


async def test_maxsim_weighs_the_searchs_own_score():
    given = hits(x=1.0, zz=0.5, xy=0.0)
    best = await build("maxsim", embeddings=Letters(LETTERS), weight=0.25).rerank(Query("xy"), given, 3)
    assert [(hit.chunk.id, pytest.approx(hit.score, abs=1e-3)) for hit in best] == [("x", 0.75), ("zz", 0.475), ("xy", 0.25)]


@pytest.mark.parametrize("scores", [{"x": 0.9, "zz": 0.9, "xy": 0.9, "xyz": 0.9}, {"x": 0.9, "zz": 0.5, "xy": 0.4, "xyz": 0.3}])
async def test_what_lies_beyond_the_depth_keeps_its_place(scores):
    best = await build("maxsim", embeddings=Letters(LETTERS), depth=2).rerank(Query("y"), hits(**scores), 4)
    assert [hit.chunk.id for hit in best][2:] == ["xy", "xyz"]
    assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)


async def test_maxsim_reads_the_heading_with_the_passage():
    letters = Letters(LETTERS)
    chunk = Chunk("1", "d", 0, 1, "y", title="t", heading="x")
    await build("maxsim", embeddings=letters).rerank(Query("x"), [Hit(chunk, 1.0)], 1)
    assert letters.asked == ["x", "x\ny"]


async def test_token_vectors_are_computed_once_and_forgotten_in_turn(monkeypatch):
    letters = Letters(LETTERS)
    reranker = build("maxsim", embeddings=letters)
    await reranker.rerank(Query("x"), hits(x=1.0, y=0.5), 2)
    await reranker.rerank(Query("x"), hits(x=1.0, y=0.5), 2)
    assert letters.asked == ["x", "x", "y", "x"]
    kept = VectorCache[np.ndarray](8, size=lambda tokens: tokens.nbytes)
    row = np.zeros((1, 2), np.float16)  # four bytes
    for name in ("a", "b"):
        kept.put(name, row)
    assert kept.get("a") is not None
    kept.put("c", row)
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]


async def test_a_question_or_a_passage_without_tokens_is_no_error():
    for text in ("", "  ", "?"):
        best = await build("maxsim", embeddings=Letters(LETTERS)).rerank(Query(text), hits(x=0.9, q=0.5), 2)
        assert [hit.chunk.id for hit in best] == ["x", "q"]


def test_maxsim_names_the_embedders_that_have_token_vectors(embeddings):
    with pytest.raises(ConfigError, match=r"HashingEmbeddings gives .* Set index\.embedder\.name to 'local:minilm', or"):
        build("maxsim", embeddings=embeddings)
