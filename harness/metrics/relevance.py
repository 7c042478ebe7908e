"""Which hits hold which evidence: the one definition of "relevant" that every ranking metric uses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.golden.case import Case
from serving.pipeline.types import Span

COVERED = 0.5  # share of an evidence span's characters that must be among the hits for it to count as found


@dataclass(frozen=True, slots=True)
class EvidenceRanks:
    """For each hit, in rank order, the evidence it is the first to complete."""

    evidence_by_hit: tuple[tuple[int, ...], ...]  # hit → indices of evidence
    grades: tuple[int, ...]  # how relevant each piece of evidence is, from 1

    @property
    def evidence(self) -> int:
        """How many pieces of evidence there are."""
        return len(self.grades)


def find_spans(ranking: Sequence[Span], case: Case) -> EvidenceRanks:
    """Evidence by characters: a span counts for the hit with which half of it has been shown."""
    spans = [evidence.span for evidence in case.evidence]
    shown_spans: list[list[Span]] = [[] for _ in spans]
    complete: set[int] = set()
    ranks: list[tuple[int, ...]] = []
    for place in ranking:
        completed: list[int] = []
        for index, span in enumerate(spans):
            if index in complete or not span.overlap(place):
                continue
            shown_spans[index].append(place)
            if covered(span, shown_spans[index]):
                complete.add(index)
                completed.append(index)
        ranks.append(tuple(completed))
    return EvidenceRanks(tuple(ranks), (1,) * len(spans))


def find_documents(ranking: Sequence[Span], case: Case) -> EvidenceRanks:
    """Evidence by document: a document counts once, for its first hit; later hits of it are left out.

    A document with evidence that the case does not grade is as relevant as the best of those it does.
    """
    evidence = {name: index for index, name in enumerate(case.documents)}
    seen: set[str] = set()
    ranks: list[tuple[int, ...]] = []
    for place in ranking:
        name = place.document_id
        if name in seen:
            continue
        seen.add(name)
        ranks.append((evidence[name],) if name in evidence else ())
    graded = dict(zip(case.relevant_ids, case.grades, strict=False))
    highest = max(case.grades, default=1)
    return EvidenceRanks(tuple(ranks), tuple(graded.get(name, highest) for name in evidence))


def covered(span: Span, parts: Sequence[Span]) -> bool:
    """Whether the parts together show enough of a span for it to count as found."""
    return common_characters([span], parts) >= COVERED * len(span) > 0


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The same characters as spans that do not overlap, by document and place."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.document_id, span.start)):
        last = merged[-1] if merged else None
        if last and last.document_id == span.document_id and span.start <= last.end:
            merged[-1] = Span(last.document_id, last.start, max(last.end, span.end))
        else:
            merged.append(span)
    return merged


def common_characters(spans: Iterable[Span], others: Iterable[Span]) -> int:
    """How many characters stand in both, each counted once."""
    merged_others = merge_spans(others)
    return sum(span.overlap(other) for span in merge_spans(spans) for other in merged_others)
