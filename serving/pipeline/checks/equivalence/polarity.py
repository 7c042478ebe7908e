"""Which way a question points: its denials, its opposites, and whether it asks to switch on or off."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import words_of
from serving.pipeline.checks.grounding.opposites import PAIRS
from serving.pipeline.text.stems import stem

_FILE: Final = Path(__file__).with_name("opposites.txt")  # a line for each word: its antonyms
_DENIALS: Final = words_of(
    """
    not no never cannot without none nobody nothing neither nor nowhere lack lacks lacking unable impossible fail fails failed
    isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt shouldnt mustnt hasnt havent hadnt aint
    """
)
_FALSE_DENIALS: Final = frozenset(
    [
        ("not", "only"),
        ("not", "just"),
        ("no", "matter"),
        ("no", "doubt"),
        ("or", "not"),
        ("or", "no"),
        ("no", "longer"),
        ("why", "not"),
        ("if", "not"),
    ]
)
_PREFIXES: Final = ("un", "dis", "non", "ir", "im", "mis")
_LEAST: Final = 4  # letters of a word that takes a prefix
_PARTICLES: Final = frozenset(["on", "off", "in", "out", "up", "down"])
_SWITCHES: Final = words_of(
    "turn turns turned turning switch switches switched switching power powers powering shut put set keep leave toggle lights go"
)
_REACH: Final = 6  # tokens between "turn" and its "off"
_DOORS: Final = words_of(
    "log logs logged logging sign signs signed signing check checks checked checking opt opting clock clocking opted phase zoom"
)
_ON: Final = frozenset(["enable", "enables", "enabled", "enabling", "activate", "activates", "activated", "activating"])
_OFF: Final = frozenset(["disable", "disables", "disabled", "disabling", "deactivate", "deactivates", "deactivated", "deactivating"])


@cache
def _table() -> dict[str, frozenset[str]]:
    opposites: dict[str, frozenset[str]] = {}
    lines = (line.split() for line in _FILE.read_text(encoding="utf-8").splitlines())
    more = ((word.removesuffix(":"), antonym) for word, *antonyms in lines for antonym in antonyms)
    for one, other in (map(stem, pair) for pair in (*map(str.split, PAIRS), *more)):
        if one != other:
            opposites[one] = opposites.get(one, frozenset()) | {other}
            opposites[other] = opposites.get(other, frozenset()) | {one}
    return opposites


def denials(tokens: Sequence[Token]) -> int:
    """How often a question denies."""
    count = 0
    for index, token in enumerate(tokens):
        if token.kind != "word" or not (token.text in _DENIALS or token.text.endswith("n't")):
            continue
        before = tokens[index - 1].text if index else ""
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        comparative = token.text in ("no", "not") and after in ("more", "less", "later", "earlier", "fewer")
        count += not ((before, token.text) in _FALSE_DENIALS or (token.text, after) in _FALSE_DENIALS or comparative)
    return count


def switches(tokens: Sequence[Token]) -> frozenset[str]:
    """The states that a question speaks of: on, off, in, out."""
    states: set[str] = set()
    last: dict[str, int] = {}
    for index, token in enumerate(tokens):
        word = token.text
        if word in _ON or word in _OFF:
            states.add("on" if word in _ON else "off")
        elif word in _SWITCHES:
            last["switch"] = index
        elif word in _DOORS:
            last["door"] = index
        elif word in ("on", "off") and index - last.get("switch", -99) <= _REACH:
            states.add(word)
            del last["switch"]
        elif word in ("in", "into", "out", "off") and index - last.get("door", -99) <= 2:
            states.add("in" if word in ("in", "into") else "out")
            del last["door"]
    return frozenset(states)


def opposed(one: Counter[str], other: Counter[str]) -> tuple[str, str] | None:
    """A word of one question whose antonym the other has instead, and that antonym; both as stems."""
    table = _table()
    only, instead = one - other, other - one
    for word in only:
        for antonym in sorted(table.get(word, ())):
            if antonym in instead and not (antonym in one and word in other):
                return word, antonym
        for prefix in _PREFIXES:
            if len(word) >= _LEAST and (prefix + word) in instead:
                return word, prefix + word
    return None
