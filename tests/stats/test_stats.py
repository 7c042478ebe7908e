import math

import numpy as np
import pytest
from scipy import stats

from harness.results.clusters import cluster_of, clusters_of
from harness.stats import (
    cases_needed,
    compare_paired,
    mean_interval,
    minimum_detectable,
    percentile,
    rate_interval,
)
from harness.stats.flips import flip_test
from harness.stats.intervals import skewed_ends, t_ends
from serving.pipeline.errors import ConfigError
from tests.support.making import a_case, unanswerable


def numbers(*values: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.asarray(values, dtype=np.float64)


def test_nothing_scored_is_none_and_one_amount_is_its_own_interval() -> None:
    assert mean_interval([]).mean is None
    one = mean_interval([0.25], shares=False)
    assert (one.mean, one.low, one.high, one.count) == (0.25, 0.25, 0.25, 1)
    same = mean_interval([0.5] * 20, shares=False)
    assert (same.low, same.high) == (0.5, 0.5)


def test_scores_that_are_all_alike_are_no_certainty() -> None:
    # of 20 alike, an unseen 0 or 1 weighs as Clopper's and Pearson's: 1 − 0.025^(1/20) = 0.1684
    same = mean_interval([0.5] * 20)
    assert (same.low, same.high) == (pytest.approx(0.5 - 0.5 * 0.1684, abs=1e-4), pytest.approx(0.5 + 0.5 * 0.1684, abs=1e-4))
    one = mean_interval([0.25])
    assert one.low is not None and one.low < 0.01
    assert one.high is not None and one.high > 0.95


def test_twenty_of_twenty_do_not_prove_perfection() -> None:
    # Wilson, worked by hand: 20 / (20 + 1.959964²) = 0.8389
    found = mean_interval([1.0] * 20)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.8389, abs=5e-5)


def test_a_rate_has_wilsons_interval_as_scipy_gives_it() -> None:
    for successes, count in ((0, 10), (3, 30), (15, 30), (29, 30), (500, 500)):
        found = rate_interval(successes, count)
        ours = mean_interval([1.0] * successes + [0.0] * (count - successes))
        theirs = stats.binomtest(successes, count).proportion_ci(method="wilson")
        assert (found.low, found.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))
        assert ours == found
    assert rate_interval(0, 0).mean is None
    with pytest.raises(ValueError, match="5 successes of 4"):
        rate_interval(5, 4)


def test_a_t_interval_is_that_of_the_textbook() -> None:
    # 1, 2, 3, 4: mean 2.5, deviation 1.290994, standard error 0.645497, t(0.975; 3) = 3.182446
    ends = t_ends(numbers(1, 2, 3, 4))
    assert (ends.low, ends.high) == (pytest.approx(2.5 - 2.054260, abs=1e-5), pytest.approx(2.5 + 2.054260, abs=1e-5))


def test_skewness_moves_the_interval_to_the_side_of_the_long_tail() -> None:
    even, tailed = numbers(1, 2, 3, 4), numbers(0, 0, 0, 0, 1, 1, 2, 8)
    assert skewed_ends(even).low == pytest.approx(t_ends(even).low)
    plain, moved = t_ends(tailed), skewed_ends(tailed)
    assert moved.low > plain.low
    assert moved.high > plain.high


def test_an_end_of_a_skewed_interval_solves_halls_cubic() -> None:
    values = numbers(0, 0, 0, 0, 1, 1, 2, 8)
    count, mean = len(values), values.mean()
    skew = 0.5 * stats.skew(values)  # half of the sample's
    studentised = (mean - skewed_ends(values).low) / (values.std(ddof=1) / math.sqrt(count))
    a = skew / math.sqrt(count)
    assert studentised + a * studentised**2 / 3 + a**2 * studentised**3 / 27 + a / 6 == pytest.approx(stats.t.ppf(0.975, count - 1))


