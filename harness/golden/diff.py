"""What changed between two golden sets: cases added, removed and changed, and cases that changed sides."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.golden.case import Case
from harness.golden.check_alike import asked
from harness.golden.sets import GoldenSet, SplitName


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of one case, before and after."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Changed:
    """A case that is in both sets, and differs; `was` is its old id where only its question tells that it is the same."""

    id: str
    changes: tuple[FieldChange, ...]
    was: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """A case that one set tunes on and the other holds out."""

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
    changed: tuple[Changed, ...]
    moved: tuple[Moved, ...]
    same: int  # cases that are in both, unchanged

    @property
    def to_holdout(self) -> tuple[str, ...]:
        """Cases that the holdout has and a search may have seen."""
        return tuple(one.id for one in self.moved if one.after == "holdout")

    @property
    def to_tune(self) -> tuple[str, ...]:
        """Cases that a search will see and that were held out."""
        return tuple(one.id for one in self.moved if one.after == "tune")


def diff_sets(before: GoldenSet, after: GoldenSet) -> SetDiff:
    """Compare two sets case by case, by id; a case with a new id is known by its question."""
    partner = _partners(before, after)
    changed: list[Changed] = []
    moved: list[Moved] = []
    for case in after.cases:
        old = partner.get(case.id)
        if old is None:
            continue
        sides = before.split_of(old), after.split_of(case)
        if sides[0] != sides[1]:
            moved.append(Moved(case.id, *sides))
        if changes := tuple(_changes(old.model_dump(mode="json"), case.model_dump(mode="json"))):
            changed.append(Changed(case.id, changes, old.id if old.id != case.id else ""))
    kept = {case.id for case in partner.values()}
    return SetDiff(
        before.id,
        after.id,
        tuple(one for one in _changes(before.card.model_dump(), after.card.model_dump()) if one.field != "version"),
        tuple(case for case in after.cases if case.id not in partner),
        tuple(case for case in before.cases if case.id not in kept),
        tuple(changed),
        tuple(moved),
        len(partner) - len(changed),
    )


def _partners(before: GoldenSet, after: GoldenSet) -> dict[str, Case]:
    """For the id of each new case, the old case that it is."""
    old = {case.id: case for case in before.cases}
    partner = {case.id: old[case.id] for case in after.cases if case.id in old}
    renamed = {_asked(case): case for case in before.cases if case.id not in partner}
    for case in after.cases:
        if case.id not in partner and (found := renamed.pop(_asked(case), None)):
            partner[case.id] = found
    return partner


def _asked(case: Case) -> tuple[object, ...]:
    return (asked(case), case.principal_groups)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterable[FieldChange]:
    return [FieldChange(name, before[name], after[name]) for name in after if name != "id" and before[name] != after[name]]


def shown(value: Any, most: int = 80) -> str:
    """A field's value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"
