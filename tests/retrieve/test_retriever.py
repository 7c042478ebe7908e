import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_handbook import HANDBOOK, chunk_of, cut

from serving.pipeline.config import RetrieveConfig
from serving.pipeline.index import STORES
from serving.pipeline.index.base import Filter
from serving.pipeline.index.shingles import shingles_of
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS, RERANKERS, SEARCHERS
from serving.pipeline.retrieve.duplicates import without_repeats
from serving.pipeline.retrieve.neighbours import add_neighbours
from serving.pipeline.retrieve.retriever import RetrievalResult, Retriever
from serving.pipeline.types import Chunk, Document, Hit, Principal, Query
from tests.support.parts import some_parts


def hits(*texts):
    return [Hit(Chunk(f"c{n}", f"d{n}", 0, len(text), text), 1.0 - n / 10, n + 1) for n, text in enumerate(texts)]


def shingles(chunk):
    return shingles_of(chunk.text)


def kept(similarity, *texts):
    return [hit.chunk.text for hit in without_repeats(hits(*texts), similarity, shingles)]


LEAVE = "Annual leave for every employee is granted each year and must be taken before the end of March"


def test_the_worse_of_two_equal_texts_is_dropped():
    assert [hit.chunk.id for hit in without_repeats(hits("same text here", "other words", "same text here"), 0.95, shingles)] == [
        "c0",
        "c1",
    ]


def test_at_one_only_identical_texts_are_repeats():
    assert kept(1.0, LEAVE, LEAVE + ".", LEAVE) == [LEAVE, LEAVE + "."]
    assert kept(0.95, LEAVE, LEAVE + ".") == [LEAVE]


def test_a_text_wholly_inside_a_better_one_is_a_repeat_but_not_the_other_way_round():
    part = LEAVE[: len(LEAVE) // 2]
    assert kept(0.95, LEAVE, part) == [LEAVE]
    assert kept(0.95, part, LEAVE) == [part, LEAVE]


def test_how_alike_repeats_are_is_a_threshold():
    other = LEAVE.replace("March", "April")  # 15 of 16 runs of three words are the same
    assert kept(0.95, LEAVE, other) == [LEAVE, other]
    assert kept(0.93, LEAVE, other) == [LEAVE]


def test_texts_that_differ_in_a_figure_are_no_repeats():
    old, new = f"{LEAVE}, 25 days. {LEAVE}.", f"{LEAVE}, 30 days. {LEAVE}."
    assert kept(0.5, old, new) == [old, new]


def test_short_texts_and_texts_without_words_are_compared_too():
    assert kept(0.95, "Yes", "yes!", "No", "***", "---", "***") == ["Yes", "No", "***", "---"]


def test_neighbours_that_share_a_part_are_no_repeats():
    chunks = cut(HANDBOOK, 120, 40)
    assert len(without_repeats([Hit(chunk, 1.0) for chunk in chunks], 0.95, shingles)) == len(chunks)


def repeats_by_definition(texts, similarity):
    """Places of the hits to be kept, worked out pair by pair from sets of words."""

    def runs(text):
        words = re.findall(r"\w+", text.casefold())
        width = min(3, len(words))
        return {tuple(words[start : start + width]) for start in range(len(words) - width + 1)} if words else set()

    places = []
    for place, text in enumerate(texts):
        if text in texts[:place]:
            continue
        own, figures = runs(text), set(re.findall(r"\w*\d\w*", text))
        better = [runs(texts[other]) for other in places if figures <= set(re.findall(r"\w*\d\w*", texts[other]))]
        if similarity >= 1 or not any(len(own & one) >= max(similarity * len(own), 1) for one in better):
            places.append(place)
    return places


few_words = st.lists(st.sampled_from(["leave", "is", "paid", "25", "30", "days", "a", "–"]), max_size=9).map(" ".join)


@given(texts=st.lists(few_words, max_size=12), similarity=st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.95, 1.0]))
def test_repeats_are_those_of_the_definition(texts, similarity):
    found = without_repeats(hits(*texts), similarity, shingles)
    assert [hit.chunk.id for hit in found] == [f"c{place}" for place in repeats_by_definition(texts, similarity)]


def touched(chunks, *places):
    return [Hit(chunks[place], 1.0 - number / 10, number + 1) for number, place in enumerate(places)]


@pytest.mark.parametrize("neighbours", [1, 2, 5])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
async def test_a_widened_hit_is_an_exact_slice_of_its_document(handbook_store, neighbours, place):
    chunks = cut(HANDBOOK, 120, 40)
    widened = await add_neighbours(touched(chunks, place), neighbours, handbook_store, Filter())
    [hit] = widened.hits
    first, last = max(place - neighbours, 0), min(place + neighbours, len(chunks) - 1)
    assert (hit.chunk.start, hit.chunk.end) == (chunks[first].start, chunks[last].end)
    assert hit.chunk.text == HANDBOOK.text[hit.chunk.start : hit.chunk.end]
    assert hit.chunk.id == f"handbook#{hit.chunk.start}-{hit.chunk.end}"
    assert widened.added == last - first


