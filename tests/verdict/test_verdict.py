"""A candidate's verdict by traces whose truth is known."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.pipeline.errors import ConfigError
from serving.traces.record import Feedback
from serving.verdict.bounds import drawn
from serving.verdict.callers import CallerLedger, DrawnCaller
from serving.verdict.decide import CandidateVerdict, Measured, decide
from serving.verdict.rules import VerdictRules
from tests.verdict.making import INCIDENT, NEW, START, TURN_S, a_question, callers, costing, path, traffic

RULES = VerdictRules()
ALIKE = 6  # questions of a caller: taken one by one they would call equal releases worse in 6 of 10 runs


def measured(found: CandidateVerdict, name: str) -> Measured:
    return next(one for one in found.measures if one.name == name)


def judged(met: Callable[[bool], dict[str, Any]], count: int = 600, seed: int = 1, **more: Any) -> CandidateVerdict:
    return decide(callers(traffic(np.random.default_rng(seed), count, met, **more)), "canary", RULES)


def test_two_releases_alike_are_no_worse_once_there_are_enough_and_undecided_before() -> None:
    early, late = (judged(lambda chosen: {"usage": costing(0.001)}, count) for count in (60, 900))
    assert (early.verdict, late.verdict) == ("undecided", "no worse")
    assert early.needed > 0
    assert "questions more would decide" in early.reason
    assert measured(late, "refused").outcome == "no worse"
    assert (measured(late, "refused").high or 1.0) < 0.05
    for name, why in (("complaints", "silence is no praise"), ("disagreements", "both releases")):
        one = measured(late, name)
        assert (one.outcome, one.candidate, one.low) == ("not measured", None, None)
        assert why in one.reason


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("refused", {"refused": True}),
        ("failed", {"role": "failed"}),
        ("degraded", {"degraded": True}),
        ("incidents", {"incidents": INCIDENT}),
        ("slow", {"milliseconds": 9000.0}),
        ("cost", {"usage": costing(0.002)}),
    ],
)
def test_what_is_clearly_worse_is_found_and_named(name: str, bad: dict[str, Any]) -> None:
    found = judged(lambda chosen: {"usage": costing(0.001)} | (bad if chosen else {}), 200)
    assert found.verdict == "worse"
    assert [one.name for one in found.measures if one.outcome == "worse"] == [name]
    assert found.candidate_callers > 50
    assert "beyond the margin" in found.reason
    assert (measured(found, name).low or 0.0) > measured(found, name).margin


def test_the_cost_is_told_in_dollars_and_compared_from_the_callers_on_that_set_its_scale() -> None:
    few, many = (judged(lambda chosen: {"usage": costing(0.002 if chosen else 0.001)}, count) for count in (50, 400))
    assert "first 50 callers" in measured(few, "cost").reason
    one = measured(many, "cost")
    assert one.candidate == pytest.approx(0.002)
    assert one.stable == pytest.approx(0.001)
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.001 < one.high
    assert one.margin == pytest.approx(0.2 * 0.0015, rel=0.2)
    free = judged(lambda chosen: {}, 100)
    assert "known to have cost" in measured(free, "cost").reason
    unknown = judged(lambda chosen: {"usage": costing(0.001, priced=not chosen)}, 100)
    assert (measured(unknown, "cost").outcome, measured(unknown, "cost").candidate) == ("not measured", None)


def test_fewer_refusals_are_better_and_hide_no_loss_elsewhere() -> None:
    better = judged(lambda chosen: {"refused": not chosen}, 600)
    both = judged(lambda chosen: {"refused": not chosen, "degraded": chosen}, 600)
    assert (better.verdict, measured(better, "refused").outcome) == ("better", "better")
    assert both.verdict == "worse"


def test_a_caller_is_one_observation_whatever_it_asks_and_counts_when_its_turn_is_over() -> None:
    traces = [a_question(START, 0.1, refused=True), *(a_question(START + second, 0.1) for second in (1, 2, 3))]
    ledger = CallerLedger(NEW, "canary", RULES)
    ledger.add([*traces, a_question(START + 5, 0.9), a_question(START + TURN_S + 1, 0.1, refused=True)])
    assert ledger.callers(START + TURN_S - 1, None) == []
    first, second = ledger.callers(START + TURN_S + 5, None)
    assert (first.chosen, second.chosen) == (True, False)
    assert (len(first.questions), first.mean("refused")) == (4, 0.25)  # what came after the turn counts no more


def test_only_questions_that_were_drawn_between_the_two_count() -> None:
    drawn = a_question(START, 0.1)
    others = [
        a_question(START, 0.2, draw=None),  # a server that had not loaded the candidate
        a_question(START, 0.3, mode="shadow"),
        a_question(START, 0.4, 1.0),  # there was nobody to compare with
    ]
    found = callers(iter([drawn, *others]))
    assert [caller.at for caller in found] == [START]


def test_whoever_meets_both_because_the_weight_grew_counts_for_the_first() -> None:
    before, after = a_question(START, 0.3, 0.1), a_question(START + 1, 0.3, 0.5, refused=True)
    [caller] = callers(iter([before, after]))
    assert (caller.chosen, caller.weight, caller.mean("refused")) == (False, 0.1, 0.0)


def test_a_complaint_counts_within_the_turn_and_is_measured_where_there_is_any() -> None:
    rng = np.random.default_rng(2)
    traces = list(traffic(rng, 300, lambda chosen: {}))
    said = [Feedback(one.id, one.id, one.at + 5, "acme", "ann", "thumbs", -1.0) for one in traces if one.role == "canary"]
    ledger = CallerLedger(NEW, "canary", RULES)
    ledger.add(traces)
    found = decide(ledger.callers(START + 1e9, said), "canary", RULES)
    late = [Feedback(one.id, one.trace_id, one.at + TURN_S, "acme", "ann", "correction", None, "no") for one in said]
    assert (found.verdict, measured(found, "complaints").candidate) == ("worse", 1.0)
    assert measured(decide(ledger.callers(START + 1e9, late), "canary", RULES), "complaints").outcome == "not measured"


def a_pair(number: int, share: float, old: dict[str, Any], new: dict[str, Any]) -> list[Any]:
    shown = a_question(START + number, share, 1.0, "shadow", **old)
    return [
        shown,
        a_question(START + number + 0.5, share, 1.0, "shadow", **({"role": "shadow", "pair": shown.id, "disagreement": ""} | new)),
    ]


def shadowed(count: int, new: Callable[[int], dict[str, Any]]) -> CandidateVerdict:
    rng = np.random.default_rng(6)
    traces = [one for number in range(count) for one in a_pair(number, float(rng.random()), {}, new(number))]
    return decide(callers(iter(traces), mode="shadow"), "shadow", RULES)


def test_a_shadow_is_held_against_what_was_shown_pair_by_pair() -> None:
    same, worse = shadowed(400, lambda n: {}), shadowed(60, lambda n: {"refused": n % 2 == 0})
    assert (same.verdict, same.candidate_callers) == ("no worse", 400)
    assert measured(same, "disagreements").outcome == "no worse"
    assert measured(same, "degraded").outcome == measured(same, "complaints").outcome == "not measured"
    assert (worse.verdict, measured(worse, "refused").difference) == ("worse", 0.5)


def test_many_disagreements_are_no_loss_and_no_licence_either() -> None:
    found = shadowed(400, lambda n: {"disagreement": "other numbers or codes" if n % 2 else ""})
    assert (found.verdict, measured(found, "disagreements").outcome) == ("undecided", "undecided")
    assert "read the pairs" in found.reason


def test_a_shadow_that_fails_counts_as_failed_and_as_nothing_else() -> None:
    found = shadowed(60, lambda n: {"role": "failed"} if n % 2 else {})
    assert (found.verdict, measured(found, "failed").candidate) == ("worse", 0.5)
    assert (measured(found, "refused").candidate, measured(found, "refused").outcome) == (0.0, "undecided")


def test_a_shadow_without_the_answer_that_was_shown_is_no_pair() -> None:
    alone = a_question(START, 0.5, 1.0, "shadow", role="shadow", pair="gone")
    assert callers(iter([alone]), mode="shadow") == []


def test_missing_answers_of_the_candidate_make_the_rest_say_nothing() -> None:
    rng = np.random.default_rng(8)
    traces = [one for one in traffic(rng, 800, lambda chosen: {}) if one.role == "stable" or one.draw.share < 0.1]  # type: ignore[union-attr]
    found = decide(callers(iter(traces)), "canary", RULES)
    assert found.verdict == "undecided"
    assert "are missing" in found.reason


@pytest.mark.parametrize(("mode", "said"), [("blue-green", "asked nothing"), ("interleave", "passages of both")])
def test_modes_that_show_nothing_say_so(mode: Any, said: str) -> None:
    found = decide([], mode, RULES)
    assert (found.verdict, found.measures) == ("undecided", ())
    assert said in found.reason


def test_no_traffic_is_undecided_and_says_how_much_is_needed() -> None:
    found, rare, whole = (decide([], "canary", RULES, weight=weight) for weight in (0.5, 0.1, 1.0))
    assert (found.verdict, found.callers) == ("undecided", 0)
    assert 100 < found.needed < rare.needed < 2000
    assert "nothing to compare with" in whole.reason
    assert decide([], "shadow", RULES, weight=1.0).needed >= 50
    assert not any("shadow" in one.reason for one in found.measures)
    assert all(one.outcome == "not measured" and one.candidate is None for one in found.measures)


@pytest.mark.parametrize("given", [{"alpha": 0.0}, {"margin": 1.0}, {"slow_ms": -1.0}, {"minutes": -1.0}])
def test_rules_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    usual: dict[str, Any] = {"alpha": 0.05, "margin": None, "slow_ms": 5000.0, "minutes": 10.0, "at_least": 50}
    with pytest.raises(ConfigError):
        VerdictRules.of(**(usual | given))


def met(seed: int, bad: Callable[[np.random.Generator, bool], bool], count: int) -> list[DrawnCaller]:
    """Callers with several questions each, all alike."""
    rng = np.random.default_rng(seed)
    return callers(traffic(rng, count, lambda chosen: {"refused": bad(rng, chosen)}, questions=ALIKE))


def test_callers_with_questions_alike_and_a_look_after_every_one_seldom_make_equal_releases_worse() -> None:
    wrong = 0
    for seed in range(200):
        found = met(seed, lambda rng, chosen: bool(rng.random() < 0.3), 100)
        assert {len(caller.questions) for caller in found} == {ALIKE}
        values = np.array([caller.mean("refused") for caller in found])
        seen = drawn(values, np.array([caller.chosen for caller in found]), np.array([caller.weight for caller in found]))
        wrong += bool(path(seen, 0.0).max() >= math.log(1 / RULES.alpha))  # any loss at all, which is more than the verdict's margin
    assert wrong / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_the_whole_verdict_looked_at_after_every_caller_seldom_calls_equal_releases_worse() -> None:
    wrong = 0
    for seed in range(15):
        found = met(seed, lambda rng, chosen: bool(rng.random() < 0.3), 80)
        wrong += any(decide(found[:seen], "canary", RULES).verdict == "worse" for seen in range(1, 81))
    assert wrong <= 1


def test_a_clear_loss_is_found_within_two_hundred_callers() -> None:
    for seed in range(10):
        found = met(seed, lambda rng, chosen: bool(rng.random() < (0.6 if chosen else 0.1)), 200)
        assert decide(found, "canary", RULES).verdict == "worse"
