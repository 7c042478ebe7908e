"""Which of several points no other beats."""

from collections.abc import Sequence


def undominated(points: Sequence[Sequence[float]]) -> list[int]:
    """The places of the points that no other is at least as high as in every number and higher in one."""
    return [place for place, point in enumerate(points) if not any(_dominates(other, point) for other in points)]


def _dominates(other: Sequence[float], point: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(other, point, strict=True)) and any(a > b for a, b in zip(other, point, strict=True))
