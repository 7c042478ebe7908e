import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline.answer.cite import markers
from serving.pipeline.checks.grounding.check import check_answer
from serving.pipeline.checks.grounding.edits import edited
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.checks.grounding.verify import verify_answer
from serving.pipeline.guard import CHECKS
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.text.answer_words import without_citations, without_marks
from serving.pipeline.types import Chunk, GuardAction, Hit, Query
from tests.support.growth import outgrown
from tests.support.parts import some_parts

TEXTS = (
    "Annual leave is 25 days a year.",
    "Sick leave is paid in full for six weeks.",
    "The TG-4410B gateway costs 1,240.50 EUR.",
)
PASSAGES = tuple(Hit(Chunk(f"d{n}#0", f"d{n}", 0, len(text), text, title=f"Document {n}"), 1.0, n) for n, text in enumerate(TEXTS, 1))
EMBEDDER = NamedEmbeddings("local:hashing", HashingEmbeddings(64))
PARTS = some_parts(embeddings=HashingEmbeddings(64), embedder="local:hashing")
RIGHT, WRONG, FALSE = (
    "Annual leave is 25 days a year [1].",
    "Sick leave is paid in full for six weeks [3].",
    "Directors have 90 days off [2].",
)


def says(text: str, passages: tuple[Hit, ...] = PASSAGES, **params: Any) -> CheckVerdict:
    check = CHECKS.build(Spec(name="groundedness", **params), parts=PARTS)
    return asyncio.run(check.check(text, CheckContext("output", Query("q"), passages)))


def test_a_claim_is_supported_by_what_it_cites_by_another_passage_or_by_none() -> None:
    answer = verify_answer(f"{RIGHT} {WRONG} {FALSE}", PASSAGES, EMBEDDER)
    assert [one.standing for one in answer.claims] == ["supported", "elsewhere", "unsupported"]
    assert [one.source for one in answer.claims] == [0, 2, 0]


def test_the_score_is_the_metric_whatever_the_policy() -> None:
    text = f"{RIGHT} {WRONG} {FALSE}"
    metric = check_answer(text, PASSAGES, EMBEDDER).probability
    for action in ("flag", "mark", "block"):
        for citations in ("keep", "flag", "repair"):
            assert says(text, action=action, citations=citations).score == metric


def test_flag_warns_and_leaves_the_text() -> None:
    said = says(f"{RIGHT} {FALSE}", action="flag")
    assert (said.action, said.text, said.rule) == (GuardAction.FLAG, f"{RIGHT} {FALSE}", "ungrounded")
    assert said.warning == "Not supported by the documents: “Directors have 90 days off”."


def test_mark_puts_a_word_behind_the_claim_which_is_taken_away_again_and_read_by_no_metric() -> None:
    said = says(f"{FALSE} {RIGHT}", action="mark")
    assert (said.action, said.text) == (GuardAction.MASK, f"Directors have 90 days off [2] [unsupported]. {RIGHT}")
    assert without_marks(said.text) == f"{FALSE} {RIGHT}"
    assert markers(said.text) == [2, 1]
    assert without_citations(said.text) == without_citations(f"{FALSE} {RIGHT}")
    assert check_answer(said.text, PASSAGES, EMBEDDER) == check_answer(f"{FALSE} {RIGHT}", PASSAGES, EMBEDDER)


def test_a_marked_answer_that_is_read_again_as_a_cached_one_stays_as_it_is() -> None:
    once = says(f"{FALSE} {RIGHT}", action="mark")
    again = says(once.text, action="mark")
    assert (again.text, again.warning, again.citations, again.score) == (once.text, once.warning, once.citations, once.score)


def test_marks_that_a_model_writes_itself_are_taken_away() -> None:
    said = says("Annual leave is 25 days a year [1] [unsupported].", action="mark")
    assert (said.action, said.text) == (GuardAction.MASK, RIGHT)
    assert said.rule
    assert said.reason


def test_block_refuses_below_the_threshold_and_warns_above_it() -> None:
    refused, kept = says(FALSE), says(f"{RIGHT} {FALSE}", threshold=0.4)
    assert (refused.action, refused.message[:21]) == (GuardAction.BLOCK, "I cannot answer this:")
    assert (kept.action, bool(kept.warning)) == (GuardAction.FLAG, True)


def test_a_wrong_citation_is_flagged_by_the_title_of_the_right_source_or_repaired() -> None:
    flagged, repaired = says(WRONG, action="flag"), says(WRONG, action="flag", citations="repair")
    assert (flagged.action, flagged.rule, flagged.text) == (GuardAction.FLAG, "wrong_citation", WRONG)
    assert "(see “Document 2”)" in flagged.warning
    assert (repaired.action, repaired.text, repaired.warning) == (
        GuardAction.MASK, "Sick leave is paid in full for six weeks [2].", "",
    )  # fmt: skip
    assert repaired.citations
    assert [(one.marker, one.support) for one in repaired.citations] == [(2, 1.0)]
    assert says(WRONG).action is GuardAction.BLOCK
    assert says(WRONG, citations="repair").action is GuardAction.MASK
    assert says(WRONG, action="flag", citations="keep").action is GuardAction.FLAG  # below the threshold all the same


