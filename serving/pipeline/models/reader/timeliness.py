"""Prefers passages in force to outdated ones, unless the question asks about the past."""

import re
from collections.abc import Sequence
from typing import Final

from serving.pipeline.models.reader.prompt_task import Passage
from serving.pipeline.models.reader.question import ParsedQuestion

_OUTDATED_STATUS: Final = re.compile(r"superseded|obsolete|withdrawn|archived|expired|replaced|retired|draft|historical", re.IGNORECASE)


def is_outdated(passage: Passage) -> bool:
    """Whether a passage's own status says that it no longer holds."""
    return bool(_OUTDATED_STATUS.search(passage.status))


_PREFERRED: Final = 1.0
_REJECTED: Final = -1.0


def timeliness(question: ParsedQuestion, passages: Sequence[Passage]) -> dict[int, float]:
    """By passage number: 1 for a version that is asked for, -1 for one that is outdated or not in force yet, 0 for the rest."""
    outdated = {passage.number for passage in passages if is_outdated(passage)}
    named = {passage.number for passage in passages if _is_named(question, passage)}
    if question.change or not outdated or len(outdated) == len(passages):
        return {passage.number: _PREFERRED if passage.number in named and not question.change else 0.0 for passage in passages}
    if named:
        return {passage.number: _PREFERRED if passage.number in named else 0.0 for passage in passages}
    asked_year = max(question.years, default="")
    newest_year = max(passage.effective[:4] for passage in passages)
    if question.older or (asked_year and asked_year < newest_year):
        asked_until = str(int(asked_year) - 1) if asked_year in question.years_before else asked_year or newest_year
        return {
            passage.number: _PREFERRED
            if passage.number in outdated and passage.effective[:4] <= asked_until
            else _REJECTED
            if asked_year and passage.effective[:4] > asked_until
            else 0.0
            for passage in passages
        }
    return {passage.number: _REJECTED if passage.number in outdated else 0.0 for passage in passages}


def _is_named(question: ParsedQuestion, passage: Passage) -> bool:
    """Whether the question names a passage by its version, or by a year in its title."""
    if any(year in passage.title for year in question.years - question.years_before):
        return True
    version = re.escape(passage.version.removeprefix("v"))
    return bool(version) and bool(re.search(rf"\b(?:v|version|revision|issue|edition)\s*\.?{version}\b", question.text, re.IGNORECASE))
