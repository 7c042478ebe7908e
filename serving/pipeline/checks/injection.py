"""Sentences of a text that give orders to the model that reads it, by the patterns in injection.yaml."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict

from serving.pipeline.checks.detection import Detection
from serving.pipeline.digest import digest_of
from serving.pipeline.text.folding import straight_apostrophes

PATTERNS: Final = Path(__file__).with_name("injection.yaml")
LONGEST: Final = 400  # characters of a sentence that are looked at
MOST: Final = 200_000  # characters of a text

_BREAK: Final = re.compile(r"[\n|]+|(?<=[.!?])[ \t]+")


class InjectionPatterns(BaseModel):
    """What injection.yaml holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patterns: dict[str, tuple[str, ...]]  # by kind: override | role | secrecy | answer | code
    verbs: tuple[str, ...]


def find_injections(text: str) -> list[Detection]:
    """The sentences that give orders, each of the first kind that it matches; the score is 1 − ½ⁿ where it matches n patterns."""
    found: list[Detection] = []
    for start, end in _sentences(text):
        matched = _matched(text[start : min(end, start + LONGEST)])
        if matched:
            found.append(Detection(matched[0], text[start:end], start, end, 1 - 0.5 ** len(matched)))
    return found


def digest() -> str:
    """Digest of the patterns: part of the version of whatever uses them."""
    return digest_of(PATTERNS.read_text(encoding="utf-8"))[:8]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence stands, without white space around it."""
    position, limit = 0, min(len(text), MOST)
    stops = [(match.start(), match.end()) for match in _BREAK.finditer(text, 0, limit)]
    for stop, after in [*stops, (limit, limit)]:
        bare = text[position:stop].strip()
        if bare:
            start = text.index(bare, position)
            yield start, start + len(bare)
        position = after


def _matched(sentence: str) -> list[str]:
    """The kind of every pattern that a sentence matches, in the order of the file."""
    lower = straight_apostrophes(sentence.casefold())
    return [kind for kind, patterns in _compiled().items() for pattern in patterns if pattern.search(lower)]


@cache
def _compiled() -> dict[str, tuple[re.Pattern[str], ...]]:
    read = InjectionPatterns.model_validate(yaml.safe_load(PATTERNS.read_text(encoding="utf-8")))
    verbs = "|".join(read.verbs)
    return {kind: tuple(re.compile(line.replace("{verbs}", verbs)) for line in lines) for kind, lines in read.patterns.items()}
