"""The difference of two golden sets: cases added, removed and changed, and cases that moved to the other split."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.golden.case import Case
from harness.golden.sets import GoldenSet, SplitName
from harness.golden.similarity import question_words


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of one case, before and after."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ChangedCase:
    """A case of both sets that differs; `was` is its old id where it was matched by its question."""

    id: str
    changes: tuple[FieldChange, ...]
    was: str = ""


@dataclass(frozen=True, slots=True)
class MovedCase:
    """A case that is in the tune split of one set and in the holdout of the other."""

    id: str
    before: SplitName
    after: SplitName


@dataclass(frozen=True, slots=True)
class SetDiff:
    """Everything that differs between two sets."""

    before: str
    after: str
    card: tuple[FieldChange, ...]
    added: tuple[Case, ...]
    removed: tuple[Case, ...]
    changed: tuple[ChangedCase, ...]
    moved: tuple[MovedCase, ...]
    same: int  # cases that are in both, unchanged

    @property
    def to_holdout(self) -> tuple[str, ...]:
        """Cases that the holdout has and a search may have seen."""
        return tuple(case.id for case in self.moved if case.after == "holdout")

    @property
    def to_tune(self) -> tuple[str, ...]:
        """Cases that a search will see and that were held out."""
        return tuple(case.id for case in self.moved if case.after == "tune")


def diff_sets(before: GoldenSet, after: GoldenSet) -> SetDiff:
    """Compare two sets case by case; cases are matched by id, then by question."""
    matching = _matching_cases(before, after)
    changed: list[ChangedCase] = []
    moved: list[MovedCase] = []
    for case in after.cases:
        old = matching.get(case.id)
        if old is None:
            continue
        sides = before.split_of(old), after.split_of(case)
        if sides[0] != sides[1]:
            moved.append(MovedCase(case.id, *sides))
        if changes := tuple(_changes(old.model_dump(mode="json"), case.model_dump(mode="json"))):
            changed.append(ChangedCase(case.id, changes, old.id if old.id != case.id else ""))
    matched = {case.id for case in matching.values()}
    return SetDiff(
        before.id,
        after.id,
        tuple(change for change in _changes(before.card.model_dump(), after.card.model_dump()) if change.field != "version"),
        tuple(case for case in after.cases if case.id not in matching),
        tuple(case for case in before.cases if case.id not in matched),
        tuple(changed),
        tuple(moved),
        len(matching) - len(changed),
    )


def _matching_cases(before: GoldenSet, after: GoldenSet) -> dict[str, Case]:
    """The old case for the id of each new case that has one."""
    old = {case.id: case for case in before.cases}
    matching = {case.id: old[case.id] for case in after.cases if case.id in old}
    unmatched = {_question_key(case): case for case in before.cases if case.id not in matching}
    for case in after.cases:
        if case.id not in matching and (old_case := unmatched.pop(_question_key(case), None)):
            matching[case.id] = old_case
    return matching


def _question_key(case: Case) -> tuple[object, ...]:
    return (question_words(case), case.principal_groups)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterable[FieldChange]:
    return [FieldChange(name, before[name], after[name]) for name in after if name != "id" and before[name] != after[name]]


def short_json(value: Any, most: int = 80) -> str:
    """A field's value as JSON on one line, truncated."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"
