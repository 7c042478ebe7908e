"""What a threshold does to each family of the labels: a whole can be safe while a part is not."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.calibrate.bounds import p_value_above
from harness.calibrate.exposure import Exposure, columns_of
from harness.calibrate.labelled import LabelledDecision, RiskLimit

MOST = 40
ABOVE_ERROR = 0.05  # of all families together: how often one is called above the level where none is


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """One family at the chosen threshold."""

    family: str
    examples: int
    actions: int
    risk: float | None  # as seen; None where nothing of it counts
    oracle_share: float | None
    above: bool = False  # its own labels show a risk above the level


def family_rows(examples: Sequence[LabelledDecision], limit: RiskLimit, threshold: float) -> list[FamilyRow]:
    """The families, the largest first; none where the labels name fewer than two."""
    names = {one.family for one in examples}
    if len(names) < 2:
        return []
    rows = []
    for name in names:
        own = [one for one in examples if one.family == name]
        exposure = Exposure(columns_of(own), limit, grid=[threshold])
        acts = bool(len(exposure.thresholds))
        sample = exposure.sample(0) if acts else exposure.nothing_acts() if limit.kind == "per_decision" else None
        reached = exposure.benefit(0) if acts else 0.0
        rows.append(
            FamilyRow(
                family=name or "(no family)",
                examples=len(own),
                actions=int(exposure.actions[0]) if acts else 0,
                risk=sample.risk if sample is not None and len(sample.losses) else None,
                oracle_share=reached / exposure.oracle if exposure.oracle > 0.0 else None,
                above=sample is not None
                and (limit.kind == "per_decision" or any(one.loss <= 0.0 for one in own))  # else no action in it could be right
                and p_value_above(sample, limit.level, limit.low) <= ABOVE_ERROR / len(names),
            )
        )
    return sorted(rows, key=lambda row: (-row.examples, row.family))[:MOST]


def family_notes(examples: Sequence[LabelledDecision], limit: RiskLimit, threshold: float) -> tuple[str, ...]:
    """A note for each family whose own labels contradict the level."""
    return tuple(
        f"Of the family {row.family!r} alone the risk is {100 * (row.risk or 0.0):.3g} %, above the level: "
        "safe on the whole is not safe for it."
        for row in family_rows(examples, limit, threshold)
        if row.above
    )
