"""Scores of different kinds brought to one scale."""

from collections.abc import Sequence


def minmax(scores: Sequence[float]) -> list[float]:
    """Scores moved to 0 for the least and 1 for the greatest; equal scores are all 1, since being found is worth something."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    if high <= low:
        return [1.0] * len(scores)
    return [(score - low) / (high - low) for score in scores]
