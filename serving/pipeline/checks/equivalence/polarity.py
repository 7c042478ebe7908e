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
    not no non never cannot without unless none nobody nothing neither nor nowhere lack lacks lacking unable impossible fail fails failed
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
    ]
)
_DENIAL_REACH: Final = 3  # tokens after a "not" that may be what it denies
_PREFIXES: Final = ("un", "dis", "non", "ir", "im", "mis")
_LEAST: Final = 4  # letters of a word that takes a prefix
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
def _pairs() -> tuple[tuple[str, str], ...]:
    lines = (line.split() for line in _FILE.read_text(encoding="utf-8").splitlines())
    more = ((word.removesuffix(":"), antonym) for word, *antonyms in lines for antonym in antonyms)
    return *((one, other) for one, other in map(str.split, PAIRS)), *more


@cache
def _table() -> dict[str, frozenset[str]]:
    opposites: dict[str, frozenset[str]] = {}
    for one, other in ((stem(one), stem(other)) for one, other in _pairs()):
        if one != other:
            opposites[one] = opposites.get(one, frozenset()) | {other}
            opposites[other] = opposites.get(other, frozenset()) | {one}
    return opposites


def antonyms_as_written() -> dict[str, str]:
    """One antonym for every word that has some."""
    found: dict[str, str] = {}
    for one, other in _pairs():
        found.setdefault(one, other)
        found.setdefault(other, one)
    return found


def denied_words(tokens: Sequence[Token]) -> tuple[frozenset[str], ...]:
    """For every denial of a question, the stems that follow it closely."""
    found: list[frozenset[str]] = []
    for index, token in enumerate(tokens):
        if token.kind != "word" or not (token.text in _DENIALS or token.text.endswith("n't")):
            continue
        before = tokens[index - 1].text if index else ""
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        comparative = token.text in ("no", "not") and after in ("more", "less", "later", "earlier", "fewer")
        reply = not index and after == ","  # "No, it is not"
        if not (reply or comparative or (before, token.text) in _FALSE_DENIALS or (token.text, after) in _FALSE_DENIALS):
            found.append(frozenset(stem(other.text) for other in tokens[index + 1 : index + 1 + _DENIAL_REACH] if other.kind == "word"))
    return tuple(found)


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


def opposed(one: Counter[str], other: Counter[str]) -> list[tuple[str, str]]:
    """The words of one question whose antonyms the other has instead, with these antonyms; all as stems."""
    table = _table()
    only, instead = one - other, other - one
    pairs: list[tuple[str, str]] = []
    for word in only:
        antonyms = sorted(table.get(word, ()))
        pairs += [(word, antonym) for antonym in antonyms if antonym in instead and not (antonym in one and word in other)]
        pairs += [(word, prefix + word) for prefix in _PREFIXES if len(word) >= _LEAST and (prefix + word) in instead]
        bare = [word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)]
        pairs += [(word, rest) for rest in bare if len(rest) >= _LEAST and rest in instead]
    return pairs


def denied_instead(pairs: Sequence[tuple[str, str]], one: Sequence[frozenset[str]], other: Sequence[frozenset[str]]) -> bool:
    """Whether one question denies the antonym of what the other says: "not allowed" for "forbidden"."""
    if len(pairs) != 1 or abs(len(one) - len(other)) != 1:
        return False
    word, antonym = pairs[0]
    return any(word in denied for denied in one) != any(antonym in denied for denied in other)
