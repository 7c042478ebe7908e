"""The verifier: a probability from plain numbers, the same both ways, never trusting what the guards forbid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline.checks.equivalence.features import FEATURES, features_of
from serving.pipeline.checks.equivalence.names import learned_names
from serving.pipeline.checks.equivalence.verifier import Verifier, built_in, verifier_of, verify
from serving.pipeline.checks.equivalence.wording import LONGEST, wording_of
from serving.pipeline.errors import DataError
from tests.checks.equivalence.test_guards import DIFFERENT, TEXTS
from tests.support.growth import outgrown


@settings(deadline=None)
@given(TEXTS, TEXTS, st.floats(-1, 1))
def test_it_looks_both_ways_alike(question, other, similarity):
    assert verify(question, other, similarity) == verify(other, question, similarity)
    assert 0.0 <= verify(question, other, similarity) <= 1.0


@settings(deadline=None)
@given(TEXTS)
def test_the_same_text_is_the_same_question(text):
    assert verify(text, text, 1.0) == 1.0


@settings(deadline=None)
@given(TEXTS, TEXTS, st.floats(-1, 1), st.floats(-1, 1))
def test_a_greater_similarity_never_lowers_the_probability(question, other, one, two):
    low, high = sorted((one, two))
    assert verify(question, other, low) <= verify(question, other, high) or question == other


@pytest.mark.parametrize(("question", "other"), DIFFERENT)
def test_what_a_guard_forbids_scores_nothing_however_similar(question, other):
    assert built_in().score(question, other, 0.9999) == 0.0


def test_a_question_in_a_little_other_words_scores_above_another_question():
    same = verify("How long is the notice period?", "How long is the period of notice?", 0.95)
    other = verify("How long is the notice period?", "How long is the trial period?", 0.75)
    assert same > 0.5 > other


def test_a_longer_text_than_is_read_is_only_itself():
    text = "word " * LONGEST
    assert verify(text, text + "more", 1.0) == 0.0


def test_features_are_finite_numbers_for_any_text():
    for text in ("", "?", "\ud800", "\u05d0\u05d1", "1", "a " * 900):
        row = features_of(wording_of(text), wording_of("How long is the notice period?"), 0.5)
        assert row.shape == (len(FEATURES),)
        assert np.isfinite(row).all()


def test_a_verifier_comes_back_from_its_own_numbers_and_from_nothing_else():
    numbers = built_in().model_dump(mode="json")
    assert verifier_of(numbers) == built_in()
    assert verifier_of({}) is built_in()
    with pytest.raises(DataError, match="other guards or features"):
        verifier_of(numbers | {"guards": "0"})
    with pytest.raises(DataError):
        verifier_of({"trees": {}})
    with pytest.raises(DataError, match="backwards or nowhere"):
        verifier_of(numbers | {"trees": numbers["trees"] | {"left": [0] * len(numbers["trees"]["left"])}})


def test_names_it_learned_are_known_in_small_letters():
    numbers = built_in().model_dump(mode="json") | {"names": ["greta", "ohlsson", "marlow"]}
    verifier = Verifier.model_validate(numbers)
    assert verifier.probability("who is greta ohlsson", "who is dev marlow", 0.99) == 0.0
    assert verifier.probability("who is greta ohlsson", "who is it", 0.99) == 0.0
    assert verifier.probability("who is greta ohlsson", "who is ohlsson", 0.99) > 0.0
    assert verifier.probability("who is Ohlsson", "who is ohlsson", 0.99) > 0.0


def test_words_are_names_where_they_are_never_written_small():
    questions = ["Who is the successor of Greta Ohlsson?", "How do I Load a file?", "How do I load a file?", "WHO IS SHE?", "who is marlow"]
    assert learned_names(wording_of(question).tokens for question in questions) == {"greta", "ohlsson"}


def test_its_name_changes_with_its_numbers():
    numbers = built_in().model_dump(mode="json")
    other = Verifier.model_validate(numbers | {"trees": numbers["trees"] | {"base": 0.5}})
    assert other.name != built_in().name


def test_beyond_the_longest_questions_take_no_longer():
    def work(length):
        verify("ab cd " * (length // 6), "ef gh ij " * (length // 9), 0.9)
        verify("".join(chr(0x4E00 + number) + " " for number in range(length // 2)), "a" * length, 0.9)

    assert not outgrown(work, int, length=LONGEST)  # up to there it is a square, of some ms
