"""Which cases of a golden set are not independent of each other."""

from collections.abc import Iterable

from harness.golden.case import Case

MIN_CLUSTERS = 10  # with fewer, no pattern of signs is rare enough to survive Holm's correction over the default metrics


def clusters_of(cases: Iterable[Case]) -> list[str] | None:
    """The cluster of each case, or `None` where there are too few clusters and cases count as independent."""
    clusters = [cluster_of(case) for case in cases]
    return clusters if len(set(clusters)) >= MIN_CLUSTERS else None


def cluster_of(case: Case) -> str:
    """The first document with evidence for a case; without one its group, else itself.

    Not every case that shares any document: cases with two documents would chain half a corpus into one cluster.
    """
    if case.documents:
        return f"document:{case.documents[0]}"
    return f"group:{case.group}" if case.group else f"case:{case.id}"
