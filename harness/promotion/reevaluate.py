"""A served release compared with the evidence that it was promoted by: case by case where that evaluation is still there."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.comparison.pairs import compare_metric, direction_of
from harness.gate.champion import not_comparable
from harness.gate.decision import Ruling
from harness.gate.gate import Gate
from harness.gate.rules import LeakRule, NonInferiorityRule
from harness.gate.ruling import ruling_of
from harness.results.report import EvalReport
from harness.stats import MARGIN
from serving.release.evidence import MeasuredMetric, MeasuredSplit, RecordedDifference, ReleaseEvidence


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline of a release: the evaluation that it was promoted by, where it is at hand, and its evidence."""

    evidence: ReleaseEvidence
    digest: str
    report: EvalReport | None

    def measured(self, split_digest: str) -> MeasuredSplit | None:
        """What its evidence measured on the same cases."""
        return next((one for one in self.evidence.measured if one.split_digest == split_digest), None)


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """A release's results now, compared with its promotion."""

    report: EvalReport
    differences: tuple[RecordedDifference, ...]
    rulings: tuple[Ruling, ...]  # of the gate's rules that need no champion
    paired: bool

    @property
    def worse(self) -> list[RecordedDifference]:
        """The metrics that count and were lost by more than their margin."""
        return [one for one in self.differences if one.counts and is_loss(one, self.report)]

    @property
    def passed(self) -> bool:
        """Whether no counted metric was lost, and the gate's rules still hold."""
        return not self.worse and not any(ruling.blocks for ruling in self.rulings)

    @property
    def message(self) -> str:
        """The result in a line."""
        parts = [f"{one.metric} is worse by {abs(one.difference or 0.0):.3f}, beyond the margin of {one.margin:g}" for one in self.worse]
        broken = [ruling.id for ruling in self.rulings if ruling.blocks]
        parts += [f"{len(broken)} of the gate's rules do not hold any more: {', '.join(broken)}"] if broken else []
        if parts:
            return "; ".join(parts)
        compared = [one for one in self.differences if one.counts and one.difference is not None]
        if not compared:
            return "nothing could be compared, and the gate's rules hold"
        how = "case by case" if self.paired else "by means and intervals: the cases of then are not at hand"
        return f"no loss beyond a margin is seen in {len(compared)} metric{'s' * (len(compared) != 1)}, {how}"


def reevaluate(gate: Gate, report: EvalReport, baseline: Baseline) -> Reevaluation:
    """Compare a new evaluation with that of the promotion, and apply again the gate's rules that need no champion."""
    rules = [rule for rule in gate.rules if not isinstance(rule, NonInferiorityRule | LeakRule)]
    return Reevaluation(
        report,
        tuple(_differences(gate, report, baseline)),
        tuple(ruling_of(rule, report, None, {}) for rule in rules),
        baseline.report is not None,
    )


def is_loss(one: RecordedDifference, report: EvalReport) -> bool:
    """Whether a metric is seen to be worse, and by more than its margin."""
    gain = (one.difference or 0.0) * (1.0 if direction_of(report, one.metric) == "higher" else -1.0)
    return one.outcome == "worse" and gain < -one.margin


def _differences(gate: Gate, report: EvalReport, baseline: Baseline) -> Iterator[RecordedDifference]:
    """Every metric of the gate; those count that it compares with a champion, or all scores where it compares none."""
    margins = {rule.metric: rule.margin for rule in gate.rules if isinstance(rule, NonInferiorityRule) and not rule.advisory}
    shares = [name for name in report.header.metrics if name not in report.header.amounts]
    counted = margins or dict.fromkeys(shares, MARGIN)
    before = baseline.measured(report.header.split_digest)
    for name in shares:
        margin, counts = counted.get(name, MARGIN), name in counted
        if baseline.report is not None:
            yield _paired(name, baseline.report, report, margin, counts, len(counted))
        else:
            yield _unpaired(name, before.metrics if before else {}, report, margin, counts)


def _paired(name: str, before: EvalReport, after: EvalReport, margin: float, counts: bool, among: int) -> RecordedDifference:
    if name not in before.header.metrics or not_comparable(before.header, after.header, name):
        return _nothing(name, None, after.mean(name), margin, counts)
    found = compare_metric(before, after, name, margin=margin, among=among if counts else 1)
    if not found.count:
        return _nothing(name, before.mean(name), after.mean(name), margin, counts)
    ends = {"low": found.low, "high": found.high} if math.isfinite(found.low) else {"low": None, "high": None}
    return RecordedDifference(
        metric=name,
        before=before.mean(name),
        after=after.mean(name),
        difference=found.difference,
        outcome=found.outcome,
        margin=margin,
        paired=True,
        cases=found.count,
        counts=counts,
        **ends,
    )


def _unpaired(name: str, measured: Mapping[str, MeasuredMetric], after: EvalReport, margin: float, counts: bool) -> RecordedDifference:
    """By the two means and their intervals alone: wider than a paired interval, so it sees less."""
    old, new = measured.get(name), after.summary[name]
    if old is None or old.mean is None or old.low is None or old.high is None or new.mean is None or new.low is None or new.high is None:
        return _nothing(name, old.mean if old else None, new.mean, margin, counts)
    low, high = new.low - old.high, new.high - old.low
    sign = 1.0 if direction_of(after, name) == "higher" else -1.0
    best, worst = max(sign * low, sign * high), min(sign * low, sign * high)
    outcome = "worse" if best < 0 else "better" if worst > 0 else "equivalent" if -margin < worst and best < margin else "undecided"
    return RecordedDifference(
        metric=name,
        before=old.mean,
        after=new.mean,
        difference=new.mean - old.mean,
        low=low,
        high=high,
        outcome=outcome,
        margin=margin,
        paired=False,
        cases=new.count,
        counts=counts,
    )


def _nothing(name: str, before: float | None, after: float | None, margin: float, counts: bool) -> RecordedDifference:
    return RecordedDifference(
        metric=name, before=before, after=after, difference=None, low=None, high=None, outcome="undecided", margin=margin, paired=False,
        cases=0, counts=counts,
    )  # fmt: skip
