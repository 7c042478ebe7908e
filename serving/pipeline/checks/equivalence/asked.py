"""What kind of answer a question asks for: a person, a time, a place, an amount, a reason, a way, yes or no."""

from collections.abc import Sequence
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import words_of

ASKED: Final = (
    "thing", "way", "reason", "person", "place", "time", "duration", "amount", "measure", "possible", "yes or no", "frequency", "dates",
)  # fmt: skip
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
_TIME_PLURALS: Final = words_of("days weeks months years hours minutes")
_AUXILIARIES: Final = words_of(
    """
    is are am was were do does did can could will would shall should may must has have had isn't aren't doesn't don't can't won't
    didn't
    """
)
_CLAUSE_STARTS: Final = words_of("and or but so then because if , ; : . ? ! (")
_PREPOSITIONS: Final = words_of("by since until till from at for in on to of under up after before within with about")
_STOPS: Final = words_of(", ; : . ? ! (")
_EARLY: Final = 4  # within so many words, "how", "why", "what" and "which" ask: "tell me how"
_REACH: Final = 5  # words between "what" and the noun that tells
_MEASURES: Final = words_of(
    """
    amount sum number total count quantity cost costs charge charges price fee rate percentage share portion proportion
    ratio size length width height depth distance range reach speed temperature weight age salary wage wages bonus discount budget limit
    ceiling cap floor level capacity minimum maximum most least difference value score reward population average median
    """
)
_PAYING: Final = words_of("pay pays paid worth")
_PAIRS: Final = (
    "time,duration|time,dates|duration,amount|duration,frequency|amount,frequency|time,frequency|place,way|possible,way|possible,place|possible,amount|"
    "possible,yes or no|possible,time|possible,duration"
)
_COMPATIBLE: Final = frozenset(frozenset(pair.split(",")) for pair in _PAIRS.split("|"))


def asked_kinds(tokens: Sequence[Token]) -> tuple[str, ...]:
    """The kinds of answer that the clauses of a question ask for, in their order and once each; none where no word tells.

    A "thing" may be anything but an amount; a "measure" is a thing that may be an amount too.
    """
    words = [token.text for token in tokens]
    kinds = dict.fromkeys(kind for index in range(len(words)) if (kind := _asked_at(words, index)))
    if not kinds and words and words[0] in _AUXILIARIES and words[:2] != ["do", "not"]:
        possible = words[0] in ("can", "could") or words[:2] == ["is", "there"] or "possible" in words[:4]
        return ("possible" if possible else "yes or no",)
    return tuple(kinds) or ("time",) * (words[:1] == ["when"])


def _asked_at(words: Sequence[str], index: int) -> str:
    """The kind of answer that the word at a place asks for, if it asks."""
    word = words[index]
    after = words[index + 1] if index + 1 < len(words) else ""
    if word in ("how", "why", "what", "which", "what's", "whats") and (index < _EARLY or _begins(words, index)):
        return _after_how(words, index, after) if word == "how" else "reason" if word == "why" else _after_what(words, index)
    if word == "when" and _begins(words, index) and (after in _AUXILIARIES or (index and words[index - 1] not in _STOPS)):
        return "time"
    if word in ("where", "who", "whom", "whose") and _begins(words, index):
        return "place" if word == "where" else "person"
    return ""


def _begins(words: Sequence[str], index: int) -> bool:
    """Whether a clause begins there, a preposition before it included."""
    before = index - 1 if index and words[index - 1] in _PREPOSITIONS else index
    return before == 0 or words[before - 1] in _CLAUSE_STARTS


def _after_how(words: Sequence[str], index: int, after: str) -> str:
    if after in ("many", "much"):
        nouns = words[index + 2 : index + 4]
        return "duration" if any(noun in _TIME_NOUNS for noun in nouns) and "times" not in nouns else "amount"
    return _AFTER_HOW.get(after, "way")


def _after_what(words: Sequence[str], index: int) -> str:
    if not _TIME_PLURALS.isdisjoint(words[index + 1 : index + 3]):  # "which days": not how many
        return "dates"
    for word in words[index + 1 : index + 1 + _REACH]:
        if word in _NOUNS:
            return _NOUNS[word]
        if word in ("do", "does", "did", "if", "of", "should", "would", "can", "?", ","):
            break
    if words[index] == "which":  # the noun after it says what is asked for
        return "thing" if _MEASURES.isdisjoint(words[index + 1 : index + 3]) else "measure"
    return "thing" if (_MEASURES | _PAYING).isdisjoint(words) else "measure"


def asks_else(one: Sequence[str], other: Sequence[str]) -> tuple[str, str] | None:
    """What the two questions ask for where that cannot be one answer: the first of each must be among the other's."""
    if not one or not other:
        return None
    if not any(_fits(one[0], kind) for kind in other):
        return one[0], other[0]
    return None if any(_fits(other[0], kind) for kind in one) else (one[0], other[0])


def _fits(kind: str, other: str) -> bool:
    pair = {kind, other}
    if kind == other or "measure" in pair:
        return True
    return "amount" not in pair if "thing" in pair else frozenset(pair) in _COMPATIBLE