def test_forged_citations_of_passages_that_do_not_exist_are_repaired_to_the_one_that_holds_the_claim() -> None:
    said = says("Annual leave is 25 days a year [7][99].", citations="repair")
    assert said.text == "Annual leave is 25 days a year [1]."


def test_the_support_of_a_citation_is_the_least_of_the_claims_that_cite_it() -> None:
    said = says(f"{RIGHT} Directors have 90 days off [1].", action="flag")
    assert said.citations
    [citation] = said.citations
    assert citation.support is not None
    assert citation.support < 0.5
    assert says(RIGHT).citations[0].support == 1.0  # type: ignore[index]


def test_a_warning_shows_no_address_and_no_long_number() -> None:
    said = says("Write to jane.roe@example.com or call +44 20 7946 0958 for the moon [1].", action="flag")
    assert "jane" not in said.warning + said.excerpt + said.reason
    assert "7946" not in said.warning + said.excerpt + said.reason
    assert "“Write to … or call … for the moon”" in said.warning


def test_a_claim_in_code_is_told_and_not_marked() -> None:
    code = "```\nDirectors have 90 days off\n```"
    said = says(code, action="mark")
    assert said.text == code


@pytest.mark.parametrize(
    "text",
    [
        "Directors have 90 days off. [2] Annual leave is 25 days a year. [1]",
        "- Directors have 90 days off [2]\n- Annual leave is 25 days a year [1]",
        "| who | days |\n|---|---|\n| directors | 90 days off [2] |",
        "**Directors have 90 days off** [2]! <b>So</b> <script>alert(1)</script> it is written, and the moon costs 900 EUR.",
        "Directors have 90 days off [2][3] [1, 2]!",
        "Directors have [90](https://example.com) days off, items[1] of them.",
    ],
)
def test_marks_and_repairs_leave_every_form_of_answer_readable(text: str) -> None:
    for citations in ("flag", "repair"):
        said = says(text, action="mark", citations=citations)
        assert without_marks(said.text) == (text if citations == "flag" else without_marks(said.text))
        assert "[unsupported]" in said.text
        assert set(markers(said.text)) <= {1, 2, 3}
        assert check_answer(said.text, PASSAGES, EMBEDDER).claims


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([RIGHT, WRONG, FALSE, "So?", "[1]", "\n", "- item", "`x`", "…", "| a | b |", "90 days. [9]"]), max_size=8))
def test_marks_are_reversible_in_any_answer(pieces: list[str]) -> None:
    text = " ".join(pieces)
    answer = verify_answer(text, PASSAGES, EMBEDDER)
    assert without_marks(edited(answer.text, marked=answer.claims)) == text
    assert markers(edited(answer.text, marked=answer.claims)) == markers(text)


def test_a_claim_split_over_sentences_is_held_against_its_passage_sentence_by_sentence() -> None:
    said = says("Sick leave is paid in full. For six weeks [2].", action="flag")
    assert said.action is GuardAction.ALLOW


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        ("", "[1]", ""),
        ("Leave is 25 days ", "[1]", "."),
        ("", "[1, 2, 3] x. ", ""),
        ("", "Annual leave is 25 days. ", ""),
        ("", "a", ""),
    ],
)
def test_an_answer_of_any_size_is_checked_in_time_in_proportion(start: str, piece: str, end: str) -> None:
    def check(text: str) -> None:
        said = says(text, action="mark", citations="repair")
        assert said.action in (GuardAction.ALLOW, GuardAction.FLAG, GuardAction.MASK)

    assert not outgrown(check, lambda length: start + (piece * length)[:length] + end, length=20_000)


def test_many_false_claims_over_many_passages_are_held_against_a_bounded_number_of_them() -> None:
    passages = tuple(
        Hit(Chunk(f"p{n}#0", f"p{n}", 0, 40, f"Passage {n} tells of {n} gateways in room {n}."), 1.0, n) for n in range(1, 201)
    )
    text = " ".join(f"Directors of floor {n} have {n} days off [{n}]." for n in range(1, 100))
    assert says(text, passages, action="mark", citations="repair").action is GuardAction.MASK


def test_an_answer_too_long_to_be_checked_is_blocked_or_told() -> None:
    text = "Annual leave is 25 days a year [1]. " * 2_000
    assert says(text).action is GuardAction.BLOCK
    assert says(text, action="flag").warning == "This answer is too long to be checked to its end."
