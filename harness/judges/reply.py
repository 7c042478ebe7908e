"""Reads what a model said as a verdict: one JSON object with a reason and a known label, or what is wrong with it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.pipeline.registry import near

LONGEST = 20_000  # characters of a reply that are read; nobody reasons that long in two sentences
SHOWN = 60  # characters of a strange label in a message


@dataclass(frozen=True, slots=True)
class Reply:
    """A label with its reason, or the problem."""

    label: str | None
    reason: str = ""
    problem: str = ""


def read_reply(text: str, labels: Sequence[str]) -> Reply:
    """The verdict in a model's words; objects that contradict each other are none."""
    if not text.strip():
        return Reply(None, problem="it was empty")
    if len(text) > LONGEST:
        return Reply(None, problem=f"it was longer than {LONGEST} characters")
    found = [one for one in _objects(text) if "label" in one]
    if not found:
        return Reply(None, problem='it held no whole JSON object with a "label"')
    if len({str(one["label"]) for one in found}) > 1:  # a quoted one beside its own: which is meant cannot be told
        return Reply(None, problem="it held several JSON objects with different labels")
    label, reason = found[-1]["label"], found[-1].get("reason", "")
    named = label.strip().strip(".").casefold() if isinstance(label, str) else ""
    if named not in labels:
        shown = repr(label)[:SHOWN]
        return Reply(None, problem=f"its label {shown} is none of {', '.join(labels)}.{near(named, list(labels))}".rstrip("."))
    return Reply(named, " ".join(reason.split()) if isinstance(reason, str) else "")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object of a text, the outermost ones, in order."""
    decoder, place = json.JSONDecoder(strict=False), 0  # models write line breaks into strings
    while (place := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(value, dict):
            yield value
