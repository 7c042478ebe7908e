"""From an evaluation to a decision: the ruling on every rule, and what they come to; nothing here runs a model."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from harness.comparison.differences import FLIP
from harness.gate.champion import not_comparable
from harness.gate.decision import CaseChange, CaseChanges, Decision, Ruling, State
from harness.gate.gate import Gate
from harness.gate.leaks import Leaks
from harness.gate.rules import NonInferiorityRule
from harness.gate.ruling import make_ruling, ruling_of
from harness.results.report import EvalReport

LARGEST = 5  # changes listed in each direction


def decide(gate: Gate, report: EvalReport, champion: EvalReport | None, leaks: Mapping[str, Leaks], *, reproduce: str = "") -> Decision:
    """The rulings on all rules, and the decision; an outage leaves the whole gate undecided."""
    rulings = tuple(ruling_of(rule, report, champion, leaks) for rule in gate.rules)
    outages = report.outages
    if outages:
        rulings = tuple(_without_verdict(ruling) for ruling in rulings)
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
        changes=_case_changes(gate, report, champion),
        reproduce=reproduce,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        valid_hours=gate.valid_hours,
    )


def undecided(gate: Gate, message: str, *, reproduce: str = "") -> Decision:
    """The decision when an outage left nothing to judge."""
    rulings = tuple(make_ruling(rule, "unjudged", "the machinery failed") for rule in gate.rules)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision(
        gate.name, gate.digest, "infrastructure", message, gate.golden, gate.split, rulings, reproduce=reproduce, decided_at=now
    )


def _without_verdict(ruling: Ruling) -> Ruling:
    """A ruling on the answered cases only, which is no verdict; a leak stays one."""
    if ruling.rule == "leak":
        return ruling
    return replace(ruling, outcome="unjudged", reason=f"on the answered cases only: {ruling.reason}")


def _case_changes(gate: Gate, report: EvalReport, champion: EvalReport | None) -> CaseChanges:
    """How cases changed by the first metric that is compared with the champion."""
    name = next((rule.metric for rule in gate.rules if isinstance(rule, NonInferiorityRule)), "")
    if champion is None or not name or not_comparable(champion.header, report.header, name):
        return CaseChanges()
    before = {row.case.id: row.value(name) for row in champion.rows}
    changed = [
        CaseChange(row.case.id, row.case.question, old, new)
        for row in report.rows
        if (new := row.value(name)) is not None and (old := before.get(row.case.id)) is not None and new != old
    ]
    sign = -1.0 if report.header.directions.get(name) == "lower" else 1.0
    changed.sort(key=lambda change: (sign * (change.after - change.before), change.case))
    largest = changed if len(changed) <= 2 * LARGEST else [*changed[:LARGEST], *changed[-LARGEST:]]
    differences = [sign * (change.after - change.before) for change in changed]
    return CaseChanges(name, tuple(largest), lost=sum(gain <= -FLIP for gain in differences), won=sum(gain >= FLIP for gain in differences))
