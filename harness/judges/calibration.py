"""Calibration of judges: a record of their agreement with humans, and the agreement that a gate demands.

A gate refuses a rule on a judge without such a record, unless the rule is advisory.
"""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.judges.agreement import Agreement
from harness.stats import Interval
from serving.pipeline.errors import DataError
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.registry import explain
from serving.storage.files import write_text

FOLDER = Path("experiments") / "calibration"
MIN_QUESTIONS = 50  # questions with a verdict: with fewer, kappa's interval is so wide that it excludes little
MIN_KAPPA = 0.4  # for the interval's lower bound: from here on Landis and Koch call agreement moderate


class Calibration(BaseModel):
    """The measured agreement of one judge on one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str
    judge_id: str
    task: str
    n: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    kappa: float | None
    kappa_interval: tuple[float, float] | None
    alpha: float | None
    alpha_level: str = "nominal"
    file: str  # its name, for humans
    sha256: str  # what was measured on
    date: str

    @property
    def shortfall(self) -> str:
        """Why this judge may not decide; empty where it may."""
        if self.n < MIN_QUESTIONS:
            return f"{self.n} questions with a verdict, {MIN_QUESTIONS} are needed"
        low = self.kappa_interval[0] if self.kappa_interval else None
        if low is None:
            return "kappa is undefined: the humans or the judge gave one label throughout"
        if low < MIN_KAPPA:
            return f"kappa {self.kappa:.2f} with lower bound {low:.2f}, {MIN_KAPPA} is needed"
        return ""


def calibrated(judge_id: str, task: str, folder: Path = FOLDER) -> Calibration | None:
    """A record that allows this judge to decide on this task, or `None`."""
    return next((record for record in _records_of(judge_id, task, folder) if not record.shortfall), None)


def why_not(judge_id: str, task: str, folder: Path = FOLDER) -> str:
    """Why a judge may not decide on a task, and what to run; empty where it may."""
    records = _records_of(judge_id, task, folder)
    if any(not record.shortfall for record in records):
        return ""
    run = f"Run: touchstone judge agreement FILE --judge … --task {task} --save"
    if records:
        return f"the judge {records[0].judge} falls short on {task}: {records[0].shortfall}. {run}"
    return f"no agreement with humans on {task} is on record in {folder} for this judge as it is now. {run}"


def calibrations(folder: Path = FOLDER) -> list[Calibration]:
    """Every record of a folder."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def record(agreement: Agreement, *, file: Path, sha256: str, date: str) -> Calibration:
    """The record of an agreement."""
    return Calibration(
        judge=agreement.judge,
        judge_id=agreement.judge_id,
        task=agreement.task,
        n=agreement.n,
        unscored=len(agreement.unscored),
        accuracy=_rounded(agreement.accuracy.mean),
        accuracy_interval=_bounds(agreement.accuracy),
        kappa=_rounded(agreement.kappa.mean),
        kappa_interval=_bounds(agreement.kappa),
        alpha=_rounded(agreement.alpha),
        alpha_level=agreement.level,
        file=file.name,
        sha256=sha256,
        date=date,
    )


def save(calibration: Calibration, folder: Path = FOLDER) -> Path:
    """Write a record as <folder>/<judge>-<task>.yaml; it takes the place of an older one."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", calibration.judge).strip("-")
    path = folder / f"{name}-{calibration.task}.yaml"
    write_text(path, yaml.safe_dump(calibration.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    return path


def _records_of(judge_id: str, task: str, folder: Path) -> list[Calibration]:
    return [record for record in calibrations(folder) if record.judge_id == judge_id and record.task == task]


def _read(path: Path) -> Calibration:
    try:
        return Calibration.model_validate(load_plain(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise DataError(explain(error, str(path), list(Calibration.model_fields))) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a calibration record: {error}") from None


def _bounds(interval: Interval) -> tuple[float, float] | None:
    if interval.low is None or interval.high is None:
        return None
    return round(interval.low, 4), round(interval.high, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
