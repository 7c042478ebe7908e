"""A knob's values as an axis of numbers, whatever they are."""

import html
from collections.abc import Sequence
from typing import Any

ABSENT = "–"
TICK_CHARACTERS = 16  # characters of a tick
MAX_CATEGORIES = 8  # different numbers up to which each has a place of its own


def axis_of(values: Sequence[Any], label: str) -> dict[str, Any]:
    """An axis of Plotly's parallel coordinates: many numbers by their size, else a place for each value; absent ones at the foot."""
    distinct = list({repr(value): value for value in values if value is not None}.values())  # 1, 1.0 and True are three values
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct)
    if numeric and len(distinct) > MAX_CATEGORIES:
        return numeric_axis(values, label)
    categories = ([None] if None in values else []) + sorted(distinct, key=None if numeric else str)
    positions = {repr(value): position for position, value in enumerate(categories)}
    ticks = [_tick(value) for value in categories]
    return _axis(
        label, [positions[repr(value)] for value in values], list(range(len(categories))), ticks, [-0.2, max(len(categories) - 0.8, 0.2)]
    )


def numeric_axis(values: Sequence[Any], label: str) -> dict[str, Any]:
    """An axis of numbers by their size, absent ones a step below."""
    numbers = [value for value in values if value is not None] or [0.0]
    low, high = min(numbers), max(numbers)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = (high - low) / 4
    marks = [low + step * index for index in range(5)]
    if None not in values:
        return _axis(label, list(values), marks, [f"{mark:.4g}" for mark in marks], [low, high])
    absent_position = low - step / 2
    positions = [absent_position if value is None else value for value in values]
    return _axis(label, positions, [absent_position, *marks], [ABSENT, *(f"{mark:.4g}" for mark in marks)], [absent_position, high])


def _axis(
    label: str, values: Sequence[float], positions: Sequence[float], ticks: Sequence[str], value_range: Sequence[float]
) -> dict[str, Any]:
    return {"label": label, "values": list(values), "tickvals": list(positions), "ticktext": list(ticks), "range": list(value_range)}


def _tick(value: Any) -> str:
    text = ABSENT if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(text if len(text) <= TICK_CHARACTERS else text[: TICK_CHARACTERS - 1] + "…", quote=False)
