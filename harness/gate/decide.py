"""From an evaluation to a decision: every rule held against the numbers; nothing here runs a model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.comparison.compare import FLIP, compare_metric
from harness.gate.champion import not_comparable
from harness.gate.decision import CaseChange, CaseChanges, Decision, Outcome, Ruling, SliceRuling, State
from harness.gate.gate import Gate
from harness.gate.leaks import Leaks
from harness.gate.rules import AnyRule, CeilingRule, CoverageRule, ErrorsRule, FloorRule, LeakRule, NonInferiorityRule, SliceRule
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.stats import percentile

LARGEST = 5  # changes shown each way


def decide(gate: Gate, report: EvalReport, champion: EvalReport | None, leaks: Mapping[str, Leaks], *, reproduce: str = "") -> Decision:
    """Every rule's ruling and what they come to; an outage leaves the whole gate undecided."""
    rulings = tuple(_ruling(rule, report, champion, leaks) for rule in gate.rules)
    outages = report.outages
    if outages:
        rulings = tuple(_open(ruling) for ruling in rulings)
    blocking = [ruling for ruling in rulings if ruling.blocks]
    state: State = "infrastructure" if outages else "fail" if blocking else "pass"
    if outages and outages[0].error:
        message = f"{len(outages)} of {len(report.rows)} cases were not answered: {outages[0].error.message}"
    elif blocking:
        message = f"{len(blocking)} of {len(rulings)} rules do not hold: {', '.join(ruling.id for ruling in blocking)}"
    else:
        message = f"{sum(ruling.outcome == 'pass' for ruling in rulings)} of {len(rulings)} rules hold, none blocks"
    head = report.header
    return Decision(
        gate=gate.name,
        gate_digest=gate.digest,
        state=state,
        message=message,
        golden=head.golden,
        split=head.split,
        rulings=rulings,
        golden_digest=head.golden_digest,
        split_digest=head.split_digest,
        config_digest=head.config_digest,
        champion_digest=champion.header.config_digest if champion else "",
        cases=len(report.rows),
        errors=len(report.errors),
        outages=len(outages),
        simulated=report.simulated,
        changes=_changes(gate, report, champion),
        reproduce=reproduce,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        valid_hours=gate.valid_hours,
    )


def undecided(gate: Gate, message: str, *, reproduce: str = "") -> Decision:
    """The decision when the machinery failed before there was anything to judge."""
    rulings = tuple(_told(rule, "unjudged", "the machinery failed") for rule in gate.rules)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision(
        gate.name, gate.digest, "infrastructure", message, gate.golden, gate.split, rulings, reproduce=reproduce, decided_at=now
    )


def _ruling(rule: AnyRule, report: EvalReport, champion: EvalReport | None, leaks: Mapping[str, Leaks]) -> Ruling:
    match rule:
        case ErrorsRule():
            crashed = len(report.errors) - len(report.outages)
            outcome: Outcome = "pass" if crashed <= rule.at_most else "fail"
            numbers_ = {"value": float(crashed), "threshold": float(rule.at_most), "count": len(report.rows), "of": len(report.rows)}
            return _told(rule, outcome, f"{crashed} crashed, at most {rule.at_most} may", **numbers_)
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
            return _told(rule, outcome, f"{count} of {of} cases scored", value=share, threshold=rule.at_least, count=count, of=of)
        case SliceRule():
            return _slice(rule, report)
        case NonInferiorityRule():
            return _non_inferior(rule, report, champion)
    raise AssertionError(rule)


def _open(ruling: Ruling) -> Ruling:
    """What the answered cases say of a rule is no verdict on all; a leak is one wherever it is seen."""
    if ruling.rule == "leak":
        return ruling
    return replace(ruling, outcome="unjudged", reason=f"on the answered cases only: {ruling.reason}")


def _told(rule: AnyRule, outcome: Outcome, reason: str, **found: Any) -> Ruling:
    kind = str(rule.rule)  # type: ignore[attr-defined]  # each rule narrows it to its own name
    return Ruling(rule.id, kind, rule.subject, outcome, reason, rule.advisory, rule.why, **found)


def _unscored(rule: AnyRule, name: str, report: EvalReport) -> Ruling:
    """No value is no pass; whose fault it is decides between undecided and failed."""
    reasons = Counter(score.reason for row in report.rows for score in row.scores if score.metric == name)
    most = reasons.most_common(1)[0][0] if reasons else "no reason given"
    outcome: Outcome = "unjudged" if report.outages else "fail"
    return _told(rule, outcome, f"no case was scored: {most}", of=len(report.rows))


def _floor(rule: FloorRule, report: EvalReport) -> Ruling:
    interval = report.summary[rule.metric]
    value = interval.low if rule.statistic == "low" else interval.mean
    assert value is not None
    outcome: Outcome = "pass" if value >= rule.at_least else "fail"
    reason = f"{_on(rule.statistic)} {value:.3f}, at least {rule.at_least:g} is needed"
    found = {"value": value, "low": interval.low, "high": interval.high, "statistic": rule.statistic, "threshold": rule.at_least}
    return _told(rule, outcome, reason, **found, **_counts(rule, report))


def _ceiling(rule: CeilingRule, name: str, report: EvalReport) -> Ruling:
    interval = report.summary[name]
    if rule.statistic in ("p50", "p95", "p99"):
        value = percentile(report.values(name), int(rule.statistic[1:]) / 100)
    else:
        value = interval.high if rule.statistic == "high" else interval.mean
    assert value is not None
    outcome: Outcome = "pass" if value <= rule.at_most else "fail"
    reason = f"{_on(rule.statistic)} {value:.3f}, at most {rule.at_most:g} is allowed"
    found = {"value": value, "low": interval.low, "high": interval.high, "statistic": rule.statistic, "threshold": rule.at_most}
    return _told(rule, outcome, reason, **found, **_counts(rule, report))


