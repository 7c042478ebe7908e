"""Reads a model's reply: a JSON object with a known label and a reason, or the problem with it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.pipeline.registry import near

MAX_CHARACTERS = 20_000  # of a reply that is read
LABEL_CHARACTERS = 60  # of an unknown label in a message


@dataclass(frozen=True, slots=True)
class Reply:
    """A label with its reason, or the problem."""

    label: str | None
    reason: str = ""
    problem: str = ""


def read_reply(text: str, labels: Sequence[str]) -> Reply:
    """The label of a reply; several objects with different labels are a problem."""
    if not text.strip():
        return Reply(None, problem="it was empty")
    if len(text) > MAX_CHARACTERS:
        return Reply(None, problem=f"it was longer than {MAX_CHARACTERS} characters")
    verdicts = [value for value in _objects(text) if "label" in value]
    if not verdicts:
        return Reply(None, problem='it held no whole JSON object with a "label"')
    if len({str(value["label"]) for value in verdicts}) > 1:  # one may be quoted from the passages
        return Reply(None, problem="it held several JSON objects with different labels")
    label, reason = verdicts[-1]["label"], verdicts[-1].get("reason", "")
    normal_label = label.strip().strip(".").casefold() if isinstance(label, str) else ""
    if normal_label not in labels:
        shortened = repr(label)[:LABEL_CHARACTERS]
        return Reply(None, problem=f"its label {shortened} is none of {', '.join(labels)}.{near(normal_label, list(labels))}".rstrip("."))
    return Reply(normal_label, " ".join(reason.split()) if isinstance(reason, str) else "")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object of a text, the outermost ones, in order."""
    decoder, position = json.JSONDecoder(strict=False), 0  # models write line breaks into strings
    while (position := text.find("{", position)) >= 0:
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if isinstance(value, dict):
            yield value
