"""Splits a compound question."""

import re
from dataclasses import dataclass
from typing import Final

_QUESTION_WORD: Final = (
    r"(?:who(?:m|se)?|what|when|where|which|why|how|is|are|does|do|did|can|must|should"
    r"|(?:by|until|from) when|to whom|(?:at|in|on|under) (?:what|which)|for how|within)"
)
_END: Final = r"(?=[?.,;]|$)"
_GAP: Final = r"\s{1,4}"
_SIDE_A: Final = r"(?P<a>.{1,120}?)"
_SIDE_B: Final = rf"(?P<b>.{{1,120}}?){_END}"
_AND: Final = re.compile(rf"(?:,|;)?{_GAP}(?:and|but|plus|as well as){_GAP}(?:also{_GAP})?(?={_QUESTION_WORD}\b)", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"\bbetween{_GAP}{_SIDE_A}{_GAP}and{_GAP}{_SIDE_B}", re.IGNORECASE)
_COMPARE: Final = re.compile(rf"^(?P<head>.{{0,200}}?)\bcompare{_GAP}{_SIDE_A}{_GAP}(?:with|to|and|against){_GAP}{_SIDE_B}", re.IGNORECASE)
_DIFFER: Final = re.compile(
    rf"\bhow (?:do|does){_GAP}{_SIDE_A}{_GAP}(?:differ from|compare (?:with|to)|differ to){_GAP}{_SIDE_B}", re.IGNORECASE
)
_VERSUS: Final = re.compile(
    rf"(?P<a>\b(?<![\w-])[\w-]{{1,40}}(?:\s[\w-]{{1,40}})?){_GAP}(?:versus|vs\.?|compared (?:with|to)|rather than){_GAP}{_SIDE_B}",
    re.IGNORECASE,
)
_EITHER: Final = re.compile(r",\s{0,4}(?P<a>[^,?]{1,120}?)\s{1,4}or\s{1,4}(?P<b>[^,?]{1,120}?)\s{0,4}\?", re.IGNORECASE)
_LEAD: Final = re.compile(r"\A.{0,200}?\b(?:of|for|in|at|from|with|under|by|to)\s{1,4}(?:the\s{1,4})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subquestion:
    """One part of a compound question; `about` is the question whose names and codes it refers back to."""

    text: str
    refers_to: str = ""
    compared: bool = False  # one of two things to compare


def split_question(text: str) -> list[Subquestion]:
    """The subquestions of a question, in order; one for a simple question."""
    questions = [question.strip() for question in re.findall(r"[^?]+\?|[^?]+$", text) if len(question.split()) > 2]
    if not questions:
        return [Subquestion(text)]
    subquestions: list[Subquestion] = []
    for question in questions:
        for position, clause in enumerate(_AND.split(question)):
            subquestions += _sides(clause.strip(" ,;"), "" if not subquestions and not position else questions[0])
    if len(subquestions) == 1:
        return [Subquestion(text, compared=subquestions[0].compared)]
    return subquestions[:4]


def _sides(clause: str, about: str) -> list[Subquestion]:
    for pattern in (_BETWEEN, _COMPARE, _DIFFER, _VERSUS, _EITHER):
        match = pattern.search(clause)
        if match and len(match["a"].split()) <= 12 and len(match["b"].split()) <= 14:
            before, after = clause[: match.start()], clause[match.end() :]
            sides = _with_shared_words(match["a"], match["b"])
            return [Subquestion(f"{before} {side} {after}".strip(" ?") + "?", about, compared=True) for side in sides]
    return [Subquestion(clause, about)]


def _with_shared_words(one: str, other: str) -> tuple[str, str]:
    """Both sides with the common words that only one of them carries: "the fee of A" and "B" → "the fee of A", "the fee of B"."""
    lead = _LEAD.match(one)
    if lead and not _LEAD.match(other):
        other = f"{lead[0]}{other}"
    tail = [word for word in other.split() if word.islower() and word not in one.split()]
    return f"{one} {' '.join(tail)}".strip(), other
