"""Insults, profanity and threats in a text, by the small lexicon in toxicity.yaml."""

import re
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from serving.pipeline.checks.detection import Detection
from serving.pipeline.digest import digest_of
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.text.answer_words import normalized
from serving.pipeline.text.folding import straight_apostrophes
from serving.pipeline.text.offsets import normalize_with_offsets

LEXICON: Final = Path(__file__).with_name("toxicity.yaml")
Severity = Literal["mild", "strong", "severe"]
WEIGHTS: Final[dict[Severity, float]] = {"mild": 0.25, "strong": 0.5, "severe": 1.0}
TEXT_LIMIT: Final = 50_000  # characters of a text that are looked at


class ToxicLexicon(BaseModel):
    """The content of toxicity.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: dict[Severity, tuple[str, ...]]


def find_toxic(text: str) -> list[Detection]:
    """Each toxic word or phrase in the first `MOST` characters, in their order; the kind is the severity, the score its weight."""
    text = text[:TEXT_LIMIT]
    if not _search(normalized(text)):  # the common case
        return []
    offsets = normalize_with_offsets(text)
    matches = [(severity, *offsets.source_span(start, end)) for severity, start, end in _search(offsets.text)]
    return sorted((Detection(severity, text[start:end], start, end, WEIGHTS[severity]) for severity, start, end in matches), key=_span_of)


def _span_of(detection: Detection) -> tuple[int, int]:
    return detection.start, detection.end


def lexicon_digest() -> str:
    """Digest of the lexicon: part of the version of whatever uses it."""
    return digest_of(LEXICON.read_text(encoding="utf-8"))[:8]


def _search(folded: str) -> list[tuple[Severity, int, int]]:
    folded = straight_apostrophes(folded)
    return [(severity, match.start(), match.end()) for severity, pattern in _compiled().items() for match in pattern.finditer(folded)]


@cache
def _compiled() -> dict[Severity, re.Pattern[str]]:
    words = ToxicLexicon.model_validate(load_plain(LEXICON.read_text(encoding="utf-8"))).words
    return {severity: re.compile(rf"(?<!\w)(?:{'|'.join(map(_pattern, entries))})(?!\w)") for severity, entries in words.items()}


def _pattern(entry: str) -> str:
    return re.escape(entry.removesuffix("*")) + (r"\w{0,12}" if entry.endswith("*") else "")
