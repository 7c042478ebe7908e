"""What kind of answer a question asks for: a person, a time, a place, an amount, a reason, a way, yes or no."""

from collections.abc import Sequence
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import words_of

_NOUNS: Final = {
    noun: kind
    for kind, nouns in {
        "duration": "period duration term",
        "time": "time date day days year years month deadline when",
        "reason": "reason reasons cause causes",
        "way": "way ways method methods step steps procedure process trick tricks",
        "place": "place places city cities country countries location site website websites",
        "person": "person people team manager man woman guy",
        "amount": "number amount sum price cost costs fee rate percentage share limit cap maximum minimum size height weight age total",
    }.items()
    for noun in nouns.split()
}
_AFTER_HOW: Final = {
    **dict.fromkeys(["long", "soon", "quickly", "fast", "late", "early"], "duration"),
    **dict.fromkeys(["often", "frequently", "regularly"], "frequency"),
    **dict.fromkeys(words_of("many much old big large high far tall heavy deep hot cold wide small low"), "amount"),
    "come": "reason",
}
_TIME_NOUNS: Final = words_of("second seconds minute minutes hour hours day days week weeks month months year years time")
_AUXILIARIES: Final = words_of(
    """
    is are am was were do does did can could will would shall should may must has have had isn't aren't doesn't don't can't won't
    didn't
    """
)
_LEADS: Final = words_of("and or , by since until from at for in on to of so but then : ; . ? ! ( till under up after before within with")
_REACH: Final = 5  # words between "what" and the noun that tells
_PAIRS: Final = (
    "time,duration|duration,amount|duration,frequency|amount,frequency|time,frequency|place,way|possible,way|possible,place|possible,amount|"
    "possible,yes or no|possible,time|possible,duration"
)
_COMPATIBLE: Final = frozenset(frozenset(pair.split(",")) for pair in _PAIRS.split("|"))


def asked_kinds(tokens: Sequence[Token]) -> frozenset[str]:
    """The kinds of answer that the clauses of a question ask for; empty where no word tells."""
    words = [token.text for token in tokens]
    kinds: set[str] = set()
    for index, word in enumerate(words):
        before = words[index - 1] if index else "."
        leads = before in _LEADS
        after = words[index + 1] if index + 1 < len(words) else ""
        if word == "how" and (leads or index < 4):
            kinds.add(_after_how(words, index, after))
        elif word == "why" and (leads or index < 4):
            kinds.add("reason")
        elif word == "when" and leads and (index == 0 or before != "." or _asks(tokens, index)):
            kinds.add("time")
        elif word == "where" and leads:
            kinds.add("place")
        elif word in ("who", "whom", "whose") and leads:
            kinds.add("person")
        elif word in ("what", "which", "what's", "whats") and (leads or index < 4):
            kinds.add(_after_what(words, index))
    if not kinds and words and words[0] in _AUXILIARIES and words[:2] != ["do", "not"]:
        kinds.add("possible" if words[0] in ("can", "could") or words[:2] == ["is", "there"] or "possible" in words[:4] else "yes or no")
    return frozenset(kinds)


def _asks(tokens: Sequence[Token], index: int) -> bool:
    after = tokens[index + 1].text if index + 1 < len(tokens) else ""
    return after in _AUXILIARIES


def _after_how(words: Sequence[str], index: int, after: str) -> str:
    if after in ("many", "much"):
        nouns = words[index + 2 : index + 4]
        return "duration" if any(noun in _TIME_NOUNS for noun in nouns) and "times" not in nouns else "amount"
    return _AFTER_HOW.get(after, "way")


def _after_what(words: Sequence[str], index: int) -> str:
    for word in words[index + 1 : index + 1 + _REACH]:
        if word in _NOUNS:
            return _NOUNS[word]
        if word in ("do", "does", "did", "if", "of", "should", "would", "can", "?", ","):
            break
    return "thing"


def asks_else(one: frozenset[str], other: frozenset[str]) -> tuple[str, str] | None:
    """What the two questions ask for where that cannot be one answer."""
    if not one or not other or one & other or "thing" in one | other:
        return None
    if any(frozenset({first, second}) in _COMPATIBLE for first in one for second in other):
        return None
    return min(one), min(other)
