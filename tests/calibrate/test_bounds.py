import numpy as np
import pytest

from harness.calibrate.bounds import Sample, counted_p_values, labels_needed, least_labels, p_value, p_value_above, upper_bound


def losses(*values: float, high: float = 1.0) -> Sample:
    return Sample(np.array(values, dtype=np.float64), high)


def test_sizes_are_those_of_the_rule_that_nothing_went_wrong() -> None:
    assert least_labels(0.01, 0.05) == 299  # 0.99^299 = 0.0495, 0.99^298 = 0.0500 and a little
    assert least_labels(0.05, 0.05) == 59
    assert least_labels(0.5, 0.25) == 2  # 0.5² is 0.25 exactly
    assert least_labels(0.02, 0.05, high=2.0) == 299  # 2 % of a loss of at most 2


def test_counted_losses_have_the_binomials_tail_as_p_value() -> None:
    assert p_value(losses(0, 0, 0), 0.5) == pytest.approx(1 / 8)
    assert p_value(losses(1, 0, 0), 0.5) == pytest.approx(4 / 8)
    assert p_value(losses(), 0.5) == 1.0
    assert counted_p_values(np.array([0.0, 1.0, 0.0]), np.array([3, 3, 0]), 0.5).tolist() == pytest.approx([1 / 8, 4 / 8, 1.0])
    assert p_value_above(losses(1, 1, 0), 0.5) == pytest.approx(4 / 8)
    assert p_value_above(losses(0, 0, 0), 0.5) == 1.0


def test_the_bound_is_the_level_that_the_p_value_excludes() -> None:
    assert upper_bound(losses(0, 0, 0), 1 / 8) == pytest.approx(0.5)
    assert upper_bound(losses(0, 0, 0, high=4.0), 1 / 8) == pytest.approx(2.0)
    assert upper_bound(losses(), 0.05) == 1.0
    assert upper_bound(losses(1, 1), 0.05) == 1.0
    graded = losses(0.2, 0.0, 0.4, 0.1, 0.0)
    assert p_value(graded, upper_bound(graded, 0.05)) == pytest.approx(0.05, abs=1e-4)


def test_the_bound_for_other_losses_is_the_binomials_where_both_apply() -> None:
    counted = losses(*[1.0] * 3 + [0.0] * 97)
    nearly = Sample(counted.losses * (1 - 1e-9), 1.0)  # no longer all or nothing
    assert not nearly.all_or_nothing
    assert p_value(nearly, 0.08) == pytest.approx(p_value(counted, 0.08), rel=1e-4)
    assert upper_bound(nearly, 0.05) == pytest.approx(upper_bound(counted, 0.05), abs=1e-4)


def test_labels_needed_are_those_with_which_the_bound_holds() -> None:
    assert labels_needed(losses(0, 0), 0.01, 0.05) == 299
    assert labels_needed(losses(1, 0), 0.4, 0.05) is None
    ten = losses(1, *[0.0] * 99)
    needed = labels_needed(ten, 0.02, 0.05)
    assert needed is not None
    share = needed // 100
    assert p_value(losses(*[1.0] * share, *[0.0] * (needed - share)), 0.02) <= 0.06
    assert labels_needed(losses(*[0.1] * 3, *[0.0] * 30), 0.05, 0.05) is not None
