"""Harmful content by category, by the phrases in content.yaml and the lexicon of toxicity: what it says outright, not what it means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.toxicity import find_toxic, lexicon_digest
from serving.pipeline.digest import digest_of
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.text.folding import straight_apostrophes

PHRASES: Final = Path(__file__).with_name("content.yaml")
TEXT_LIMIT: Final = 4_000  # characters of a text that are looked at
Category = Literal["HATE", "INSULTS", "SEXUAL", "VIOLENCE", "MISCONDUCT"]
Confidence = Literal["low", "medium", "high"]
CONFIDENCE: Final[Mapping[Confidence, float]] = {"low": 0.3, "medium": 0.6, "high": 0.9}

_GAP: Final = r"(?:\W{1,3}\w{1,20}){0,3}\W{1,3}"
_TOKEN: Final = re.compile(r"\{(\w{1,30})\}|\[([^\[\]]{0,500})\]|(\.\.)|([^\s\[\]{}]+)")


class ContentPhrases(BaseModel):
    """The content of content.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: dict[str, tuple[str, ...]]
    categories: dict[Category, dict[Confidence, tuple[str, ...]]]
    harm: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class _Compiled:
    phrases: tuple[tuple[Category, Confidence, re.Pattern[str]], ...]
    harm: frozenset[Category]
    fiction: re.Pattern[str]


def find_content(text: str) -> list[Detection]:
    """The phrases of each category in the first `TEXT_LIMIT` characters; the score is how sure they are."""
    text = text[:TEXT_LIMIT]
    compiled, folded = _compiled(), straight_apostrophes(text.lower())
    if len(folded) != len(text):  # a letter that grows when it is made small: places would shift
        folded = "".join(one if len(one) == 1 else character for character in straight_apostrophes(text) for one in [character.lower()])
    story = bool(compiled.fiction.search(folded))
    detections = [
        Detection(category, text[match.start() : match.end()], match.start(), match.end(), CONFIDENCE[confidence])
        for category, confidence, pattern in compiled.phrases
        if not (story and category in compiled.harm)
        for match in pattern.finditer(folded)
    ]
    detections += [_as_content(one) for one in find_toxic(text) if one.kind != "mild"]
    return sorted(detections, key=lambda one: (one.start, one.end, one.kind))


def _as_content(toxic: Detection) -> Detection:
    """An insult or a threat of the lexicon of toxicity."""
    category: Category = "VIOLENCE" if toxic.kind == "severe" else "INSULTS"
    return Detection(category, toxic.value, toxic.start, toxic.end, CONFIDENCE["high" if toxic.kind == "severe" else "medium"])


def phrases_digest() -> str:
    """Digest of the phrases and the lexicon: part of the version of whatever uses them."""
    return digest_of([PHRASES.read_text(encoding="utf-8"), lexicon_digest()])[:8]


@cache
def _compiled() -> _Compiled:
    file = ContentPhrases.model_validate(load_plain(PHRASES.read_text(encoding="utf-8")))
    phrases = tuple(
        (category, confidence, re.compile(_pattern(line, file.words)))
        for category, levels in file.categories.items()
        for confidence, lines in levels.items()
        for line in lines
    )
    return _Compiled(phrases, frozenset(file.harm), re.compile(rf"\b(?:{_either(file.words['fiction'])})\b"))


def _pattern(line: str, words: Mapping[str, tuple[str, ...]]) -> str:
    parts: list[str] = []
    gap = ""
    for name, options, between, word in _TOKEN.findall(line):
        if between:
            gap = _GAP
            continue
        found = _either(words[name] if name else options.split("|") if options else (word,))
        parts += [gap or (r"\W{1,3}" if parts else ""), rf"(?:{found})"]
        gap = ""
    return rf"\b{''.join(parts)}\b"


def _either(options: "tuple[str, ...] | list[str]") -> str:
    return "|".join(_word(option) for option in sorted(options, key=len, reverse=True))


def _word(option: str) -> str:
    return re.escape(option.removesuffix("*")).replace(r"\ ", r"\W{1,3}") + (r"\w{0,12}" if option.endswith("*") else "")
