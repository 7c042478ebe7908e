import numpy as np
import pytest

from harness.stats import Comparison, compare, holm, mean_interval, percentile


def test_nothing_scored_is_none_and_one_value_is_its_own_interval() -> None:
    assert mean_interval([]).mean is None
    one = mean_interval([0.25])
    assert (one.mean, one.low, one.high, one.count) == (0.25, 0.25, 0.25, 1)
    same = mean_interval([1.0] * 20)
    assert (same.low, same.high) == (1.0, 1.0)


def test_the_same_scores_give_the_same_interval_every_time() -> None:
    values = list(np.random.default_rng(1).random(40))
    assert mean_interval(values) == mean_interval(values)


def test_an_interval_covers_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        found = mean_interval(list(rng.beta(2, 3, size=60)))
        assert found.low is not None and found.high is not None
        inside += found.low <= 2 / 5 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_equal_configurations_are_a_tie_and_a_clear_gain_is_better() -> None:
    rng = np.random.default_rng(5)
    before = list(rng.random(60))
    assert compare(before, before).outcome == "tie"
    assert compare(before, [value + 0.2 for value in before]).outcome == "better"
    assert compare(before, [value - 0.2 for value in before]).outcome == "worse"
    assert compare(before, [value - 0.2 for value in before], higher_is_better=False).outcome == "better"


def test_the_permutation_test_equals_the_exact_p_value_worked_by_hand() -> None:
    # differences 1, 1, 1, 1, 1: of 32 sign patterns 2 are as extreme
    found = compare([0.0] * 5, [1.0] * 5)
    assert found.p_value == pytest.approx(2 / 32)


def test_the_test_rejects_about_one_true_null_in_twenty() -> None:
    rng = np.random.default_rng(8)
    rejected = sum(compare(list(a), list(b)).outcome != "tie" for a, b in (rng.random((2, 40)) for _ in range(100)))
    assert rejected <= 11


def test_holm_corrects_as_worked_by_hand() -> None:
    def one(p: float, difference: float = 0.1) -> Comparison:
        return Comparison(difference, 0, 0, p, 10, 0, "tie")

    found = holm([one(0.04), one(0.01), one(0.03)])
    assert [pytest.approx(c.p_value) for c in found] == [0.06, 0.03, 0.06]
    assert [c.outcome for c in found] == ["tie", "better", "tie"]
    assert holm([one(0.01, -0.1)])[0].outcome == "worse"


def test_percentiles_of_nothing_are_none() -> None:
    assert percentile([], 0.5) is None
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
