import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.answer.family import domain_of
from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.base import Filter
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import NARROWINGS
from serving.pipeline.route import DOMAINS
from serving.pipeline.text.stems import stem
from serving.pipeline.types import Chunk, Hit, Principal, Query
from tests.support.parts import some_parts
from tests.support.pipelines import small_index, small_pipeline
from tests.support.routing import calibrated, domain_model, fitted_gain, kept

LEAVE, LAPTOP, NOTHING = "How is annual leave approved?", "Which laptop is in use?", "Where do we eat?"
ARTEFACTS, [DIGEST] = kept(calibrated("domains", domain_model(8), 0.8))


def built(table, name, artefacts: BundledArtefacts = ARTEFACTS, **params):
    parts = some_parts(artefacts=artefacts, embeddings=HashingEmbeddings(8), embedder="local:hashing")
    return table.build(Spec(name=name, **params), parts=parts)


def narrowed(query, **params):
    return asyncio.run(built(NARROWINGS, "domain", classifier=DIGEST, **params).narrow(query))


ALL, READABLE = ["hr", "it", "legal", "sales"], ["hr", "it"]
stem("leave")  # the first word loads the stemmer


@pytest.mark.parametrize("name", NARROWINGS.names())
@given(text=st.text(), domains=st.sets(st.sampled_from(ALL)), allowed=st.none() | st.sets(st.sampled_from(READABLE)))
def test_no_narrowing_opens_what_was_closed(name, text, domains, allowed):
    query = Query(text, Principal(domains=None if allowed is None else frozenset(allowed)), domains=tuple(sorted(domains)))
    needed = {} if name == "none" else {"classifier": DIGEST, "confidence": 0.0}
    after = asyncio.run(built(NARROWINGS, name, **needed).narrow(query))
    before, now = Filter.of(query), Filter.of(after)
    assert now.tenant == before.tenant
    assert now.groups == before.groups
    assert before.domains is None or (now.domains is not None and now.domains <= before.domains)


@pytest.mark.parametrize("name", DOMAINS.names())
@given(text=st.text())
def test_any_question_has_a_domain_or_none(name, text):
    choice = built(DOMAINS, name, **({} if name == "hits" else {"classifier": DIGEST}))
    found = asyncio.run(choice.domain(Query(text), []))
    assert found in ("", "hr", "it", "legal")
    assert asyncio.run(choice.domain(Query(text), [])) == found


def test_a_sure_domain_is_looked_in_alone_and_an_unsure_one_everywhere():
    assert narrowed(Query(LEAVE)).domains == ("hr",)
    assert narrowed(Query(LAPTOP)).domains == ("it",)
    assert narrowed(Query(NOTHING)).domains == ()
    assert narrowed(Query(""), confidence=0.9).domains == ()


def test_the_confidence_is_the_calibrated_one_or_the_one_that_is_set():
    both = Query("May a laptop be used on leave?")  # each is as likely: .5
    assert narrowed(both).domains == ()
    assert narrowed(both, confidence=0.4).domains == ("hr",)


@pytest.mark.parametrize(
    ("query", "domains"),
    [
        (Query(LEAVE, Principal(domains=frozenset({"it"}))), ()),
        (Query(LEAVE, Principal(domains=frozenset())), ()),
        (Query(LEAVE, Principal(domains=frozenset({"hr", "it"}))), ("hr",)),
        (Query(LEAVE, domains=("it",)), ("it",)),
        (Query(LEAVE, domains=("it", "legal")), ("it", "legal")),
        (Query(LEAVE, domains=("it", "hr")), ("hr",)),
    ],
)
def test_narrowing_never_goes_beyond_what_the_query_and_its_principal_allow(query, domains):
    after = narrowed(query)
    assert after.domains == domains
    assert after.principal == query.principal


