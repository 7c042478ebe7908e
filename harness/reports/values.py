"""A knob's values as an axis of numbers, whatever they are."""

import html
from collections.abc import Sequence
from typing import Any

ABSENT = "–"
MOST = 16  # characters of a tick
FEW = 8  # different numbers up to which each has a place of its own


def axis_of(values: Sequence[Any], label: str) -> dict[str, Any]:
    """An axis of Plotly's parallel coordinates: many numbers by their size, else a place for each value; absent ones at the foot."""
    known = list({repr(value): value for value in values if value is not None}.values())  # 1, 1.0 and True are three values
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if numeric and len(known) > FEW:
        return measured(values, label)
    places = ([None] if None in values else []) + sorted(known, key=None if numeric else str)
    found = {repr(value): place for place, value in enumerate(places)}
    ticks = [_tick(value) for value in places]
    return _axis(label, [found[repr(value)] for value in values], list(range(len(places))), ticks, [-0.2, max(len(places) - 0.8, 0.2)])


def measured(values: Sequence[Any], label: str) -> dict[str, Any]:
    """An axis of numbers by their size, absent ones a step below."""
    known = [value for value in values if value is not None] or [0.0]
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = (high - low) / 4
    marks = [low + step * place for place in range(5)]
    if None not in values:
        return _axis(label, list(values), marks, [f"{mark:.4g}" for mark in marks], [low, high])
    foot = low - step / 2
    placed = [foot if value is None else value for value in values]
    return _axis(label, placed, [foot, *marks], [ABSENT, *(f"{mark:.4g}" for mark in marks)], [foot, high])


def _axis(label: str, values: Sequence[float], at: Sequence[float], ticks: Sequence[str], reach: Sequence[float]) -> dict[str, Any]:
    return {"label": label, "values": list(values), "tickvals": list(at), "ticktext": list(ticks), "range": list(reach)}


def _tick(value: Any) -> str:
    words = ABSENT if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(words if len(words) <= MOST else words[: MOST - 1] + "…", quote=False)
