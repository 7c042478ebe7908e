import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS
from serving.pipeline.retrieve.minmax import minmax
from serving.pipeline.types import Chunk, SourceRank
from tests.support.parts import some_parts


def found(**scores: float) -> list[ScoredChunk]:
    return [ScoredChunk(Chunk(name, name, 0, 1, "x"), score) for name, score in scores.items()]


def fuse(name, lists, k=10, **params):
    return FUSIONS.build(Spec(name=name, **params), parts=some_parts()).join(lists, k)


LISTS = {"vector": found(a=0.9, b=0.7, c=0.4), "keyword": found(c=12.0, d=6.0, a=2.0)}


def test_rrf_adds_one_over_sixty_and_the_rank():
    hits = fuse("rrf", LISTS)
    assert [(hit.chunk.id, pytest.approx(hit.score)) for hit in hits] == [
        ("a", 1 / 61 + 1 / 63),  # the same as c's: the id decides
        ("c", 1 / 63 + 1 / 61),
        ("b", 1 / 62),
        ("d", 1 / 62),
    ]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]


def test_rrf_weight_one_is_the_vector_list():
    assert [hit.chunk.id for hit in fuse("rrf", LISTS, weight=1.0)][:3] == ["a", "b", "c"]
    assert [hit.chunk.id for hit in fuse("rrf", LISTS, weight=0.0)][:3] == ["c", "d", "a"]


def test_a_smaller_rrf_constant_lets_first_places_stand_out():
    lists = {"vector": found(a=1.0, b=0.9, c=0.8), "keyword": found(d=3.0, b=2.0, c=1.0)}
    assert fuse("rrf", lists, k=10)[0].chunk.id == "b"
    spec = Spec.model_validate({"name": "rrf", "k": 1})
    lists = {"vector": found(a=1.0, b=0.9, x=0.8, c=0.7), "keyword": found(d=3.0, y=2.5, z=2.4, c=1.0)}
    ranked = FUSIONS.build(spec, parts=some_parts()).join(lists, 10)
    assert ranked[0].chunk.id == "a"  # 1/2 beats 1/5 + 1/5


def test_weighted_adds_scores_on_one_scale():
    hits = {hit.chunk.id: hit.score for hit in fuse("weighted", LISTS, weight=0.6)}
    assert hits == {
        "a": pytest.approx(0.6 * 1.0 + 0.4 * 0.0),
        "b": pytest.approx(0.6 * 0.6),
        "c": pytest.approx(0.6 * 0.0 + 0.4 * 1.0),
        "d": pytest.approx(0.4 * 0.4),  # (6 − 2) / (12 − 2), and nothing from the vector list
    }
    assert [hit.chunk.id for hit in fuse("weighted", LISTS, weight=0.6)] == ["a", "c", "b", "d"]


def test_every_source_is_told_with_its_rank_and_its_own_score():
    [hit] = [hit for hit in fuse("weighted", LISTS) if hit.chunk.id == "c"]
    assert dict(hit.sources) == {"keyword": SourceRank(1, 12.0), "vector": SourceRank(3, 0.4)}


@pytest.mark.parametrize("name", FUSIONS.names())
def test_the_order_of_the_lists_does_not_matter(name):
    assert fuse(name, LISTS) == fuse(name, dict(reversed(LISTS.items())))


@pytest.mark.parametrize("name", FUSIONS.names())
def test_an_empty_list_takes_no_part(name):
    hits = fuse(name, {"vector": [], "keyword": LISTS["keyword"]})
    assert [hit.chunk.id for hit in hits] == ["c", "d", "a"]
    assert fuse(name, {"vector": [], "keyword": []}) == []


@pytest.mark.parametrize("name", FUSIONS.names())
def test_no_more_than_k_are_returned(name):
    assert [hit.chunk.id for hit in fuse(name, LISTS)][:2] == [hit.chunk.id for hit in fuse(name, LISTS, 2)]


def test_equal_scores_and_a_list_of_one_count_in_full():
    assert minmax([3.0]) == [1.0]
    assert minmax([2.0, 2.0]) == [1.0, 1.0]
    assert minmax([]) == []
    hits = fuse("weighted", {"vector": found(b=0.5, a=0.5), "keyword": found(z=7.0)}, weight=0.5)
    assert [(hit.chunk.id, hit.score) for hit in hits] == [("a", 0.5), ("b", 0.5), ("z", 0.5)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_min_max_keeps_the_order_and_stays_between_0_and_1(scores):
    scaled = minmax(scores)
    assert all(0.0 <= value <= 1.0 for value in scaled)
    assert all(x >= y for a, x in zip(scores, scaled, strict=True) for b, y in zip(scores, scaled, strict=True) if a > b)