async def test_widened_hits_that_overlap_become_one_in_the_better_ones_place(handbook_store):
    chunks = cut(HANDBOOK, 120, 40)
    stranger = Hit(Chunk("z", "elsewhere", 0, 1, "z"), 0.95, 2)
    first, second = touched(chunks, 0, 2)
    widened = await add_neighbours([first, stranger, second], 1, handbook_store, Filter())
    assert [hit.chunk.document_id for hit in widened.hits] == ["handbook", "elsewhere"]
    assert widened.hits[0].chunk.text == HANDBOOK.text[: chunks[3].end]
    assert widened.hits[0].score == first.score
    assert widened.added == 2


async def test_without_neighbours_hits_stay_as_they_are(handbook_store):
    given = touched(cut(HANDBOOK, 120, 40), 0, 1)
    assert (await add_neighbours(given, 0, handbook_store, Filter())).hits == tuple(given)


MEMO = Document("memo", "First part.\n\nSecond part.\n\nThird part.")
PARTS = [chunk_of(MEMO, start, end, ordinal) for ordinal, (start, end) in enumerate([(0, 11), (13, 25), (27, 38)])]


@pytest.fixture(scope="module", params=STORES.names())
def memo_store(request, make_store):
    return make_store(request.param, PARTS)


async def test_a_neighbour_that_does_not_touch_follows_as_a_hit_of_its_own(memo_store):
    found = [Hit(PARTS[1], 0.8, 1), Hit(Chunk("z", "other", 0, 1, "z"), 0.5, 2)]
    widened = await add_neighbours(found, 1, memo_store, Filter())
    assert [hit.chunk.text for hit in widened.hits] == ["Second part.", "First part.", "Third part.", "z"]
    assert [hit.score for hit in widened.hits] == [0.8, 0.8, 0.8, 0.5]


class Scripted:
    """A searcher that found what it is told."""

    def __init__(self, found):
        self.found, self.asked = found, []

    async def search(self, query, k):
        self.asked.append(k)
        return self.found[:k]


def retriever(store, searcher, reranker="none", embeddings=None, **config):
    built = RERANKERS.build(Spec(name=reranker), parts=some_parts(store=store, embeddings=embeddings))
    return Retriever(RetrieveConfig(**config), searcher=searcher, reranker=built, store=store)


async def test_repeats_make_room_for_others_and_all_is_counted(handbook_store):
    found = hits("one text", "one text", "another text", "a third one", "a fourth one")
    retrieved = await retriever(handbook_store, Scripted(found), top_k=3).retrieve(Query("text"))
    assert [(hit.chunk.id, hit.rank) for hit in retrieved.hits] == [("c0", 1), ("c2", 2), ("c3", 3)]
    assert dict(retrieved.detail) == {"candidates": 5, "duplicates": 1, "neighbours": 0}


async def test_at_least_top_k_candidates_are_asked_for(handbook_store):
    for candidates, top_k, expected in ((40, 6, 40), (2, 6, 6)):
        searcher = Scripted([])
        await retriever(handbook_store, searcher, candidates=candidates, top_k=top_k).retrieve(Query("text"))
        assert searcher.asked == [expected]


@pytest.fixture(scope="module", params=STORES.names())
def partly_secret_store(request, make_store):
    return make_store(request.param, [PARTS[0], PARTS[1], replace(PARTS[2], groups=("board",))])


@pytest.mark.parametrize(("groups", "expected"), [((), 2), (("board",), 3)])
async def test_a_neighbour_that_the_asker_may_not_read_is_not_added(partly_secret_store, groups, expected):
    searcher = Scripted([Hit(PARTS[1], 1.0, 1)])
    query = Query("part", Principal("p", groups=frozenset(groups)))
    assert len((await retriever(partly_secret_store, searcher, neighbours=1).retrieve(query)).hits) == expected


@pytest.mark.parametrize("text", ["", "  ", "\n"])
async def test_a_blank_question_retrieves_nothing_and_searches_nothing(handbook_store, text):
    searcher = Scripted(hits("a text"))
    assert await retriever(handbook_store, searcher).retrieve(Query(text)) == RetrievalResult()
    assert searcher.asked == []


async def test_the_same_question_retrieves_the_same(handbook_store, embeddings):
    fusion = FUSIONS.build(Spec(name="weighted"), parts=some_parts())
    searcher = SEARCHERS.build(Spec(name="hybrid"), parts=some_parts(store=handbook_store, embeddings=embeddings, fusion=fusion))
    runs = [await retriever(handbook_store, searcher, "mmr", top_k=3, neighbours=1).retrieve(Query("leave")) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].hits
    assert all(hit.chunk.text == HANDBOOK.text[hit.chunk.start : hit.chunk.end] for hit in runs[0].hits)