def _number(rule: CeilingRule, number: str, report: EvalReport) -> Ruling:
    value, count = numbers(report).get(number), len(report.traces)
    if value is None:
        unknown = "the price of a model is unknown" if number == "cost.usd" and count else "it was not measured"
        outcome: Outcome = "unjudged" if report.outages else "fail"
        return _told(rule, outcome, f"no value: {unknown}", threshold=rule.at_most, of=len(report.rows))
    outcome = "pass" if value <= rule.at_most else "fail"
    reason = f"{value:.6g}, at most {rule.at_most:g} is allowed"
    return _told(rule, outcome, reason, value=value, threshold=rule.at_most, count=count, of=len(report.rows))


def _slice(rule: SliceRule, report: EvalReport) -> Ruling:
    parts: list[SliceRuling] = []
    for name, interval in report.slices(rule.by, rule.metric).items():
        if interval.mean is None or interval.count < rule.min_cases:
            parts.append(SliceRuling(name, interval.mean, interval.count, "unjudged"))
        else:
            parts.append(SliceRuling(name, interval.mean, interval.count, "pass" if interval.mean >= rule.at_least else "fail"))
    held = [part for part in parts if part.value is not None and part.outcome != "unjudged"]
    small = [part.name for part in parts if part.outcome == "unjudged"]
    left = f"; with fewer than {rule.min_cases} scored cases, not judged: {', '.join(small)}" if small else ""
    found = {"threshold": rule.at_least, "parts": tuple(parts), **_counts(rule, report)}
    if not held:
        return _told(rule, "unjudged", f"no {rule.by} has {rule.min_cases} scored cases", **found)
    worst = min(held, key=lambda part: part.value or 0.0)
    below = [f"{part.name} {part.value:.3f}" for part in held if part.outcome == "fail"]
    reason = f"below {rule.at_least:g}: {', '.join(below)}" if below else f"lowest {worst.name} {worst.value:.3f}"
    return _told(rule, "fail" if below else "pass", reason + left, value=worst.value, **found)


def _non_inferior(rule: NonInferiorityRule, report: EvalReport, champion: EvalReport | None) -> Ruling:
    """The low end (in the metric's good direction) of the 95 % interval of candidate − champion is above minus the margin.

    That is the two-sided interval that every report prints, so its one end errs in 1 case of 40.
    """
    assert champion is not None  # refused before anything ran
    found = {"margin": rule.margin, "threshold": -rule.margin, **_counts(rule, report)}
    if apart := not_comparable(champion.header, report.header, rule.metric):
        return _told(rule, "fail", apart, **found)
    compared = compare_metric(champion, report, rule.metric)
    if not compared.count:
        return _told(rule, "unjudged" if report.outages else "fail", "no case was scored for both", **found)
    down = report.header.directions.get(rule.metric) == "lower"
    gain, worst, best = compared.difference, compared.low, compared.high
    if down:
        gain, worst, best = -gain, -compared.high, -compared.low
    holds = worst > -rule.margin
    said = f"{gain:+.3f} [{worst:+.3f}, {best:+.3f}] against the champion, margin {rule.margin:g}"
    if not holds and gain > -rule.margin:
        said += f"; not shown to be within it: {compared.count} cases see a difference of {compared.detectable:.3f}"
    lost = sum(row.value(rule.metric) is not None for row in champion.rows) - compared.count
    said += f"; {lost} cases that the champion has a value for have none now" if lost else ""
    found |= {"value": gain, "low": worst, "high": best, "count": compared.count}
    return _told(rule, "pass" if holds else "fail", said, **found)


def _leak(rule: LeakRule, leaks: Leaks) -> Ruling:
    found = {"value": float(len(leaks.found)), "threshold": 0.0, "count": leaks.asked, "of": leaks.asked}
    if leaks.found:
        return _told(rule, "fail", f"{len(leaks.found)} leaks in {leaks.asked} questions: {'; '.join(leaks.found[:3])}", **found)
    if leaks.nothing:
        return _told(rule, "unjudged", leaks.nothing, **found)
    return _told(rule, "pass", f"none in {leaks.asked} questions with {leaks.hits} hits", **found)


def _counts(rule: AnyRule, report: EvalReport) -> dict[str, Any]:
    return {"count": len(report.values(rule.metrics[0])), "of": len(report.rows)}


def _on(word: str) -> str:
    return {"low": "interval's low end", "high": "interval's high end"}.get(word, word)


def _changes(gate: Gate, report: EvalReport, champion: EvalReport | None) -> CaseChanges:
    """How cases moved by the first metric that is held against the champion."""
    name = next((rule.metric for rule in gate.rules if isinstance(rule, NonInferiorityRule)), "")
    if champion is None or not name or not_comparable(champion.header, report.header, name):
        return CaseChanges()
    before = {row.case.id: row.value(name) for row in champion.rows}
    moved = [
        CaseChange(row.case.id, row.case.question, old, new)
        for row in report.rows
        if (new := row.value(name)) is not None and (old := before.get(row.case.id)) is not None and new != old
    ]
    sign = -1.0 if report.header.directions.get(name) == "lower" else 1.0
    moved.sort(key=lambda change: (sign * (change.after - change.before), change.case))
    ends = moved if len(moved) <= 2 * LARGEST else [*moved[:LARGEST], *moved[-LARGEST:]]
    gains = [sign * (change.after - change.before) for change in moved]
    return CaseChanges(name, tuple(ends), lost=sum(gain <= -FLIP for gain in gains), won=sum(gain >= FLIP for gain in gains))