def test_scores_between_0_and_1_have_a_mean_between_0_and_1() -> None:
    found = mean_interval([1.0] * 9 + [0.3])
    assert found.high == 1.0
    assert mean_interval([0.0] * 9 + [700.0]).high > 1.0  # milliseconds are no score


def test_repeated_cases_of_a_cluster_count_once() -> None:
    for values in ([0.1, 0.4, 0.7, 0.9, 0.2], [1.0, 0.0, 1.0, 1.0, 0.0]):
        once = mean_interval(values)
        twice = mean_interval(values + values, [*"abcde", *"abcde"])
        assert (twice.low, twice.high) == (pytest.approx(once.low), pytest.approx(once.high))
        alone = mean_interval(values + values)
        assert alone.low > once.low  # type: ignore[operator]
    all_right = mean_interval([1.0] * 6, [*"aabbcc"])
    assert all_right.low == rate_interval(3, 3).low


def test_clusters_of_one_are_no_clusters() -> None:
    values = list(np.random.default_rng(2).random(12))
    assert mean_interval(values, [str(n) for n in range(12)]) == mean_interval(values)
    assert compare_paired([0.0] * 12, values, [str(n) for n in range(12)]) == compare_paired([0.0] * 12, values)
    with pytest.raises(ValueError, match="2 clusters were named for 12 values"):
        mean_interval(values, ["a", "b"])


def test_a_cluster_flips_as_a_whole() -> None:
    # 5 clusters of 2, each difference +1: of 2⁵ patterns 2 are as extreme, not of 2¹⁰
    clusters = [*"aabbccddee"]
    assert compare_paired([0.0] * 10, [1.0] * 10, clusters).p_value == pytest.approx(2 / 32)
    assert compare_paired([0.0] * 10, [1.0] * 10).p_value == pytest.approx(2 / 1024)
    assert compare_paired([0.0] * 10, [2.0] * 10, clusters).p_value == pytest.approx(2 / 32)  # also by the test of what is not bounded


def test_a_clear_gain_is_better() -> None:
    rng = np.random.default_rng(5)
    before = list(0.8 * rng.random(60))
    after = [value + 0.2 * shift for value, shift in zip(before, rng.random(60), strict=True)]
    assert compare_paired(before, after).outcome == "better"
    assert compare_paired(after, before).outcome == "worse"
    assert compare_paired(after, before, higher_is_better=False).outcome == "better"


def test_the_same_scores_give_the_same_verdict_every_time() -> None:
    before, after = np.random.default_rng(1).random((2, 40)).tolist()
    assert compare_paired(before, after) == compare_paired(before, after)


def test_the_permutation_test_equals_the_exact_p_value_worked_by_hand() -> None:
    assert flip_test(numbers(1, 1, 1, 1, 1)) == pytest.approx(2 / 32)
    assert flip_test(numbers(0, 0, 1, 1, 1, 1, 1)) == pytest.approx(2 / 32)  # a difference of 0 says nothing
    assert flip_test(numbers(1, 2, 3)) == pytest.approx(2 / 8)  # only +++ and −−− reach 6
    assert flip_test(numbers(1, 2, -3)) == 1.0
    # 1, 2, −4: sum −1. Of the eight sums ±1 (twice each: 1+2−4, 1−2… none), ±3, ±5, ±7 all reach 1
    assert flip_test(numbers(1, 2, -4)) == 1.0
    assert flip_test(numbers(4, 2, -1)) == pytest.approx(4 / 8)  # sum 5; −7, −5, 5, 7 reach it


def test_binary_scores_have_mcnemars_exact_test() -> None:
    # 8 gained, 2 lost: 2 · (1 + 10 + 45) / 2¹⁰
    assert flip_test(numbers(*[1.0] * 8, *[-1.0] * 2, *[0.0] * 20)) == pytest.approx(112 / 1024)


def test_differences_that_are_equal_but_for_rounding_are_equal() -> None:
    assert flip_test(numbers(0.1 + 0.2, 0.3, 0.3, 0.3, 0.3)) == pytest.approx(2 / 32)


