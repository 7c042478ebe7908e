"""Which cases of a golden set are not independent of each other."""

from collections.abc import Iterable

from harness.golden.case import Case

MIN_CLUSTERS = 10  # with fewer, hardly anything can be shown, and the reader is told why


def clusters_of(cases: Iterable[Case]) -> list[str]:
    """The cluster of each case: cases of one cluster depend on each other."""
    return [cluster_of(case) for case in cases]


def cluster_of(case: Case) -> str:
    """The first document with evidence for a case; without one its group, else itself.

    Not every case that shares any document: cases with two documents would chain half a corpus into one cluster.
    """
    if case.documents:
        return f"document:{case.documents[0]}"
    return f"group:{case.group}" if case.group else f"case:{case.id}"
