"""Splitting a set again, with another share or salt, as its next version."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from harness.golden.check import split_sizes
from harness.golden.load import golden_sets, load_golden
from harness.golden.sets import Card, GoldenSet
from harness.golden.write import new_folders, write_version
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.registry import explain


@dataclass(frozen=True, slots=True)
class SplitMoves:
    """The cases that move to the other split."""

    to_holdout: tuple[str, ...]  # searched on before, so they prove nothing of what was tuned
    to_tune: tuple[str, ...]


def resplit(golden: GoldenSet, *, holdout_share: float | None = None, salt: str | None = None) -> GoldenSet:
    """The same cases under another share or salt, in memory; at the same salt a larger share only adds to the holdout."""
    changes = {"holdout_share": holdout_share, "salt": salt}
    values = golden.card.model_dump() | {name: value for name, value in changes.items() if value is not None}
    try:
        card = Card.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, "the new split", list(Card.model_fields))) from None
    return replace(golden, card=card)


def split_moves(before: GoldenSet, after: GoldenSet) -> SplitMoves:
    """Which cases a new split moves."""
    splits = [(case.id, before.split_of(case), after.split_of(case)) for case in after.cases]
    to_holdout = tuple(name for name, old, new in splits if (old, new) == ("tune", "holdout"))
    return SplitMoves(to_holdout, tuple(name for name, old, new in splits if (old, new) == ("holdout", "tune")))


def write_split(root: Path, before: GoldenSet, after: GoldenSet) -> GoldenSet:
    """Write the set's next version with the new split, whole or not at all; the old one is not touched."""
    name = before.card.name
    if (after.card.salt, after.card.holdout_share) == (before.card.salt, before.card.holdout_share):
        raise ConfigError(f"{before.id} has this split already. Give another: --holdout-share or --salt.")
    for split, count in split_sizes(after).items():
        if not count:
            raise DataError(f"The {split} split would have no cases. Give another: --holdout-share or --salt.")
    newest = max(int(golden.rsplit("/v", 1)[1]) for golden in golden_sets(root) if golden.split("/")[0] == name)
    card = after.card.model_copy(update={"version": newest + 1})
    folder = root / "golden" / name / f"v{newest + 1}"
    old = (before.folder / "CARD.md").read_text(encoding="utf-8-sig").split("---\n", 2)[2]
    body = old.replace(f"# {before.id}\n", f"# {name}/v{card.version}\n", 1).rstrip()
    note = f"The cases of v{before.card.version}, split anew: salt `{card.salt}`, holdout share {card.holdout_share:g}."
    with new_folders(folder) as (draft,):
        write_version(draft, card, f"{body}\n\n## Split of v{card.version}\n\n{note}\n", before.cases)
    return load_golden(root, f"{name}/v{card.version}")
