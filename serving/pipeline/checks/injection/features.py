"""The features of a sentence that may be an order to the model: what its words do, and how they fit the text around it."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.text.folding import straight_apostrophes, without_accents
from serving.pipeline.text.stopwords import STOP_WORDS

LEXICON: Final = Path(__file__).with_name("lexicon.yaml")
_TOKEN: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[?:\"“”«»`]|<\||\||#")
_LINK: Final = re.compile(r"https?://|www\.|\b[\w-]{1,40}@[\w-]{1,40}\.|\b[a-z0-9-]{2,40}\.(?:com|org|net|xyz|io|info|de|fr)\b")
_SPEAKER: Final = re.compile(
    r"\A\W{0,6}(?:system|assistant|developer|admin|instruction|user|human)\b[\w ]{0,20}:|\A\W{0,4}(?:<\||\[/?inst|<<sys)"
)
_QUOTES: Final = frozenset('"“”«»`')
_NEAR: Final = 6  # words between which two belong together


@dataclass(frozen=True, slots=True)
class TextContext:
    """The text around a sentence, as the features need it."""

    stems: Mapping[str, int]  # how often each content word occurs, the sentence included
    words: int
    rows: float  # the share of lines that are rows of a table

    @classmethod
    def of(cls, text: str) -> "TextContext":
        """The surroundings that a text gives its sentences."""
        lines = [line for line in text.split("\n") if line.strip()]
        found = content_stems(text)
        return cls(Counter(found), len(found), sum(line.count("|") >= 2 for line in lines) / len(lines) if lines else 0.0)


def content_stems(text: str) -> list[str]:
    """The words of a text that carry meaning, each cut to its first letters, so that its forms are one."""
    folded = without_accents(straight_apostrophes(text)).casefold()
    return [token[:6] for token in _TOKEN.findall(folded) if len(token) > 2 and token not in STOP_WORDS]


def order_features(sentence: str) -> dict[str, float]:
    """What the words of a sentence do, whatever stands around it."""
    folded = without_accents(straight_apostrophes(sentence)).casefold()
    tokens = _TOKEN.findall(folded)
    words = [token for token in tokens if token[0].isalnum()]
    where = _places(words)
    first = _first_act(words)
    letters = sum(character.isalpha() for character in sentence)
    found = {
        "length": math.log1p(len(words)) / 3,
        "first_generate": float(first in _class("generate")),
        "first_alter": float(first in _class("alter")),
        "first_act": float(first in _class("act")),
        "first_override": float(first in _class("override")),
        "first_question": float(first in _class("question")),
        "first_modal": float(first in _class("modal")),
        "first_capital": float(sentence[:1].isupper()),
        "asks": float("?" in tokens),
        "quotes": float(not _QUOTES.isdisjoint(tokens)),
        "colon": float(":" in tokens),
        "link": float(bool(_LINK.search(folded))),
        "speaker": float(bool(_SPEAKER.search(folded))),
        "digits": sum(character.isdigit() for character in sentence) / max(1, len(sentence)),
        "capitals": sum(character.isupper() for character in sentence) / max(1, letters),
    }
    found |= {f"has_{name}": float(bool(where.get(name))) for name in _PRESENT}
    found |= {f"{one}_{other}": float(_near(where.get(one, ()), where.get(other, ()))) for one, other in _PAIRS}
    found["override_earlier_instruction"] = found["override_instruction"] * found["earlier_instruction"]
    found["request"] = max(found["first_generate"], found["first_alter"], found["first_override"])
    return found


def place_features(sentence: str, around: TextContext, order: Mapping[str, float]) -> dict[str, float]:
    """How strange a sentence is in the text around it, above all one that asks for something."""
    own = Counter(content_stems(sentence))
    rest = max(0, around.words - sum(own.values()))
    known = sum(1 for word in own if around.stems.get(word, 0) > own[word])
    strange = 1 - known / len(own) if own and rest else 0.5
    asks = max(order["asks"], order["first_question"])
    return {
        "strange": strange,
        "strange_request": strange * order["request"],
        "strange_question": strange * asks,
        "strange_answer": strange * order["yours_answer"],
        "rest": math.log1p(min(rest, 400)) / 6,
        "rows": around.rows,
        "rows_request": around.rows * order["request"],
        "rows_question": around.rows * asks,
    }


_PRESENT: Final = (
    *("override", "instruction", "earlier", "answer", "yours", "model", "user", "secret", "reveal", "never", "only", "now"),
    *("role", "ours", "code", "content"),
)
_PAIRS: Final = (
    *(("override", "instruction"), ("earlier", "instruction"), ("yours", "instruction"), ("yours", "answer"), ("yours", "model")),
    *(("yours", "role"), ("now", "yours"), ("now", "instruction"), ("reveal", "instruction"), ("reveal", "secret"), ("never", "user")),
    *(("alter", "answer"), ("generate", "content"), ("only", "answer"), ("yours", "code"), ("never", "instruction"), ("model", "role")),
    *(("user", "answer"), ("alter", "content"), ("alter", "code")),
)


def _first_act(words: Sequence[str]) -> str:
    """The first word behind politeness."""
    polite = _class("polite")
    return next((word for word in words[:5] if word not in polite), "")


def _places(words: Sequence[str]) -> dict[str, list[int]]:
    """Where the words of each class stand."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        for name in _names().get(word, ()):
            places.setdefault(name, []).append(place)
    return places


def _near(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a place of the one is near a different place of the other; both are in order."""
    position = 0
    for place in one:
        while position < len(other) and other[position] < place - _NEAR:
            position += 1
        for candidate in _until(other, position, place + _NEAR):
            if candidate != place:
                return True
    return False


def _until(places: Sequence[int], first: int, last: int) -> Iterator[int]:
    for position in range(first, min(len(places), first + 2 * _NEAR + 1)):
        if places[position] > last:
            return
        yield places[position]


def _class(name: str) -> frozenset[str]:
    return _classes()[name]


@cache
def _classes() -> Mapping[str, frozenset[str]]:
    return {name: frozenset(words) for name, words in load_plain(LEXICON.read_text(encoding="utf-8")).items()}


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    """The classes of each word."""
    names: dict[str, list[str]] = {}
    for name, words in _classes().items():
        for word in words:
            names.setdefault(word, []).append(name)
    return {word: tuple(found) for word, found in names.items()}
