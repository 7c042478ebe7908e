"""Splits a compound question."""

import re
from dataclasses import dataclass
from typing import Final

_QUESTION_WORD: Final = (
    r"(?:who(?:m|se)?|what|when|where|which|why|how|is|are|does|do|did|can|must|should"
    r"|(?:by|until|from) when|to whom|(?:at|in|on|under) (?:what|which)|for how|within)"
)
_END: Final = r"(?=[?.,;]|$)"
_AND: Final = re.compile(rf"(?:,|;)?\s+(?:and|but|plus|as well as)\s+(?:also\s+)?(?={_QUESTION_WORD}\b)", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"\bbetween\s+(?P<a>.+?)\s+and\s+(?P<b>.+?){_END}", re.IGNORECASE)
_COMPARE: Final = re.compile(rf"^(?P<head>.*?)\bcompare\s+(?P<a>.+?)\s+(?:with|to|and|against)\s+(?P<b>.+?){_END}", re.IGNORECASE)
_DIFFER: Final = re.compile(
    rf"\bhow (?:do|does)\s+(?P<a>.+?)\s+(?:differ from|compare (?:with|to)|differ to)\s+(?P<b>.+?){_END}", re.IGNORECASE
)
_VERSUS: Final = re.compile(
    rf"(?P<a>\b[\w-]+(?:\s[\w-]+)?)\s+(?:versus|vs\.?|compared (?:with|to)|rather than)\s+(?P<b>.+?){_END}", re.IGNORECASE
)
_EITHER: Final = re.compile(r",\s*(?P<a>[^,?]+?)\s+or\s+(?P<b>[^,?]+?)\s*\?", re.IGNORECASE)
_LEAD: Final = re.compile(r".*?\b(?:of|for|in|at|from|with|under|by|to)\s+(?:the\s+)?", re.IGNORECASE)


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
