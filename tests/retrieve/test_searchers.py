import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_handbook import HANDBOOK, cut

from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS, SEARCHERS
from serving.pipeline.text.stopwords import without_stop_words
from serving.pipeline.types import Query
from tests.support.langchain_parts import RETRIEVER, passages_of
from tests.support.parts import some_parts
from tests.support.waiting import WITHIN_S

NAMES = [*SEARCHERS.names(), RETRIEVER]
OPERATORS = ['"', "'", "AND", "OR", "NOT", "--", *"()+-*~^:\\/?{}[];%$&|\0"]


def build(name, store, embeddings):
    fusion = FUSIONS.build(Spec(name="rrf"), parts=some_parts())
    params = {"passages": passages_of(cut(HANDBOOK, 120, 40))} if name == RETRIEVER else {}
    return SEARCHERS.build(Spec(name=name, **params), parts=some_parts(store=store, embeddings=embeddings, fusion=fusion))


@pytest.mark.parametrize("name", NAMES)
async def test_the_passage_that_answers_comes_first_with_ranks_from_one(name, handbook_store, embeddings):
    hits = await build(name, handbook_store, embeddings).search(Query("How long is sick leave paid in full?"), 3)
    assert "Sick leave is paid" in hits[0].chunk.text
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(("name", "sources"), [("vector", {"vector"}), ("keyword", {"keyword"}), ("hybrid", {"vector", "keyword"})])
async def test_a_hit_tells_who_found_it(name, sources, handbook_store, embeddings):
    hits = await build(name, handbook_store, embeddings).search(Query("doctor's note"), 3)
    assert set(hits[0].sources) == sources
    assert all(place.rank >= 1 for hit in hits for place in hit.sources.values())


class TwoPrecisions:
    """Embeddings that can be had in int8, where every question means the same."""

    def __init__(self, inner):
        self._inner = inner

    async def aembed_query(self, text):
        return self._inner.embed_query(text)

    def at_precision(self, precision):
        assert precision == "int8"
        return Constant(self._inner)


class Constant:
    def __init__(self, inner):
        self._inner = inner

    async def aembed_query(self, text):
        return self._inner.embed_query("parental leave")


@pytest.mark.parametrize("name", ["vector", "hybrid"])
async def test_a_question_can_be_embedded_in_another_precision_than_passages(name, handbook_store, embeddings):
    def searcher(precision, embeddings):
        parts = some_parts(
            store=handbook_store, embeddings=embeddings, fusion=FUSIONS.build(Spec(name="weighted", weight=1.0), parts=some_parts())
        )
        return SEARCHERS.build(Spec(name=name, precision=precision), parts=parts)

    query = Query("doctor's note")
    plain = await searcher("index", TwoPrecisions(embeddings)).search(query, 3)
    quick = await searcher("int8", TwoPrecisions(embeddings)).search(query, 3)
    assert "doctor" in plain[0].chunk.text
    assert "Parental leave" in quick[0].chunk.text
    with pytest.raises(ConfigError, match="has one precision only"):
        searcher("int8", embeddings)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(), st.lists(st.sampled_from([*OPERATORS, "leave", "é", "休暇"])).map(" ".join)))
@example(text="")
@example(text="  \n\t ")
@example(text='"')
@example(text='"annual leave')
@example(text="\ud800 leave")
@example(text="leave:* AND (")
@example(text="a" * 20_000)
def test_no_text_breaks_a_search(name, handbook_store, embeddings, text):
    hits = asyncio.run(build(name, handbook_store, embeddings).search(Query(text), 3))
    assert len(hits) <= 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "   ", "\n\u2003\0"])
async def test_a_blank_question_finds_nothing(name, text, handbook_store, embeddings):
    assert await build(name, handbook_store, embeddings).search(Query(text), 3) == []


class CountingEmbeddings:
    """Counts what is embedded."""

    def __init__(self, inner):
        self.inner, self.asked = inner, []

    async def aembed_query(self, text):
        self.asked.append(text)
        return self.inner.embed_query(text)


async def test_a_question_is_embedded_once_as_it_was_asked(handbook_store, embeddings):
    counting = CountingEmbeddings(embeddings)
    await build("hybrid", handbook_store, counting).search(Query("  How many days of leave?  "), 3)
    assert counting.asked == ["How many days of leave?"]


class ZeroEmbeddings:
    """Finds no meaning in anything."""

    async def aembed_query(self, text):
        return [0.0] * 64


async def test_a_question_without_a_direction_finds_nothing_by_vector_and_all_by_words(handbook_store):
    assert await build("vector", handbook_store, ZeroEmbeddings()).search(Query("leave"), 3) == []
    assert await build("hybrid", handbook_store, ZeroEmbeddings()).search(Query("leave"), 3)


async def test_both_searches_of_hybrid_run_at_once(embeddings):
    class Meeting:
        """A store whose searches end only when both have begun."""

        def __init__(self):
            self.begun = {"vector": asyncio.Event(), "text": asyncio.Event()}

        async def search_vector(self, vector, k, where):
            self.begun["vector"].set()
            await asyncio.wait_for(self.begun["text"].wait(), WITHIN_S)
            return []

        async def search_text(self, text, k, where):
            self.begun["text"].set()
            await asyncio.wait_for(self.begun["vector"].wait(), WITHIN_S)
            return []

    assert await build("hybrid", Meeting(), embeddings).search(Query("leave"), 3) == []


async def test_parts_without_what_a_searcher_needs_say_what_is_missing(handbook_store, embeddings):
    searcher = SEARCHERS.build(Spec(name="hybrid"), parts=some_parts(store=handbook_store, embeddings=embeddings))
    with pytest.raises(AttributeError, match=r"'join' is asked of the fusion, which these parts lack\. Give it: Parts\(…, fusion=…\)"):
        await searcher.search(Query("leave"), 3)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("What is the notice period for contractors?", "notice period contractors?"),
        ("who may approve IT spending", "approve IT spending"),
        ("WHAT IS IT", "WHAT IS IT"),  # nothing would be left
        ("WHO APPROVES IT SPENDING", "APPROVES SPENDING"),  # all capitals are no names
        ("What's the price of TC-4410-B?", "price TC-4410-B?"),
        ("the how-to of ERR_42 and A-12", "how-to ERR_42 A-12"),
        ("", ""),
        ("?!", "?!"),
    ],
)
def test_words_that_only_ask_are_not_looked_up(asked, left):
    assert without_stop_words(asked) == left


async def test_stop_words_can_be_kept(embeddings):
    class Listening:
        async def search_text(self, text, k, where):
            self.text = text
            return []

    for choice, expected in (("keep", "What is leave?"), ("drop", "leave?")):
        store = Listening()
        searcher = SEARCHERS.build(Spec(name="keyword", stop_words=choice), parts=some_parts(store=store))
        await searcher.search(Query("What is leave?"), 3)
        assert store.text == expected


class BrokenEmbeddings:
    """Gives vectors of no number, as a broken model does."""

    async def aembed_query(self, text):
        return [float("nan")] * 64


async def test_a_broken_embedding_model_is_an_outage_and_not_a_question_that_finds_nothing(handbook_store):
    with pytest.raises(ModelError, match="not finite"):
        await build("vector", handbook_store, BrokenEmbeddings()).search(Query("leave"), 3)
