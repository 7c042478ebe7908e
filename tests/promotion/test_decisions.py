from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.gate.decision import Decision, Outcome, Ruling
from harness.promotion.decisions import FoundDecision, RequiredGate, proving
from serving.pipeline.errors import NotProven
from tests.support.gating import a_gate

NOW = datetime(2026, 11, 8, 12, tzinfo=UTC)
STRICT = RequiredGate(Path("strict.yaml"), a_gate({"rule": "errors"}, name="strict"), "g", "s")
QUICK = RequiredGate(Path("quick.yaml"), a_gate({"rule": "errors"}, name="quick"), "g", "s2")


def ruled(required: RequiredGate, outcome: Outcome = "pass") -> tuple[Ruling, ...]:
    return tuple(Ruling(rule.id, rule.rule, rule.subject, outcome, "", rule.advisory) for rule in required.gate.rules)


def decided(required: RequiredGate = STRICT, *, hours_ago: float = 1, **changes: Any) -> FoundDecision:
    facts: dict[str, Any] = {
        "gate": required.gate.name,
        "gate_digest": required.gate.digest,
        "state": "pass",
        "message": "1 of 1 rules hold",
        "golden": "tiny/v1",
        "split": "all",
        "rulings": ruled(required),
        "golden_digest": required.golden_digest,
        "split_digest": required.split_digest,
        "config_digest": "ours",
        "decided_at": (NOW - timedelta(hours=hours_ago)).isoformat(),
    }
    return FoundDecision(Path(f"gates/{hours_ago:g}/decision.json"), Decision(**facts | changes))


def proven(*decisions: FoundDecision, gates: tuple[RequiredGate, ...] = (STRICT,)) -> FoundDecision:
    return proving("ours", gates, decisions, NOW)


def test_a_passed_decision_on_all_as_it_is_now_proves() -> None:
    assert proven(decided()) == decided()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "fail", "message": "1 of 1 rules do not hold: r0"}, "says that the gate 'strict' failed: 1 of 1 rules do not hold: r0"),
        ({"state": "infrastructure", "message": "the endpoint is down"}, "could not decide: the endpoint is down"),
        ({"config_digest": "another"}, "is of configuration another, not ours"),
        ({"config_digest": ""}, "is of configuration unknown, not ours"),
        ({"gate_digest": "weaker"}, "was decided by other rules than strict.yaml has now"),
        ({"golden_digest": "older"}, "was decided on other questions than tiny/v1 has now"),
        ({"split_digest": "older"}, "was decided on other cases than the all split of tiny/v1 has now"),
        ({"hours_ago": 168.1}, "was valid for 168 hours"),
        ({"hours_ago": 3, "valid_hours": 2}, "was valid for 2 hours"),
        ({"hours_ago": -1}, "was valid for 168 hours"),
        ({"hours_ago": 169, "valid_hours": 100_000_000_000}, "was valid for 168 hours"),
        ({"rulings": ()}, "does not rule on what the gate 'strict' asks"),
        ({"rulings": ruled(STRICT, "fail")}, "says pass, and its rule 'r0' says fail"),
        ({"rulings": ruled(STRICT, "unjudged")}, "no rule that could block was judged: the gate 'strict' asked nothing of it"),
        ({"gate": "lenient"}, "there is no decision of the gate 'strict' on configuration ours"),
    ],
)
def test_whatever_is_wrong_with_a_decision_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(NotProven) as caught:
        proven(decided(**change))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decision_is_valid_to_the_hour_that_it_says() -> None:
    assert proven(decided(hours_ago=168))
    longer = RequiredGate(Path("longer.yaml"), a_gate({"rule": "errors"}, name="longer", valid_hours=400), "g", "s")
    assert proven(decided(longer, hours_ago=400, valid_hours=400), gates=(longer,))


def test_a_gate_that_only_advises_proves_nothing() -> None:
    mild = RequiredGate(Path("mild.yaml"), a_gate({"rule": "errors", "advisory": True}, name="mild"), "g", "s")
    with pytest.raises(NotProven, match="no rule that could block was judged"):
        proven(decided(mild), gates=(mild,))


def test_a_decision_against_another_champion_than_the_one_recorded_proves_nothing() -> None:
    rule = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}
    compared = RequiredGate(Path("compared.yaml"), a_gate(rule, name="compared"), "g", "s", "best")
    assert proven(decided(compared, champion_digest="best"), gates=(compared,))
    itself = RequiredGate(compared.file, compared.gate, "g", "s", "ours")  # what passed was recorded as the champion since
    assert proven(decided(compared, champion_digest="best"), gates=(itself,))
    with pytest.raises(NotProven, match="was held against the champion weak; recorded is best now"):
        proven(decided(compared, champion_digest="weak"), gates=(compared,))


def test_without_any_decision_and_without_any_gate_nothing_is_proven() -> None:
    with pytest.raises(NotProven, match="there is no decision of the gate 'strict' or 'quick' on configuration ours"):
        proven(gates=(STRICT, QUICK))
    with pytest.raises(NotProven, match="there is no gate 'experiments/gates/promotion.yaml'; name one with --gate FILE"):
        proven(decided(), gates=())


def test_the_newest_that_fits_counts() -> None:
    newest, older = decided(hours_ago=1), decided(hours_ago=2)
    assert proven(older, newest) == newest == proven(newest, older)
    misfit = decided(hours_ago=0.5, golden_digest="older")
    assert proven(older, misfit) == older


def test_a_later_failure_takes_an_earlier_pass_back_and_a_later_pass_heals() -> None:
    failed = decided(hours_ago=1, state="fail")
    with pytest.raises(NotProven, match="failed"):
        proven(decided(hours_ago=2), failed)
    assert proven(failed, decided(hours_ago=0.5)).at > failed.at


def test_an_outage_is_no_verdict_and_takes_nothing_back() -> None:
    passed = decided(hours_ago=2)
    assert proven(passed, decided(hours_ago=1, state="infrastructure")) == passed


def test_any_of_several_gates_is_enough() -> None:
    quick = decided(QUICK, hours_ago=3)
    assert proven(quick, gates=(QUICK, STRICT)) == quick
    assert proven(quick, decided(state="fail"), gates=(QUICK, STRICT)) == quick
    assert proven(quick, decided(), gates=(QUICK, STRICT)) == decided()
    with pytest.raises(NotProven, match="no decision of the gate 'strict'"):
        proven(quick)
