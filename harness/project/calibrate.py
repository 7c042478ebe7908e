"""A threshold from labels: read and scored by a stage's source, chosen by the engine, kept as an artefact, shown as a page."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from harness.calibrate import SOURCES
from harness.calibrate.artefact import StoredThreshold, calibrated_threshold, keep_threshold
from harness.calibrate.calibrate import ThresholdCalibration, calibrate
from harness.calibrate.labelled import LabelledDecisions, RiskLimit
from harness.calibrate.source import SourceRequest
from harness.calibrate.verify import Verification, find_threshold, verify
from harness.progress import TaskProgress
from harness.project.named_result import named_result, refuse_taken_name
from harness.reports.calibration import write_calibration
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.calibrated import RiskKind
from serving.pipeline.registry import Spec, near


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Which stage is calibrated, on which files, and how its source reads and scores them."""

    stage: str
    files: tuple[Path, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FinishedCalibration:
    """The outcome of a calibration; `kept` is `None` where there is no safe threshold."""

    labelled: LabelledDecisions
    calibration: ThresholdCalibration
    kept: StoredThreshold | None = None
    page: Path | None = None


async def calibrate_stage(
    labels: LabelFiles, limit: Mapping[str, Any], settings: HarnessSettings, progress: TaskProgress, *, name: str = ""
) -> FinishedCalibration:
    """Choose a threshold, keep its artefact, and with a `name` write `reports/calibrations/<name>/`.

    `limit` has `level`, and may have `confidence` and `kind`; the range of a loss is the source's.
    """
    kind = limit.get("kind") or None
    if kind is not None and kind not in get_args(RiskKind):
        known = list(get_args(RiskKind))
        raise ConfigError(f"No risk {kind!r}.{near(str(kind), known)} Known: {', '.join(known)}.")
    level, confidence = limit["level"], limit.get("confidence", 0.95)
    RiskLimit(kind or "per_action", level, confidence, high=max(1.0, 2 * level))  # a mistake is told before the labels are scored
    with ExitStack() as stack:
        if name:
            refuse_taken_name(settings, "calibrations", name)
            place = stack.enter_context(named_result(settings, "calibrations", name))
        labelled = await _labelled(labels, settings, SourceRequest(labels.files, progress=progress))
        calibration = calibrate(labelled.examples, labelled.limit(level, confidence, kind), progress=progress)
        now = datetime.now(UTC)
        kept = None
        if calibration.threshold is not None:
            threshold = calibrated_threshold(calibration, labelled, f"{now:%Y-%m-%d}")
            kept = keep_threshold(threshold, labelled.config, settings.artefact_folder)
        page = None
        if name:
            write_calibration(calibration, labelled, kept, place.draft, title=name, date=f"{now:%Y-%m-%d %H:%M} UTC")
            place.publish()
            page = place.folder / "report.html"
    return FinishedCalibration(labelled, calibration, kept, page)


async def verify_stage(labels: LabelFiles, artefact: str, settings: HarnessSettings, progress: TaskProgress) -> Verification:
    """Hold an artefact's promise against newer labels."""
    threshold = find_threshold(artefact, settings.artefact_folder, labels.stage)
    request = SourceRequest(labels.files, threshold.fitted, progress)
    return verify(threshold, await _labelled(labels, settings, request))


async def _labelled(labels: LabelFiles, settings: HarnessSettings, request: SourceRequest) -> LabelledDecisions:
    """What the stage's source makes of the files."""
    source = SOURCES.build(Spec.model_validate({"name": labels.stage, **labels.params}), settings=settings)
    labelled = await source.decisions(request)
    if len(labelled.data) < len(labels.files):
        raise DataError("Two files of labels have one name; the artefact tells files by name. Rename one.")
    return labelled


def label_files(stage: str, files: Sequence[Path], params: Mapping[str, Any]) -> LabelFiles:
    """The same, its stage and parameters checked."""
    SOURCES.params(Spec.model_validate({"name": stage, **params}))
    return LabelFiles(stage, tuple(files), params)