@pytest.mark.parametrize("count", [14, 40, 300])
def test_drawn_signs_give_scipys_p_value_within_noise(count: int) -> None:
    rng = np.random.default_rng(count)
    difference = rng.exponential(1.0, count) - 0.75
    theirs = stats.permutation_test(
        (difference,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=30_000,
        vectorized=True,
        batch=1000,
        rng=np.random.default_rng(1),
    ).pvalue
    assert flip_test(difference) == pytest.approx(theirs, abs=4 * math.sqrt(max(theirs * (1 - theirs), 1e-4) / 9999) + 1e-3)


def test_a_drawn_p_value_is_never_zero() -> None:
    assert flip_test(np.linspace(1, 2, 200)) == 1 / 10_000


def test_the_same_scores_are_undecided_on_few_cases_and_equivalent_on_many() -> None:
    # no case of n lost anything: a loss of 1 on 1 − 0.025^(1/n) of all is not excluded (Clopper and Pearson)
    few = compare_paired([0.5] * 80, [0.5] * 80, margin=0.02)
    assert (few.outcome, few.difference, few.p_value) == ("undecided", 0.0, 1.0)
    assert (few.low, few.high) == (pytest.approx(-(1 - 0.025 ** (1 / 80)), abs=1e-6), pytest.approx(1 - 0.025 ** (1 / 80), abs=1e-6))
    assert compare_paired([0.5] * 80, [0.5] * 80, margin=0.05).outcome == "equivalent"
    assert compare_paired([0.5] * 200, [0.5] * 200, margin=0.02).outcome == "equivalent"
    assert compare_paired([0.5] * 200, [0.5] * 200, margin=0.02, among=3).outcome == "undecided"


def test_few_pairs_that_all_lose_the_same_are_no_certainty() -> None:
    lost = compare_paired([1.0] * 5, [0.2] * 5)
    assert lost.outcome == "undecided"
    assert -1.0 <= lost.low < -0.8 < 0.0 < lost.high
    assert not lost.non_inferior
    assert compare_paired([1.0] * 14, [0.2] * 14).outcome == "worse"


def test_an_interval_never_leaves_the_range_of_the_difference() -> None:
    for count in (1, 2, 5, 14):
        found = compare_paired([1.0] * count, [0.0] * count)
        assert found.low == -1.0
        assert found.high <= 1.0


def test_an_interval_leaves_0_out_exactly_when_p_allows_it() -> None:
    rng = np.random.default_rng(8)
    seen = set()
    for shift in np.linspace(0.0, 0.3, 60):
        before, after = rng.random(40) * 0.7, np.minimum(1.0, rng.random(40) * 0.7 + shift)
        found = compare_paired(before.tolist(), after.tolist(), among=3)
        assert (found.low > 0.0 or found.high < 0.0) == (found.p_value <= 0.05)
        seen.add(found.outcome)
    assert {"better", "undecided"} <= seen


def test_a_score_that_is_beside_its_range_by_rounding_belongs_to_it() -> None:
    assert compare_paired([0.1 + 0.2] * 5, [1.0 + 1e-12] * 5).bounded
    assert not compare_paired([0.3] * 5, [1.2] * 5).bounded


def test_more_comparisons_ask_more_of_each() -> None:
    before, after = [0.0] * 20, [1.0] * 7 + [0.0] * 13
    alone, three = compare_paired(before, after), compare_paired(before, after, among=3)
    assert (alone.p_value, three.p_value, three.raw_p) == (pytest.approx(2 / 128), pytest.approx(6 / 128), pytest.approx(2 / 128))
    assert three.low < alone.low
    assert compare_paired(before, after, among=4).outcome == "undecided"
    assert three.outcome == "better"


def test_where_less_is_better_a_rise_is_the_loss() -> None:
    rise = compare_paired([0.1] * 40, [0.6] * 40, higher_is_better=False)
    assert (rise.outcome, rise.gain, rise.non_inferior) == ("worse", pytest.approx(-0.5), False)
    assert rise.worst == -rise.high and rise.best == -rise.low


def test_amounts_have_no_interval_on_few_clusters_and_no_margin_of_scores() -> None:
    few = compare_paired([10.0] * 9, [20.0] * 9, shares=False, margin=0.0)
    assert (few.low, few.high, few.outcome) == (-math.inf, math.inf, "undecided")
    more = compare_paired([10.0, 12.0] * 10, [20.0, 23.0] * 10, shares=False, margin=0.0, higher_is_better=False)
    assert more.outcome == "worse"
    assert more.low > 9.0


def test_nothing_in_common_is_undecided_and_rules_nothing_out() -> None:
    nothing = compare_paired([], [])
    assert (nothing.outcome, nothing.count, nothing.non_inferior) == ("undecided", 0, False)


def test_a_guess_says_how_many_cases_would_decide() -> None:
    rng = np.random.default_rng(4)
    before, after = (rng.random(30) < 0.6).astype(float).tolist(), (rng.random(30) < 0.6).astype(float).tolist()
    found = compare_paired(before, after)
    needed = found.cases_to_show(0.02)
    assert needed is not None and 5_000 < needed < 25_000  # (2.8 · 0.7 / 0.02)²
    twice = compare_paired(before + before, after + after, [str(n % 30) for n in range(60)])
    assert twice.cases_to_show(0.02) == pytest.approx(2 * needed, rel=0.01)  # two cases on each document


def test_cases_needed_are_those_of_the_textbook() -> None:
    # paired t test, two sides, 5 %, 80 %: 199, 34 and 15 pairs for effects of 0.2, 0.5 and 0.8 deviations
    assert [cases_needed(1.0, effect) for effect in (0.2, 0.5, 0.8)] == [199, 34, 15]
    assert cases_needed(1.0, -0.5) == 34
    assert cases_needed(0.0, 0.1) == 2


@pytest.mark.parametrize("count", [10, 30, 100, 500])
def test_what_is_detectable_is_detected_four_times_in_five(count: int) -> None:
    effect = minimum_detectable(1.0, count)
    reach = stats.t.ppf(0.975, count - 1)
    power = stats.nct.sf(reach, count - 1, effect * math.sqrt(count))
    assert power == pytest.approx(0.8, abs=0.005)
    assert cases_needed(1.0, effect) == count
    assert minimum_detectable(2.0, count) == pytest.approx(2 * effect)


def test_one_case_detects_nothing_and_what_does_not_vary_shows_all() -> None:
    assert minimum_detectable(0.3, 1) == math.inf
    assert minimum_detectable(0.0, 1) == 0.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0.3, 0.0), "No number of cases"), ((0.3, math.nan), "No number"), ((-1.0, 0.1), "A spread"), ((0.3, 1e-9), "No number")],
)
def test_a_difference_out_of_reach_is_refused(arguments: tuple[float, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cases_needed(*arguments)


def test_a_share_is_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match="power is a share"):
        minimum_detectable(0.3, 10, power=1.0)


def test_percentiles_of_nothing_are_none() -> None:
    assert percentile([], 0.5) is None
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0


def test_cases_on_one_document_are_one_cluster() -> None:
    assert cluster_of(a_case(id="a")) == cluster_of(a_case(id="b"))
    assert cluster_of(unanswerable(id="u")) != cluster_of(unanswerable(id="v"))
    assert cluster_of(unanswerable(id="u", group="g")) == cluster_of(unanswerable(id="v", group="g"))


def test_few_documents_are_clusters_too() -> None:
    cases = [unanswerable(id=f"u{n}") for n in range(3)]
    assert clusters_of(cases) == ["case:u0", "case:u1", "case:u2"]
    assert compare_paired([0.0] * 12, [1.0] * 12, ["a", "b", "c"] * 4).outcome == "undecided"
