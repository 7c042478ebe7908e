"""Which hits hold which evidence: the one definition of "relevant" that every ranking metric uses."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.golden.case import Case
from serving.pipeline.types import Hit, Span

COVERED = 0.5  # share of an evidence span's characters that must be among the hits for it to count as found


@dataclass(frozen=True, slots=True)
class Finding:
    """For each hit, in rank order, the evidence it is the first to complete."""

    found: tuple[tuple[int, ...], ...]  # hit → indices of evidence
    evidence: int  # how many pieces of evidence there are


def find_spans(hits: Sequence[Hit], case: Case) -> Finding:
    """Evidence by characters: a span counts for the hit with which half of it has been shown."""
    spans = [evidence.span for evidence in case.evidence]
    seen: list[list[Span]] = [[] for _ in spans]
    done: set[int] = set()
    found: list[tuple[int, ...]] = []
    for hit in hits:
        now: list[int] = []
        for index, span in enumerate(spans):
            if index in done or not span.overlap(hit.chunk.span):
                continue
            seen[index].append(hit.chunk.span)
            if _covered(span, seen[index]) >= COVERED * len(span):
                done.add(index)
                now.append(index)
        found.append(tuple(now))
    return Finding(tuple(found), len(spans))


def find_documents(hits: Sequence[Hit], case: Case) -> Finding:
    """Evidence by document: a document counts once, for its first hit; later hits of it are left out."""
    wanted = {name: index for index, name in enumerate(case.documents)}
    seen: set[str] = set()
    found: list[tuple[int, ...]] = []
    for hit in hits:
        name = hit.chunk.document_id
        if name in seen:
            continue
        seen.add(name)
        found.append((wanted[name],) if name in wanted else ())
    return Finding(tuple(found), len(wanted))


def _covered(span: Span, parts: Sequence[Span]) -> int:
    """How many characters of a span the parts show together."""
    covered, reached = 0, span.start
    for part in sorted(parts, key=lambda part: part.start):
        begin, end = max(part.start, reached), min(part.end, span.end)
        if end > begin:
            covered += end - begin
            reached = end
    return covered