def test_the_search_itself_is_narrowed_before_anything_is_ranked(tmp_path: Path):
    index = small_index(tmp_path)
    changes = {"retrieve.narrow.name": "domain", "retrieve.narrow.classifier": DIGEST, "retrieve.top_k": 10}
    pipeline = small_pipeline(index, changes, artefacts=ARTEFACTS)
    query = Query(LEAVE, Principal(groups=frozenset({"board"})))
    trace = asyncio.run(pipeline.answer(query))
    everywhere = asyncio.run(small_pipeline(index, {"retrieve.top_k": 10}).answer(query))
    assert {hit.chunk.domain for hit in trace.hits} == {"hr"}
    assert {hit.chunk.domain for hit in everywhere.hits} > {"hr"}
    assert [stage.detail["narrowed"] for stage in trace.stages if stage.stage == "retrieve"] == [1]
    assert trace.query.domains == ()  # what was asked stays as it was


def test_the_classifier_chooses_the_prompt_family_and_says_so(tmp_path: Path):
    changes = {"route.domain.name": "classifier", "route.domain.classifier": DIGEST}
    pipeline = small_pipeline(small_index(tmp_path), changes, artefacts=ARTEFACTS)
    trace = asyncio.run(pipeline.answer(Query("Does my contract end?")))
    assert trace.route.domain == "legal"
    assert trace.route.reason.endswith("; asked of legal")
    assert trace.prompt_id.startswith("answer/legal/")


def test_the_domain_asked_for_comes_first_then_the_route_then_the_passages():
    found = [Hit(Chunk("c", "d", 0, 1, "x", domain="it"), 1.0, 1)]
    assert domain_of(Query("q", domains=("hr",)), found, "legal") == "hr"
    assert domain_of(Query("q"), found, "legal") == "legal"
    assert domain_of(Query("q"), found) == "it"


def test_words_and_meaning_add_up():
    model = domain_model(8, "local:hashing")
    vector = np.zeros(8, dtype=np.float32)
    vector[1] = 1.0
    scores = np.array([6.0, 1.0, 0.0])
    expected = np.exp(scores) / np.exp(scores).sum()
    assert model.chances("annual leave", vector) == pytest.approx(expected, abs=1e-6)
    assert model.guess("annual leave", vector).domain == "hr"
    assert model.chances("annual leave", None)[1] == pytest.approx(1 / (np.exp(6) + 2), abs=1e-6)


def test_vectors_of_another_length_are_refused_in_words():
    artefacts, [digest] = kept(calibrated("domains", domain_model(4, "local:hashing"), 0.8))
    with pytest.raises(ConfigError, match="fitted to vectors of 4 numbers, and index.embedder gives 8"):
        asyncio.run(built(NARROWINGS, "domain", artefacts, classifier=digest).narrow(Query(LEAVE)))


def test_a_classifier_that_is_missing_or_of_something_else_is_refused_in_words():
    for table, name, where in ((NARROWINGS, "domain", "retrieve.narrow"), (DOMAINS, "classifier", "route.domain")):
        with pytest.raises(ConfigError, match=rf"{where}\.classifier: no artefact is named\. .*touchstone calibrate domains"):
            built(table, name)
        other, [digest] = kept(calibrated("router", fitted_gain("tfidf", 8), 0.0))
        with pytest.raises(DataError, match="was calibrated for the router, not for the domains"):
            built(table, name, other, classifier=digest)
        minilm, [digest] = kept(calibrated("domains", domain_model(8, "local:minilm"), 0.8))
        with pytest.raises(ConfigError, match=rf"{where}\.classifier: fitted to vectors of 'local:minilm'"):
            built(table, name, minilm, classifier=digest)
        gain, [digest] = kept(calibrated("domains", fitted_gain("tfidf", 8), 0.8))
        with pytest.raises(DataError, match="touchstone calibrate domains"):
            built(table, name, gain, classifier=digest)
        bare, [digest] = kept(domain_model(8).model_dump(mode="json"))
        assert built(table, name, bare, classifier=digest, confidence=0.9)
        with pytest.raises(ConfigError, match=rf"{where}\.confidence: the artefact has no calibrated one\. Set it"):
            built(table, name, bare, classifier=digest)
