import pytest

from harness.gate.decision import Decision

pytestmark = pytest.mark.quality


def test_the_gate_could_decide(decision: Decision) -> None:
    assert decision.state != "infrastructure", decision.message


def test_the_rule_holds(decision: Decision, rule: str) -> None:
    ruling = decision.ruling(rule)
    assert not ruling.blocks, f"{ruling.subject}: {ruling.reason}"
    if ruling.outcome != "pass":
        pytest.skip(f"{ruling.outcome_text}: {ruling.reason}")
