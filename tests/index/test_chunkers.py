"""What every chunker in the table promises, and what each adds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.errors import ConfigError
from serving.pipeline.index import CHUNKERS
from serving.pipeline.registry import Spec
from serving.pipeline.types import Chunk, Document
from tests.support.growth import outgrown
from tests.support.langchain_parts import SPLITTER

SMALL = {
    "recursive": {"size": 40, "overlap": 12},
    "token": {"size": 8, "overlap": 3},
    "sentence": {"size": 40, "overlap_sentences": 2},
    "markdown": {"size": 40, "overlap": 12, "shortest": 15},
    SPLITTER: {"chunk_size": 40, "chunk_overlap": 12},
}  # a name that is not here is tried with its defaults
NAMES = [*CHUNKERS.names(), SPLITTER]
PIECES = [
    "word ", "ab", " ", "   ", "\n", "\n\n", "\n \n", "a. ", "e.g. ", "3.14 ", "End! ",
    "\n# Head\n", "\n## Sub *part*\n", "\n| a | b |\n",
    "\n| long cell text | more |\n", "\n- item", "\n```\n# no\n```\n", "Title\n====\n",
    "é", "文書。", "👩‍👩‍👧", "x" * 50, "\t", " ", "\x1c", "e\u0301",
]  # fmt: skip
texts = st.one_of(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.text(max_size=300))


def split(name: str, text: str, **params: object) -> list[Chunk]:
    return list(CHUNKERS.build(Spec(name=name, **(SMALL.get(name, {}) | params))).split(Document("d", text)))


def uncovered(text: str, chunks: list[Chunk]) -> str:
    covered = {place for chunk in chunks for place in range(chunk.start, chunk.end)}
    return "".join(mark for place, mark in enumerate(text) if place not in covered and not mark.isspace())


@pytest.mark.parametrize("name", NAMES)
@given(text=texts)
def test_chunks_are_exact_slices_in_order_that_leave_nothing_out(name: str, text: str) -> None:
    chunks = split(name, text)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert all(chunk.text == chunk.text.strip() != "" for chunk in chunks)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
    assert uncovered(text, chunks) == ""
    assert [chunk.id for chunk in chunks] == [f"d#{chunk.start}-{chunk.end}" for chunk in chunks]


@pytest.mark.parametrize("name", ["recursive", "sentence", "markdown"])
@given(text=texts)
def test_no_chunk_is_longer_than_its_size(name: str, text: str) -> None:
    assert all(len(chunk.text) <= 40 for chunk in split(name, text))


@given(text=texts, size=st.integers(16, 90), part=st.floats(0, 0.99))
def test_any_overlap_below_the_size_keeps_the_contract(text: str, size: int, part: float) -> None:
    chunks = split("recursive", text, size=size, overlap=int(size * part))
    assert uncovered(text, chunks) == ""
    assert all(before.start < after.start and before.end < after.end for before, after in pairwise(chunks))
    assert all(len(chunk.text) <= size for chunk in chunks)


@pytest.mark.parametrize("name", CHUNKERS.names())
@given(rows=st.lists(st.lists(st.sampled_from(["TG-4410", "930", "a b", "x. Y"]), min_size=2, max_size=3), min_size=1, max_size=12))
def test_a_table_row_that_fits_is_never_cut(name: str, rows: list[list[str]]) -> None:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    text = "Prices are below. They are net.\n\n" + "\n".join(lines) + "\n\nMore text follows here."
    chunks = split(name, text, **({"size": 24 if name == "token" else 60} if name in SMALL else {}))
    for chunk in chunks:
        assert all(line in lines for line in chunk.text.split("\n") if "|" in line)


@pytest.mark.parametrize("name", ["recursive", "token", "markdown"])
@pytest.mark.parametrize("overlap", [40, 41])
def test_an_overlap_as_large_as_the_size_is_refused(name: str, overlap: int) -> None:
    with pytest.raises(ConfigError, match=f"overlap {overlap} must be smaller than size 40"):
        split(name, "text", size=40, overlap=overlap)


def test_a_chunk_carries_what_is_known_of_its_document() -> None:
    document = Document("hr/a.md", "# Leave\n\nText.", "Title", "hr", "hr/a.md", "3", "acme", ("hr",), {"status": "current"})
    for name in NAMES:
        [chunk] = CHUNKERS.build(Spec(name=name)).split(document)
        told = (chunk.title, chunk.domain, chunk.source, chunk.version, chunk.tenant, chunk.groups, chunk.metadata)
        assert told == ("Title", "hr", "hr/a.md", "3", "acme", ("hr",), {"status": "current"})
        assert (chunk.document_id, chunk.heading) == ("hr/a.md", "Leave")


def test_the_heading_is_the_path_above_the_start_and_overlap_stays_below_it() -> None:
    text = "# A\n\nintro words here\n\n## B\n\nfirst part of B\n\n## C\n\nfirst part of C"
    chunks = split("recursive", text, size=30, overlap=20)
    assert [(chunk.heading, chunk.text.split("\n")[0]) for chunk in chunks] == [("A", "# A"), ("A > B", "## B"), ("A > C", "## C")]


def test_overlap_repeats_the_end_of_the_chunk_before_from_a_fresh_sentence() -> None:
    text = "One is first here. Two is second here. Three is third here. Four is fourth."
    assert [chunk.text for chunk in split("recursive", text, size=45, overlap=25)] == [
        "One is first here. Two is second here.",
        "Two is second here. Three is third here.",
        "Three is third here. Four is fourth.",
    ]


@pytest.mark.parametrize("name", ["recursive", "sentence"])
def test_a_heading_stays_with_what_follows_it(name: str) -> None:
    text = "Some words come first here.\n\n# Part\n\n## Sub\n\nWords that follow the heading."
    assert [chunk.text.split("\n")[0] for chunk in split(name, text, size=48)] == ["Some words come first here.", "# Part"]


def test_markdown_joins_a_section_too_short_to_stand_alone() -> None:
    text = "# Guide\n\n## One\n\n" + "a " * 30 + "\n\n## Two\n\n" + "b " * 30
    assert [chunk.text[:14] for chunk in split("markdown", text, size=200, overlap=0, shortest=40)] == [
        "# Guide\n\n## On",
        "## Two\n\nb b b ",
    ]


def test_sentences_repeats_whole_sentences() -> None:
    text = "Dr. Korth agreed. The cap is 3.5 %. It holds, e.g. in Leeds. Done."
    assert [chunk.text for chunk in split("sentence", text, size=36, overlap_sentences=1)] == [
        "Dr. Korth agreed. The cap is 3.5 %.",
        "It holds, e.g. in Leeds. Done.",
    ]
    assert [chunk.text for chunk in split("sentence", text, size=44, overlap_sentences=1)][
        1
    ] == "The cap is 3.5 %. It holds, e.g. in Leeds."


HOSTILE_LINES = (
    "# a\n",
    "\n",
    " ",
    "a",
    "| a | b |\n",
    "|",
    ".",
    '."',
    "a ",
    "字",
    "title\n---\n",
    "#",
    "| a ",
    "```\n",
    "A b. ",
    "a;",
    "\n ",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recursive", "markdown", "sentence", "token"])
@pytest.mark.parametrize("line", HOSTILE_LINES)
def test_a_chunker_takes_time_in_proportion_to_its_text_whatever_it_holds(name: str, line: str) -> None:
    def split(document: Document) -> None:
        assert sum(1 for _ in CHUNKERS.build(Spec(name=name)).split(document))

    assert not outgrown(split, lambda length: Document(id="x", text=line * (length // len(line)) + "z"), length=25_000, times=4)
