"""A calibration as the artefact that a configuration names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.calibrate.calibrate import ThresholdCalibration
from harness.calibrate.labelled import ARTEFACT, THRESHOLD, LabelledDecisions
from serving.pipeline.artefacts import keep_artefact
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.calibrated import CalibratedThreshold, ThresholdProof


@dataclass(frozen=True, slots=True)
class StoredThreshold:
    """An artefact on disk, and the values by dotted path that use it."""

    digest: str
    config: Mapping[str, Any]


def calibrated_threshold(calibration: ThresholdCalibration, labelled: LabelledDecisions, date: str) -> CalibratedThreshold:
    """The artefact's content; a `DataError` where there is no safe threshold, so that nothing is kept that could be used by accident."""
    point, limit = calibration.point, calibration.limit
    if calibration.threshold is None or point is None or calibration.bound is None or calibration.tested_at is None:
        raise DataError(f"No safe threshold, so no artefact. {calibration.reason}")
    proof = ThresholdProof(
        kind=limit.kind,
        level=limit.level,
        confidence=limit.confidence,
        low=limit.low,
        high=limit.high,
        risk=point.risk,
        bound=calibration.bound,
        tested_at=calibration.tested_at,
        action_rate=point.action_rate,
        benefit=point.benefit,
        oracle_share=point.oracle_share,
        decisions=calibration.examples,
        groups=calibration.groups,
        actions=point.actions,
        deciding=calibration.deciding if limit.kind == "per_decision" else 0,
    )
    return CalibratedThreshold(
        stage=labelled.stage,
        scorer=labelled.scorer,
        threshold=calibration.threshold,
        proof=proof,
        data=dict(labelled.data),
        labelled_until=max((one.at for one in labelled.examples), default=""),
        fitted=dict(labelled.fitted),
        date=date,
    )


def keep_threshold(threshold: CalibratedThreshold, config: Mapping[str, Any], folder: Path) -> StoredThreshold:
    """Write the artefact, whole or not at all, and name it in the configuration's values."""
    digest = keep_artefact(folder, threshold.model_dump(mode="json"))
    known: dict[Any, Any] = {ARTEFACT: digest, THRESHOLD: threshold.threshold}
    return StoredThreshold(digest, {path: known.get(value, value) if isinstance(value, str) else value for path, value in config.items()})
