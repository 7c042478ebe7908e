"""Which judges may decide: a record of their agreement with humans, and what it takes.

A gate that leans on a judge without such a record is a mistake in the gate, unless its rule is advisory.
"""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.judges.agreement import Agreement
from harness.stats import Interval
from serving.pipeline.errors import DataError
from serving.pipeline.registry import explain
from serving.storage.files import write_text

FOLDER = Path("experiments") / "calibration"
FEWEST = 50  # questions with a verdict: with fewer, kappa's interval is so wide that it excludes little
LEAST_KAPPA = 0.4  # for the interval's lower bound: from here on Landis and Koch call agreement moderate


class Calibration(BaseModel):
    """What was measured of one judge on one task."""

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
        if self.n < FEWEST:
            return f"{self.n} questions with a verdict, {FEWEST} are needed"
        low = self.kappa_interval[0] if self.kappa_interval else None
        if low is None:
            return "kappa is undefined: the humans or the judge gave one label throughout"
        if low < LEAST_KAPPA:
            return f"kappa {self.kappa:.2f} with lower bound {low:.2f}, {LEAST_KAPPA} is needed"
        return ""


def calibrated(judge_id: str, task: str, folder: Path = FOLDER) -> Calibration | None:
    """The record by which this very judge may decide on this task, or `None`."""
    return next((one for one in _of(judge_id, task, folder) if not one.shortfall), None)


def why_not(judge_id: str, task: str, folder: Path = FOLDER) -> str:
    """Why a judge may not decide on a task, and what to run; empty where it may."""
    found = _of(judge_id, task, folder)
    if any(not one.shortfall for one in found):
        return ""
    run = f"Run: touchstone judge agreement FILE --judge … --task {task} --save"
    if found:
        return f"the judge {found[0].judge} falls short on {task}: {found[0].shortfall}. {run}"
    return f"no agreement with humans on {task} is on record in {folder} for this judge as it is now. {run}"


def calibrations(folder: Path = FOLDER) -> list[Calibration]:
    """Every record of a folder."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def record(found: Agreement, *, file: Path, sha256: str, date: str) -> Calibration:
    """What is kept of an agreement."""
    return Calibration(
        judge=found.judge,
        judge_id=found.judge_id,
        task=found.task,
        n=found.n,
        unscored=len(found.unscored),
        accuracy=_rounded(found.accuracy.mean),
        accuracy_interval=_bounds(found.accuracy),
        kappa=_rounded(found.kappa.mean),
        kappa_interval=_bounds(found.kappa),
        alpha=_rounded(found.alpha),
        alpha_level=found.level,
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


def _of(judge_id: str, task: str, folder: Path) -> list[Calibration]:
    return [one for one in calibrations(folder) if one.judge_id == judge_id and one.task == task]


def _read(path: Path) -> Calibration:
    try:
        return Calibration.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise DataError(explain(error, str(path), list(Calibration.model_fields))) from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not a calibration record: {error}") from None


def _bounds(interval: Interval) -> tuple[float, float] | None:
    if interval.low is None or interval.high is None:
        return None
    return round(interval.low, 4), round(interval.high, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
