"""Small values for tests: a case, a trace, a hit, each with only what the test is about."""

from typing import Any

from harness.golden.case import Case
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, Trace


def a_case(**changes: Any) -> Case:
    """An answerable case with evidence at doc[10:20]."""
    fields: dict[str, Any] = {
        "id": "c1",
        "question": "How long?",
        "answers": ["30 days"],
        "evidence": [{"document": "doc", "quote": "x" * 10, "start": 10, "end": 20}],
        "key_facts": ["30 days"],
    }
    return Case.model_validate(fields | changes)


def unanswerable(**changes: Any) -> Case:
    """A case that must be refused."""
    return Case.model_validate({"id": "u1", "question": "Who?", "answerable": False, "kind": "unanswerable"} | changes)


def a_hit(start: int, end: int, document: str = "doc", rank: int = 1) -> Hit:
    """A hit on a slice of a document."""
    return Hit(Chunk(f"{document}#{start}-{end}", document, start, end, "x" * (end - start)), 1.0 / rank, rank)


def a_trace(*hits: Hit, answer: str = "", refused: bool = False, cited: tuple[int, ...] = ()) -> Trace:
    """A trace with these hits and this answer; `cited` are indices of hits."""
    citations = tuple(Citation(index + 1, hits[index].chunk.id, hits[index].chunk.span) for index in cited)
    return Trace("t", Query("q"), "config", "index", hits=hits, passages=hits, answer=Answer(answer, citations, refused))
