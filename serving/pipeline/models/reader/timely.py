"""Prefers what holds now to what held once, unless the question asks about then."""

import re
from collections.abc import Sequence
from typing import Final

from serving.pipeline.models.reader.brief import Passage
from serving.pipeline.models.reader.question import ParsedQuestion

_GONE: Final = re.compile(r"superseded|obsolete|withdrawn|archived|expired|replaced|retired|draft|historical", re.IGNORECASE)
_FAVOUR: Final = 1.0
_AGAINST: Final = -1.0


def timeliness(question: ParsedQuestion, passages: Sequence[Passage]) -> dict[int, float]:
    """1 for what is asked about, -1 for what no longer or not yet held, 0 for the rest, by the number of the passage."""
    gone = {passage.number for passage in passages if _GONE.search(passage.status)}
    named = {passage.number for passage in passages if _names(question, passage)}
    if question.change or not gone or len(gone) == len(passages):
        return {passage.number: _FAVOUR if passage.number in named and not question.change else 0.0 for passage in passages}
    if named:
        return {passage.number: _FAVOUR if passage.number in named else 0.0 for passage in passages}
    asked_year = max(question.years, default="")
    now = max(passage.effective[:4] for passage in passages)
    if question.older or (asked_year and asked_year < now):
        then = asked_year or now
        return {
            passage.number: _FAVOUR
            if passage.number in gone and passage.effective[:4] <= then
            else _AGAINST
            if asked_year and passage.effective[:4] > asked_year
            else 0.0
            for passage in passages
        }
    return {passage.number: _AGAINST if passage.number in gone else 0.0 for passage in passages}


def _names(question: ParsedQuestion, passage: Passage) -> bool:
    """Whether the question names a passage by its version, or by a year in its title."""
    if any(year in passage.title for year in question.years):
        return True
    version = re.escape(passage.version.removeprefix("v"))
    return bool(version) and bool(re.search(rf"\b(?:v|version|revision|issue|edition)\s*\.?{version}\b", question.text, re.IGNORECASE))
