import math

import numpy as np
import pytest

from harness.calibrate.reliability import calibration_error, ranking, reliability
from harness.reports.reliability import curve_svg


def test_the_calibration_error_is_the_mean_distance_over_bins() -> None:
    said = np.array([0.2] * 15 + [0.8] * 15)
    right = np.array([1.0] * 3 + [0.0] * 12 + [1.0] * 9 + [0.0] * 6)
    assert calibration_error(said, right) == pytest.approx(0.5 * 0.0 + 0.5 * 0.2)  # .2 said and .2 right; .8 said and .6 right


def test_ranking_is_the_share_of_pairs_in_the_right_order() -> None:
    assert ranking(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(3.5 / 4)
    assert math.isnan(ranking(np.array([0.9, 0.5]), np.array([1.0, 1.0])))


def drawn(factor: float, count: int = 600) -> tuple[list[float], list[bool], list[str]]:
    rng = np.random.default_rng(7)
    true = rng.beta(1.5, 3.0, count)
    right = rng.random(count) < true
    return list(np.clip(true * factor, 0.0, 1.0)), list(map(bool, right)), [f"g{row // 2}" for row in range(count)]


def test_true_probabilities_are_called_calibrated_and_doubled_or_halved_ones_are_not() -> None:
    assert reliability(*drawn(1.0)).verdict == "calibrated as far as these answers show"
    assert reliability(*drawn(2.0)).verdict == "badly calibrated: it says more than is right"
    assert reliability(*drawn(0.5)).verdict == "badly calibrated: it says less than is right"


def test_probabilities_that_are_right_on_the_whole_and_wrong_in_parts_are_told() -> None:
    said, right, groups = drawn(1.0)
    flat = [float(np.mean(right)) + (0.25 if number % 2 else -0.25) for number in range(len(said))]
    assert reliability(flat, right, groups).verdict == "badly calibrated in parts: the error is more than twice what chance makes"


def test_figures_of_true_probabilities_and_their_intervals() -> None:
    figures = reliability(*drawn(1.0))
    assert figures.brier.mean is not None
    assert figures.brier.low is not None
    assert figures.brier.high is not None
    assert figures.brier.low < figures.brier.mean < figures.brier.high
    assert figures.brier.mean < figures.constant_brier
    assert figures.gap.low is not None
    assert figures.gap.high is not None
    assert figures.gap.low < 0 < figures.gap.high
    assert sum(one.right.count for one in figures.bins) == 600
    assert reliability(*drawn(1.0)) == figures  # the same draws each time


def test_few_answers_make_one_bin_and_all_right_ones_no_ranking() -> None:
    figures = reliability([0.9] * 5, [True] * 5, list("abcde"))
    assert (len(figures.bins), figures.auc.mean) == (1, None)


def test_the_curve_is_a_picture_without_script_or_text_from_elsewhere() -> None:
    picture = curve_svg(reliability(*drawn(1.0)))
    assert picture.count("<circle") == len(reliability(*drawn(1.0)).bins)
    assert "script" not in picture
    assert "NaN" not in picture
