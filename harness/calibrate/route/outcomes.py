"""What each of two tiers made of a question: from two evaluations of the same cases, or from a file of outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.calibrate.groups import near_duplicates
from harness.golden.lines import read_rows, refuse
from harness.results.report import EvalReport
from harness.results.report_file import WITHOUT_SUM, read_report
from harness.stats.clusters import Numbers
from serving.pipeline.errors import DataError
from serving.pipeline.types import Hit

METRIC = "quality"


class OutcomeLine(BaseModel):
    """One line of a file of outcomes: how good each tier's answer was, from 0 to 1, and what it cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    question: str = Field(min_length=1)
    cheap: float = Field(ge=0.0, le=1.0)
    dear: float = Field(ge=0.0, le=1.0)
    id: str = ""
    group: str = ""  # questions of one group never stand on both sides of a split
    at: str = ""
    cheap_usd: float | None = Field(default=None, ge=0.0)
    dear_usd: float | None = Field(default=None, ge=0.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question with what both tiers made of it."""

    id: str
    question: str
    cheap: float
    dear: float
    group: str
    hits: tuple[Hit, ...] = ()
    at: str = ""
    cheap_usd: float | None = None
    dear_usd: float | None = None

    @property
    def gain(self) -> float:
        """What the dear tier is better by."""
        return self.dear - self.cheap


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The questions, and what the two evaluations say of themselves."""

    rows: tuple[Outcome, ...]
    tiers: tuple[str, str] = ("lite", "pro")
    config: Mapping[str, Any] = field(default_factory=dict)  # of the dear tier's evaluation; empty for a file of outcomes
    golden: str = ""
    notes: tuple[str, ...] = ()

    @property
    def gains(self) -> Numbers:
        """What the dear tier is better by, question by question."""
        return np.array([row.gain for row in self.rows], dtype=np.float64)


def read_outcomes(files: Sequence[Path], metric: str = METRIC) -> Outcomes:
    """Two evaluations, the cheap tier's first; or files of outcomes."""
    if not files:
        raise DataError(
            "No files. Give two evaluations of the same cases, the cheap tier's first, or lines of "
            '{"question": …, "cheap": 0 to 1, "dear": 0 to 1}.'
        )
    kinds = [is_evaluation(path) for path in files]
    if any(kinds) and (not all(kinds) or len(files) != 2):
        names = ", ".join(str(path) for path in files)
        raise DataError(f"{names}: two evaluations are needed, the cheap tier's first and the dear tier's second, or files of outcomes.")
    if all(kinds):
        return of_reports(read_report(files[0]), read_report(files[1]), metric)
    problems: list[str] = []
    rows: list[tuple[str, OutcomeLine]] = []
    for path in files:
        for line, row in read_rows(path, OutcomeLine, problems):
            if not row.question.strip():
                problems.append(f"{line.where}: the question is empty.")
            rows.append((row.id or f"{path.name}:{line.number}", row))
    refuse(problems)
    groups = near_duplicates([row.question for _, row in rows], [row.group for _, row in rows])
    return Outcomes(
        tuple(
            Outcome(name, row.question, row.cheap, row.dear, group, (), row.at, row.cheap_usd, row.dear_usd)
            for (name, row), group in zip(rows, groups, strict=True)
        )
    )


def of_reports(cheap: EvalReport, dear: EvalReport, metric: str = METRIC) -> Outcomes:
    """The cases that both evaluations scored, with what was found for each."""
    one, other = cheap.header, dear.header
    if one.golden != other.golden or one.golden_digest != other.golden_digest:
        raise DataError(f"The evaluations are of {one.golden} and {other.golden}; evaluate both tiers on the same golden set.")
    for report in (cheap, dear):
        if metric not in report.header.metrics:
            known = ", ".join(report.header.metrics)
            raise DataError(f"The evaluation {report.header.config_digest} has no metric {metric!r}; it has {known}.")
    tiers = (_tier(cheap, "first"), _tier(dear, "second"))
    if tiers[0] == tiers[1]:
        raise DataError(f"Both evaluations are of the tier {tiers[0]!r}. Give the cheap tier's first and the dear tier's second.")
    dear_rows = {row.case.id: row for row in dear.rows}
    pairs = [(row, dear_rows[row.case.id]) for row in cheap.rows if row.case.id in dear_rows]
    scored = [(a, b) for a, b in pairs if a.value(metric) is not None and b.value(metric) is not None and a.trace and b.trace]
    if not scored:
        raise DataError("No case was scored in both evaluations. Evaluate both tiers on the same split.")
    groups = near_duplicates([a.case.question for a, _ in scored], [a.case.group for a, _ in scored])
    rows = []
    for (a, b), group in zip(scored, groups, strict=True):
        assert a.trace is not None
        assert b.trace is not None
        rows.append(
            Outcome(
                id=a.case.id,
                question=a.trace.query.text,
                cheap=float(a.value(metric) or 0.0),
                dear=float(b.value(metric) or 0.0),
                group=group,
                hits=b.trace.hits,
                cheap_usd=a.trace.usd,
                dear_usd=b.trace.usd,
            )
        )
    left = len({row.case.id for row in (*cheap.rows, *dear.rows)}) - len(scored)
    notes = (f"{left} cases are left out: not scored in both evaluations.",) if left else ()
    return Outcomes(tuple(rows), tiers, other.config, f"{other.golden} {other.split}", notes)


def _tier(report: EvalReport, which: str) -> str:
    """The tier that answered every question of an evaluation."""
    tiers = {trace.route.tier for trace in report.traces if trace.route}
    if len(tiers) != 1 or any(trace.attempts or trace.cached for trace in report.traces):
        named = ", ".join(sorted(tiers)) or "none"
        raise DataError(
            f"The {which} evaluation was answered by the tiers {named}, some of it twice or from a cache; evaluate one tier alone: "
            "touchstone eval --set route.router.name=always --set route.router.tier=lite"
        )
    return tiers.pop()


def is_evaluation(path: Path) -> bool:
    """Whether a file is an evaluation's."""
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(12)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return start.startswith(('{"sha256"', WITHOUT_SUM))
