"""Where sentences end."""

import pytest

from serving.pipeline.text.headings import HeadingPath, headings
from serving.pipeline.text.sentences import sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["One is here.", "Two is there!", "Three?", "Yes."],
        ["Mr. Lund and Dr. Renn met at 3.30 p.m. on 4 May.", "They agreed."],
        ["It was late, 9 p.m.", "The office closed."],
        ["See e.g. section 4.2 or fig. 3 of the plan.", "It is clear."],
        ["Ask J. Smith about No. 5.", "Then go."],
        ['He said "No." and left.', '"Why?" she asked.'],
        ["1. First step of it.", "2. Second step.", "- a bullet without end", "- another"],
        ["# 1. Scope", "The scope is wide.", "| a | b. c |", "| d | e |", "After the table."],
        ["Wait... it is fine.", "Next."],
        ["一文です。", "二文です。"],
    ],
)  # fmt: skip
def test_a_text_falls_apart_into_its_sentences(expected: list[str]) -> None:
    text = ""
    for sentence in expected:
        alone = sentence.startswith(("#", "|", "-", "1.", "2.")) or text.endswith(("|", "Scope", "end", "of it."))
        text += ("\n" if alone else " " if text and not text.endswith("。") else "") + sentence
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_a_wrapped_line_does_not_end_a_sentence() -> None:
    text = "A sentence that is\nwrapped over lines.\n\nA title without a stop\n\nNext."
    assert [text[start:end] for start, end in sentences(text)] == [
        "A sentence that is\nwrapped over lines.", "A title without a stop", "Next.",
    ]  # fmt: skip


def test_headings_are_found_in_both_styles_and_not_in_code() -> None:
    text = "Top\n===\n\n# One #\n\n```sh\n# comment\n```\n\n"
    text += "###Not\n\n#hash\n\n### **Three** `x`\n\npara\ncont\n---\n\n| a |\n|---|\n\nSub\n---\n"
    assert [(found.level, found.title) for found in headings(text)] == [(1, "Top"), (1, "One"), (3, "Three x"), (2, "Sub")]
    assert all(text[found.start : found.end].strip() for found in headings(text))


def test_the_path_at_a_place_holds_only_open_sections() -> None:
    text = "# A\n## B\n### C\n## D\ntext\n# E\n"
    found = headings(text)
    places = (0, 5, 12, text.index("text"), len(text))
    assert [HeadingPath(found).forward(place) for place in places] == ["A", "A > B", "A > B > C", "A > D", "E"]
    assert HeadingPath(found[1:]).forward(0) == ""
