"""How a sweep and its trials are called where there is little room: in the lists of a tracking server."""

import re
from collections.abc import Mapping
from typing import Any

LENGTH = 120  # characters of a name
_FOLDER = re.compile(r"(?P<name>.+)-\d{4}(?P<month>\d\d)(?P<day>\d\d)-(?P<hour>\d\d)(?P<minute>\d\d)\d\d(?P<again>-\d+)?")


def sweep_name(folder: str) -> str:
    """`quickstart 11-29 04:10`, from the name of the sweep's folder; any other folder's name as it is."""
    parts = _FOLDER.fullmatch(folder)
    if parts is None:
        return folder
    again = f" ({parts['again'][1:]})" if parts["again"] else ""
    return f"{parts['name']} {parts['month']}-{parts['day']} {parts['hour']}:{parts['minute']}{again}"


def trial_name(number: int, label: str, values: Mapping[str, Any]) -> str:
    """`trial 3 · size 500 · top_k 8`, or `trial 0 · base`."""
    parts = [label] if label else [f"{_short(path)} {_value(value)}" for path, value in values.items()]
    name = " · ".join([f"trial {number}", *parts])
    return name if len(name) <= LENGTH else name[: LENGTH - 1] + "…"


def _short(path: str) -> str:
    """The last word of a knob's path; of a plug-in's name the word before it."""
    words = path.split(".")
    return words[-2] if words[-1] == "name" and len(words) > 1 else words[-1]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
