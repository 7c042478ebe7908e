"""Whether a threshold's promise still holds on newer labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.calibrate.bounds import labels_needed, p_value, p_value_above, upper_bound
from harness.calibrate.calibrate import percent
from harness.calibrate.exposure import Exposure, columns_of
from harness.calibrate.labelled import LabelledDecisions, RiskLimit, check_decisions
from serving.pipeline.artefacts import ENDINGS, FolderArtefacts
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.calibrated import CalibratedThreshold, parse_calibrated

Outcome = Literal["holds", "broken", "undecided"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What newer labels say of a threshold."""

    outcome: Outcome
    words: str
    threshold: float
    limit: RiskLimit
    risk: float | None  # as seen; None where nothing acts
    bound: float | None  # its upper bound at the stated confidence
    examples: int
    groups: int
    actions: int
    needed: int | None = None  # about so many labels like these in all would show that it holds


def verify(threshold: CalibratedThreshold, labelled: LabelledDecisions) -> Verification:
    """Test the promise again, at the one threshold, so with the whole error: it holds, it is broken, or these labels are too few to say."""
    _check_same(threshold, labelled)
    proof = threshold.proof
    limit = RiskLimit(proof.kind, proof.level, proof.confidence, proof.low, proof.high)
    check_decisions(labelled.examples, limit)
    exposure = Exposure(columns_of(labelled.examples), limit, grid=[threshold.threshold])
    known = (threshold.threshold, limit)
    if not len(exposure.thresholds) and limit.kind == "per_action":
        words = "undecided: none of these labels act, so they say nothing of the risk"
        return Verification("undecided", words, *known, None, None, len(labelled.examples), exposure.groups, 0)
    sample = exposure.sample(0) if len(exposure.thresholds) else exposure.nothing_acts()
    bound = upper_bound(sample, limit.error)
    seen = f"the risk on these labels is {percent(sample.risk)}, at most {percent(bound)} with {percent(limit.confidence)} confidence"
    outcome: Outcome
    needed = None
    if p_value(sample, limit.level) <= limit.error:
        outcome, words = "holds", f"holds: {seen}, and {percent(limit.level)} was promised"
    elif p_value_above(sample, limit.level, limit.low) <= limit.error:
        outcome, words = "broken", f"broken: {seen}; it is above the {percent(limit.level)} promised. Calibrate again on newer labels"
    else:
        outcome = "undecided"
        found = labels_needed(sample, limit.level, limit.error)
        needed = round(found * exposure.groups / len(sample.losses)) if found else None
        more = f"about {needed:,} labels like these in all would show it" if needed else "the risk seen is not below the level"
        words = f"undecided: {seen}; neither shown to be below the {percent(limit.level)} promised nor above. {more[0].upper()}{more[1:]}"
    actions = int(exposure.actions[0]) if len(exposure.actions) else 0
    return Verification(outcome, f"{words}.", *known, sample.risk, bound, len(labelled.examples), exposure.groups, actions, needed)


def find_threshold(name: str, folder: Path, stage: str) -> CalibratedThreshold:
    """A threshold's artefact by its digest or by the path of its file."""
    path = Path(name)
    if path.suffix in ENDINGS and path.is_file():
        return parse_calibrated(FolderArtefacts(path.parent).read(path.stem), name, stage)
    if not name or path.name != name or path.suffix:
        raise DataError(f"No artefact {name!r}. Name it by its digest, such as 3f2a6c01d4e5b7f8, or by its file's path.")
    return parse_calibrated(FolderArtefacts(folder).read(name), f"artefact {name}", stage)


def _check_same(threshold: CalibratedThreshold, labelled: LabelledDecisions) -> None:
    if threshold.scorer != labelled.scorer:
        raise DataError(
            f"The threshold belongs to the scores of {threshold.scorer!r}; these are of {labelled.scorer!r}. Calibrate anew, or name "
            "the scorer that it was calibrated with."
        )
    if same := sorted(set(threshold.data.values()) & set(labelled.data.values())):
        names = ", ".join(name for name, digest in labelled.data.items() if digest in same)
        raise DataError(f"{names}: the threshold was calibrated on these very labels, which therefore prove nothing. Give newer ones.")
