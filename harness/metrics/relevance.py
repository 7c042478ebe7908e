"""Which hits hold which evidence: the one definition of "relevant" that every ranking metric uses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.golden.case import Case
from serving.pipeline.types import Hit, Span

COVERED = 0.5  # share of an evidence span's characters that must be among the hits for it to count as found


@dataclass(frozen=True, slots=True)
class Finding:
    """For each hit, in rank order, the evidence it is the first to complete."""

    found: tuple[tuple[int, ...], ...]  # hit → indices of evidence
    grades: tuple[int, ...]  # how relevant each piece of evidence is, from 1

    @property
    def evidence(self) -> int:
        """How many pieces of evidence there are."""
        return len(self.grades)


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
            if covered(span, seen[index]):
                done.add(index)
                now.append(index)
        found.append(tuple(now))
    return Finding(tuple(found), (1,) * len(spans))


def find_documents(hits: Sequence[Hit], case: Case) -> Finding:
    """Evidence by document: a document counts once, for its first hit; later hits of it are left out.

    A document with evidence that the case does not grade is as relevant as the best of those it does.
    """
    wanted = {name: index for index, name in enumerate(case.documents)}
    seen: set[str] = set()
    found: list[tuple[int, ...]] = []
    for hit in hits:
        name = hit.chunk.document_id
        if name in seen:
            continue
        seen.add(name)
        found.append((wanted[name],) if name in wanted else ())
    graded = dict(zip(case.relevant_ids, case.grades, strict=False))
    best = max(case.grades, default=1)
    return Finding(tuple(found), tuple(graded.get(name, best) for name in wanted))


def covered(span: Span, parts: Sequence[Span]) -> bool:
    """Whether the parts together show enough of a span for it to count as found."""
    return common([span], parts) >= COVERED * len(span) > 0


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same characters as spans that do not overlap, by document and place."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.document_id, span.start)):
        last = joined[-1] if joined else None
        if last and last.document_id == span.document_id and span.start <= last.end:
            joined[-1] = Span(last.document_id, last.start, max(last.end, span.end))
        else:
            joined.append(span)
    return joined


def common(some: Iterable[Span], others: Iterable[Span]) -> int:
    """How many characters stand in both, each counted once."""
    apart = merged(others)
    return sum(span.overlap(other) for span in merged(some) for other in apart)
