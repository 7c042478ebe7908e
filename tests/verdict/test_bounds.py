"""Bounds that may be looked at after every observation: by hand, and by simulation at the edge where they err most."""

import math
from typing import Any

import numpy as np
import pytest

from serving.verdict.bounds import (
    STAKES,
    Numbers,
    Observations,
    drawn,
    log_wealth,
    lower_bound,
    more_needed,
    paired,
    shares,
    skewed_draws,
    upper_bound,
)
from tests.verdict.making import path

ALPHA = 0.05
RUNS = 400
SLACK = 2 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)  # what chance does to a share of 5 % of so many


def test_a_wealth_is_worked_out_by_hand() -> None:
    seen = shares(np.array([1.0, 0.0, 0.0]))
    once = 1 + STAKES * (1.0 - 0.25) / 0.25
    assert log_wealth(seen, 0.25) == pytest.approx(math.log(float(np.mean(once * (1 - STAKES) ** 2))))
    assert log_wealth(seen.gathered, 0.25) == pytest.approx(log_wealth(seen, 0.25))
    assert seen.gathered.count == 3
    assert seen.gathered.mean == pytest.approx(1 / 3)


def test_a_draw_is_on_average_the_difference_whatever_the_weight_is_and_whatever_was_learned() -> None:
    values = np.array([1.0, 0.0] * 20)
    for weight in (0.1, 0.5, 0.8):
        weights = np.full(40, weight)
        yes, no = (drawn(values, np.full(40, chosen), weights) for chosen in (True, False))
        assert weight * yes.values + (1 - weight) * no.values == pytest.approx(np.zeros(40), abs=1e-12)  # both releases alike
        for seen in (yes, no):
            assert np.all((seen.least <= seen.values) & (seen.values <= seen.most))
    late, early = drawn(values, np.full(40, True), np.full(40, 0.5)).values[[20, 0]]
    assert (early, late) == (2.0, pytest.approx(1.0))  # the mean of those before is taken away once it is known


def test_bounds_close_in_on_the_truth_and_stay_within_the_range() -> None:
    rng = np.random.default_rng(1)
    few, many = (shares((rng.random(count) < 0.2).astype(float)) for count in (5, 5000))
    assert upper_bound(few, 0.05, 0.0) - lower_bound(few, 0.05, 0.0) > 0.4
    assert 0.17 < lower_bound(many, 0.05, 0.0) < 0.2 < upper_bound(many, 0.05, 0.0) < 0.23
    assert upper_bound(shares(np.ones(50)), 0.05, 0.0) == pytest.approx(1.0)
    nothing = Observations.of(np.empty(0), np.empty(0), np.empty(0))
    assert (lower_bound(nothing, 0.05), upper_bound(nothing, 0.05)) == (-1.0, 1.0)


def outcomes(rng: np.random.Generator, kind: str, count: int, gain: float) -> tuple[Numbers, Any, Numbers]:
    """Callers whose true difference is `gain` in their worst days and their best, at weights that change."""
    weights = np.where(np.arange(count) < count // 3, 0.1, 0.5)
    chosen = rng.random(count) < weights
    days = np.where(np.arange(count) % 100 < 50, 0.05, 0.6) if kind == "days" else np.full(count, 0.03 if kind == "rare" else 0.3)
    values = (rng.random(count) < np.clip(days + gain * chosen, 0, 1)).astype(float)
    return values, chosen, weights


@pytest.mark.parametrize("kind", ["rare", "common", "days"])
def test_no_difference_looked_at_after_every_caller_is_seldom_called_a_loss_or_a_gain(kind: str) -> None:
    rng = np.random.default_rng(20261129)
    up = down = 0
    for _ in range(RUNS):
        seen = drawn(*outcomes(rng, kind, 600, 0.0))
        up += bool(path(seen, 0.0).max() >= math.log(1 / ALPHA))
        down += bool(path(seen.negated, 0.0).max() >= math.log(1 / ALPHA))
    assert max(up, down) / RUNS <= ALPHA + SLACK


def test_a_loss_as_large_as_the_margin_is_seldom_called_within_it() -> None:
    rng = np.random.default_rng(20261130)
    wrong = 0
    for _ in range(RUNS):
        seen = drawn(*outcomes(rng, "rare", 900, 0.05))
        wrong += bool(path(seen.negated, -0.05).max() >= math.log(1 / ALPHA))
    assert wrong / RUNS <= ALPHA + SLACK


def test_shadows_pairs_looked_at_after_every_one_seldom_differ_where_nothing_does() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(RUNS):
        differences = rng.choice([-1.0, 0.0, 1.0], size=500, p=[0.1, 0.8, 0.1])
        wrong += bool(path(paired(differences), 0.0).max() >= math.log(1 / ALPHA))
    assert wrong / RUNS <= ALPHA + SLACK


def test_how_many_more_are_needed_is_about_right() -> None:
    rng = np.random.default_rng(4)
    decided, foretold = [], []
    for _ in range(40):
        weights, chosen = np.full(4000, 0.5), rng.random(4000) < 0.5
        values = (rng.random(4000) < 0.1).astype(float)
        decided.append(int(np.argmax(path(drawn(values, chosen, weights).negated, -0.05) >= math.log(1 / ALPHA))))
        needed = more_needed(drawn(values[:300], chosen[:300], weights[:300]).gathered, 0.05, ALPHA)
        foretold.append(math.inf if needed is None else 300 + needed)
    assert 0.5 < np.median(foretold) / np.median(decided) < 2.0
    assert more_needed(paired(np.ones(100)), 0.05, ALPHA) is None


def test_missing_callers_are_noticed_and_a_fair_draw_is_not_suspected() -> None:
    rng = np.random.default_rng(5)
    suspected = 0
    for _ in range(200):
        weights = np.where(np.arange(400) < 200, 0.1, 0.5)
        chosen = rng.random(400) < weights
        suspected += any(skewed_draws(chosen[:count], weights[:count]) >= math.log(1000) for count in range(10, 401, 10))
    assert suspected == 0
    assert skewed_draws(np.zeros(200, dtype=np.bool_), np.full(200, 0.1)) >= math.log(1000)
