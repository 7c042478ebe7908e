"""A snippet is a slice of its passage, short, around what was asked or said."""

from hypothesis import given
from hypothesis import strategies as st

from serving.app.compatible.openai_fields import title_of
from serving.app.query.snippet import LONGEST, claims_by_marker, content_words, snippet
from serving.app.query.wire import CitationOut, PassageOut
from serving.pipeline.types import Chunk, Hit

PASSAGE = " ".join(f"Rule {number} of the handbook is about the subject with the number {number}." for number in range(1, 40))
WORDS = st.frozensets(st.sampled_from(["rule", "leave", "ﬁ", "ß", "7", "ſ", "é"]), max_size=3)


@given(text=st.text(st.sampled_from("aé. \n|!ßﬁ7-"), max_size=900) | st.just(PASSAGE), wanted=WORDS, most=st.integers(20, 300))
def test_it_is_an_exact_slice_no_longer_than_it_may_be(text: str, wanted: frozenset[str], most: int) -> None:
    found = snippet(text, wanted, most)
    assert found in text
    assert len(found) <= most
    assert found.strip() or not text.strip()


def test_it_begins_with_the_sentence_that_has_most_of_the_words() -> None:
    assert snippet(PASSAGE, content_words("the subject 23")).startswith("Rule 23 of the handbook")
    assert LONGEST / 2 < len(snippet(PASSAGE, content_words("the subject 23"))) <= LONGEST


def test_in_a_very_long_sentence_it_stands_around_the_word() -> None:
    row = "| " + " | ".join(f"cell{number}" for number in range(200)) + " |"
    found = snippet(row, frozenset({"cell150"}))
    assert "cell150" in found.split()
    assert set(found.replace("|", " ").split()) <= {f"cell{number}" for number in range(200)}, "no word is cut"


def test_of_a_citation_it_is_what_the_sentence_before_the_marker_leans_on() -> None:
    claims = claims_by_marker("Rule 3 holds [1]. The rule with number 23 is new [2, 1]. `[3]`")
    assert (claims[2], claims.keys()) == (content_words("rule with number 23 is new"), {1, 2})
    assert claims[2] < claims[1]
    assert snippet(PASSAGE, claims[2]).startswith("Rule 23")


def test_a_passage_tells_its_status_and_what_was_asked_for() -> None:
    chunk = Chunk("a#0-9", "a", 0, len(PASSAGE), PASSAGE, version="2", metadata={"status": "superseded"})
    passage = PassageOut.of(Hit(chunk, 1.0), content_words("What says rule 31?"))
    assert (passage.version, passage.status) == ("2", "superseded")
    assert passage.snippet.startswith("Rule 31")


def test_a_client_that_shows_titles_alone_sees_that_a_document_does_not_hold_any_more() -> None:
    cited = {"marker": 1, "document": "a", "title": "Leave", "start": 0, "end": 1}
    assert [title_of(CitationOut(status=status, **cited)) for status in ("", "current", "superseded")] == [
        "Leave", "Leave", "Leave (superseded)",
    ]  # fmt: skip


def test_letters_that_grow_when_their_case_is_folded_shift_no_snippet() -> None:
    """Of ß two letters are made: a place in the folded text is no place in the text."""
    row = f"{'ß' * 120} {'ß' * 120} {'ß' * 120} Straße"
    assert snippet(row, frozenset({"strasse"})).endswith("Straße")
    assert "word" in snippet(f"{'ß' * 300} word", frozenset({"word"}))
