"""What is the same to a reader is the same here, and the way back is kept."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.text.answer_words import normalized
from serving.pipeline.text.folding import caseless, plain_dashes, straight_apostrophes, without_accents
from serving.pipeline.text.offsets import normalize_with_offsets


def test_each_folding_does_one_thing() -> None:
    assert straight_apostrophes("don’t – Café") == "don't – Café"
    assert plain_dashes("don’t – Café − ‑") == "don’t - Café - -"
    assert without_accents("don’t – Café ﬁne") == "don’t – Cafe fine"
    assert caseless("ＤON’T – CAFÉ ß") == "don’t – café ss"


@pytest.mark.parametrize(
    "text", ["", " ", " A [1]  B\n", "ｉｄ [1, 2] é e\u0301 ß ﬁ ½ … —", "[1][2] x", "\u00a0x\u00a0", "a [1] [2] b", "e[1]\u0301"]
)
def test_a_placed_text_is_the_normal_one(text: str) -> None:
    assert normalize_with_offsets(text).text == normalized(text)


@given(st.text(st.characters(max_codepoint=0x24F) | st.sampled_from("[1] \u0301’–—ß½")))
def test_every_character_of_a_placed_text_comes_from_its_place(text: str) -> None:
    there = normalize_with_offsets(text)
    assert there.text == normalized(text)
    assert len(there.spans) == len(there.text)
    for character, (start, end) in zip(there.text, there.spans, strict=True):
        assert character in normalized(text[start:end]) or character == " "
        assert not unicodedata.combining(text[start]) or not there.spans[0] < (start, end)
    assert list(there.spans) == sorted(there.spans)
