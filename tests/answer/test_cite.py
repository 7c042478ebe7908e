import pytest

from serving.pipeline.answer.cite import markers, parse_citations
from serving.pipeline.types import Chunk, Hit

HITS = [Hit(Chunk(f"c{n}", "doc", n * 10, n * 10 + 5, "x" * 5), 1.0, n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ten days [1].", [1]),
        ("Ten days[1].", [1]),
        ("Both [1, 2] and [3].", [1, 2, 3]),
        ("Both [1][2].", [1, 2]),
        ("All [1-3].", [1, 2, 3]),
        ("Ten days.[2]", [2]),
        ("Semicolons [1;3]", [1, 3]),
        ("`items[1]` is code", []),
        ("```\nrow[2]\n```", []),
        ("a link [1](https://x) is none", []),
        ("args[1] holds the name", []),
        ("sys.argv[1].", []),
        ("my_list[2].", []),
        ("[note] and [n] and []", []),
    ],
)
def test_markers_are_citations_and_not_code(text, expected):
    assert markers(text) == expected


def test_a_citation_points_to_the_span_of_its_passage_once():
    cited = parse_citations("One [2]. Two [2]. Three [1].", HITS)
    assert [(c.marker, c.chunk_id, c.span.start) for c in cited.citations] == [(2, "c2", 20), (1, "c1", 10)]
    assert cited.dangling == 0


def test_markers_out_of_range_are_ignored_and_counted():
    cited = parse_citations("One [4], zero [0], two [2].", HITS)
    assert [c.marker for c in cited.citations] == [2]
    assert cited.dangling == 2
