"""Detects prompt injection: sentences that instruct the model, by the patterns in patterns.yaml."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from serving.pipeline.checks.detection import Detection
from serving.pipeline.digest import digest_of
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.text.folding import straight_apostrophes

PATTERNS: Final = Path(__file__).with_name("patterns.yaml")
SENTENCE_LIMIT: Final = 400  # characters of a sentence that are matched
TEXT_LIMIT: Final = 200_000  # characters of a text that are matched

_BREAK: Final = re.compile(r"[\n|]+|(?<=[.!?])[ \t]+")


class InjectionPatterns(BaseModel):
    """The content of patterns.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patterns: dict[str, tuple[str, ...]]  # by kind: override | role | secrecy | answer | code
    verbs: tuple[str, ...]


def find_injections(text: str) -> list[Detection]:
    """The sentences that instruct the model, with the first kind that matches; the score of n matching patterns is 1 − ½ⁿ."""
    detections: list[Detection] = []
    for start, end in _sentences(text):
        kinds = matching_kinds(text[start : min(end, start + SENTENCE_LIMIT)])
        if kinds:
            detections.append(Detection(kinds[0], text[start:end], start, end, 1 - 0.5 ** len(kinds)))
    return detections


def patterns_digest() -> str:
    """Digest of the patterns: part of the version of whatever uses them."""
    return digest_of(PATTERNS.read_text(encoding="utf-8"))[:8]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """The span of each sentence, without white space around it."""
    position, limit = 0, min(len(text), TEXT_LIMIT)
    breaks = [(match.start(), match.end()) for match in _BREAK.finditer(text, 0, limit)]
    for end, next_start in [*breaks, (limit, limit)]:
        sentence = text[position:end].strip()
        if sentence:
            start = text.index(sentence, position)
            yield start, start + len(sentence)
        position = next_start


def matching_kinds(sentence: str) -> list[str]:
    """The kind of every pattern that a sentence matches, in the order of the file."""
    lower = straight_apostrophes(sentence.casefold())
    return [kind for kind, patterns in _compiled().items() for pattern in patterns if pattern.search(lower)]


@cache
def _compiled() -> dict[str, tuple[re.Pattern[str], ...]]:
    file = InjectionPatterns.model_validate(load_plain(PATTERNS.read_text(encoding="utf-8")))
    verbs = "|".join(file.verbs)
    return {kind: tuple(re.compile(line.replace("{verbs}", verbs)) for line in lines) for kind, lines in file.patterns.items()}
