"""The ruling on one rule: its numbers against its threshold; nothing here runs a model."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.comparison.pairs import compare_metric
from harness.gate.champion import not_comparable
from harness.gate.decision import Outcome, Ruling, SliceRuling
from harness.gate.leaks import Leaks
from harness.gate.rules import AnyRule, CeilingRule, CoverageRule, ErrorsRule, FloorRule, LeakRule, NonInferiorityRule, SliceRule
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.stats import Interval, percentile
from harness.stats.text import number_text, seen_text


def ruling_of(rule: AnyRule, report: EvalReport, champion: EvalReport | None, leaks: Mapping[str, Leaks]) -> Ruling:
    """The ruling on a rule; before the first promotion there is no champion to compare with."""
    match rule:
        case ErrorsRule():
            crashed = len(report.errors) - len(report.outages)
            outcome: Outcome = "pass" if crashed <= rule.at_most else "fail"
            values = {"value": float(crashed), "threshold": float(rule.at_most), "count": len(report.rows), "of": len(report.rows)}
            return make_ruling(rule, outcome, f"{crashed} crashed, at most {rule.at_most} may", **values)
        case LeakRule():
            return _leak(rule, leaks[rule.id])
        case CeilingRule(number=str(number)):
            return _number(rule, number, report)
    name = rule.metrics[0]
    if not report.values(name) and not isinstance(rule, CoverageRule):
        return _unscored(rule, name, report)
    match rule:
        case FloorRule():
            return _floor(rule, report)
        case CeilingRule():
            return _ceiling(rule, name, report)
        case CoverageRule():
            count, of = len(report.values(name)), len(report.rows)
            share = count / of
            outcome = "pass" if share >= rule.at_least else "fail"
            return make_ruling(rule, outcome, f"{count} of {of} cases scored", value=share, threshold=rule.at_least, count=count, of=of)
        case SliceRule():
            return _slice(rule, report)
        case NonInferiorityRule():
            return _non_inferior(rule, report, champion)
    raise AssertionError(rule)


def make_ruling(rule: AnyRule, outcome: Outcome, reason: str, **values: Any) -> Ruling:
    """The ruling on a rule with an outcome, its reason and its numbers."""
    kind = str(rule.rule)  # type: ignore[attr-defined]  # each rule narrows it to its own name
    return Ruling(rule.id, kind, rule.subject, outcome, reason, rule.advisory, rule.why, **values)


def _unscored(rule: AnyRule, name: str, report: EvalReport) -> Ruling:
    """A metric without any value fails, or is not judged where an outage left it out."""
    reasons = Counter(score.reason for row in report.rows for score in row.scores if score.metric == name)
    reason = reasons.most_common(1)[0][0] if reasons else "no reason given"
    outcome: Outcome = "unjudged" if report.outages else "fail"
    return make_ruling(rule, outcome, f"no case was scored: {reason}", of=len(report.rows))


def _floor(rule: FloorRule, report: EvalReport) -> Ruling:
    interval = report.summary[rule.metric]
    value = interval.low if rule.statistic == "low" else interval.mean
    assert value is not None
    outcome: Outcome = "pass" if value >= rule.at_least else "fail"
    reason = f"{_found(rule.statistic, value, interval.mean)}, at least {rule.at_least:g} is needed"
    return make_ruling(rule, outcome, reason, threshold=rule.at_least, **_judged(rule.statistic, value, interval), **_counts(rule, report))


def _ceiling(rule: CeilingRule, name: str, report: EvalReport) -> Ruling:
    interval = report.summary[name]
    if rule.statistic in ("p50", "p95", "p99"):
        value = percentile(report.values(name), int(rule.statistic[1:]) / 100)
    else:
        value = interval.high if rule.statistic == "high" else interval.mean
    assert value is not None
    outcome: Outcome = "pass" if value <= rule.at_most else "fail"
    reason = f"{_found(rule.statistic, value, interval.mean)}, at most {rule.at_most:g} is allowed"
    return make_ruling(rule, outcome, reason, threshold=rule.at_most, **_judged(rule.statistic, value, interval), **_counts(rule, report))


def _judged(statistic: str, value: float, interval: Interval) -> dict[str, Any]:
    """What a rule on a metric was judged by, and what stands beside it."""
    return {"mean": interval.mean, "value": value, "low": interval.low, "high": interval.high, "statistic": statistic}


def _number(rule: CeilingRule, number: str, report: EvalReport) -> Ruling:
    value, count = numbers(report).get(number), len(report.traces)
    if value is None:
        unknown = "the price of a model is unknown" if number == "cost.usd" and count else "it was not measured"
        if number.startswith("ms.") and report.kept:
            unknown = "the answers were kept from before, and so nothing was timed; --no-store computes them"
        outcome: Outcome = "unjudged" if report.outages else "fail"
        return make_ruling(rule, outcome, f"no value: {unknown}", threshold=rule.at_most, of=len(report.rows))
    outcome = "pass" if value <= rule.at_most else "fail"
    reason = f"{value:.6g}, at most {rule.at_most:g} is allowed"
    return make_ruling(rule, outcome, reason, value=value, threshold=rule.at_most, count=count, of=len(report.rows))


def _slice(rule: SliceRule, report: EvalReport) -> Ruling:
    parts: list[SliceRuling] = []
    for name, interval in report.slices(rule.by, rule.metric).items():
        if interval.mean is None or interval.count < rule.min_cases:
            parts.append(SliceRuling(name, interval.mean, interval.count, "unjudged"))
        else:
            parts.append(SliceRuling(name, interval.mean, interval.count, "pass" if interval.mean >= rule.at_least else "fail"))
    judged = [part for part in parts if part.value is not None and part.outcome != "unjudged"]
    small = [part.name for part in parts if part.outcome == "unjudged"]
    left = f"; with fewer than {rule.min_cases} scored cases, not judged: {', '.join(small)}" if small else ""
    values = {"threshold": rule.at_least, "parts": tuple(parts), **_counts(rule, report)}
    if not judged:
        return make_ruling(rule, "unjudged", f"no {rule.by} has {rule.min_cases} scored cases", **values)
    worst = min(judged, key=lambda part: part.value or 0.0)
    below = [f"{part.name} {part.value:.3f}" for part in judged if part.outcome == "fail"]
    reason = f"below {rule.at_least:g}: {', '.join(below)}" if below else f"lowest {worst.name} {worst.value:.3f}"
    return make_ruling(rule, "fail" if below else "pass", reason + left, value=worst.value, **values)


def _non_inferior(rule: NonInferiorityRule, report: EvalReport, champion: EvalReport | None) -> Ruling:
    """The low end (in the metric's good direction) of the 95 % interval of candidate − champion is above minus the margin.

    It is the two-sided interval that every comparison prints, clustered and bounded, so this end errs in at most 1 case of 40. The
    champion itself has nothing to prove: it fails only where it is shown to be worse than it was.
    """
    values = {"margin": rule.margin, "threshold": -rule.margin, "mean": report.mean(rule.metric), **_counts(rule, report)}
    if champion is None:
        return make_ruling(rule, "unjudged", "no champion is recorded yet: there is nothing to compare with", **values)
    if obstacle := not_comparable(champion.header, report.header, rule.metric):
        return make_ruling(rule, "fail", obstacle, **values)
    against = compare_metric(champion, report, rule.metric, margin=rule.margin)
    if not against.count:
        return make_ruling(rule, "unjudged" if report.outages else "fail", "no case was scored for both", **values)
    shown = f"[{against.worst:+.3f}, {against.best:+.3f}]" if math.isfinite(against.worst) else "[too few cases]"
    reason = f"{against.gain:+.3f} {shown} against the champion, margin {rule.margin:g}: {against.outcome}"
    itself = report.header.config_digest == champion.header.config_digest and against.outcome != "worse"
    if itself:
        reason += "; it is the champion's own configuration"
    elif not against.non_inferior and against.gain > -rule.margin:
        reason += f"; a loss of the margin is not ruled out: {seen_text(against)}"
    lost = sum(row.value(rule.metric) is not None for row in champion.rows) - against.count
    reason += f"; {lost} cases that the champion has a value for have none now" if lost else ""
    ends = {"low": against.worst, "high": against.best} if math.isfinite(against.worst) else {}
    values |= {"value": against.gain, "count": against.count, **ends}
    return make_ruling(rule, "pass" if itself or against.non_inferior else "fail", reason, **values)


def _leak(rule: LeakRule, leaks: Leaks) -> Ruling:
    values = {"value": float(len(leaks.lines)), "threshold": 0.0, "count": leaks.queries, "of": leaks.queries}
    if leaks.lines:
        return make_ruling(rule, "fail", f"{len(leaks.lines)} leaks in {leaks.queries} questions: {'; '.join(leaks.lines[:3])}", **values)
    if leaks.inconclusive:
        return make_ruling(rule, "unjudged", leaks.inconclusive, **values)
    return make_ruling(rule, "pass", f"none in {leaks.queries} questions with {leaks.hits} hits", **values)


def _counts(rule: AnyRule, report: EvalReport) -> dict[str, Any]:
    return {"count": len(report.values(rule.metrics[0])), "of": len(report.rows)}


def _found(statistic: str, value: float, mean: float | None) -> str:
    """What was judged, with the mean where it is another number."""
    if statistic == "mean":
        return f"mean {value:.3f}"
    name = {"low": "interval's low end", "high": "interval's high end"}.get(statistic, statistic)
    return f"{name} {value:.3f} (mean {number_text(mean)})"
