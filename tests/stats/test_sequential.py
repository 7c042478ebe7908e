import math

import numpy as np

from harness.stats.sequential import STAKES, surely_worse, wealth


def test_a_purse_grows_with_what_was_lost_and_shrinks_with_what_was_won() -> None:
    assert wealth([]) == 1.0
    assert math.isclose(wealth([-1.0]), float(np.mean(1 + STAKES)))
    assert math.isclose(wealth([-1.0, 1.0]), float(np.mean((1 + STAKES) * (1 - STAKES))))
    assert wealth([0.0] * 50) == 1.0


def test_ten_losses_in_a_row_are_sure_and_three_are_not() -> None:
    assert surely_worse([-1.0] * 10, 0.05)
    assert not surely_worse([-1.0] * 3, 0.05)
    assert not surely_worse([1.0] * 100, 0.05)


def test_an_equal_configuration_looked_at_after_every_case_is_seldom_dropped() -> None:
    rng = np.random.default_rng(11)
    dropped = 0
    for _ in range(400):
        differences = rng.choice([-1.0, 0.0, 1.0], size=120, p=[0.2, 0.6, 0.2])
        dropped += any(surely_worse(differences[:count].tolist(), 0.05) for count in range(5, 121, 5))
    assert dropped / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_clearly_worse_one_is_dropped_soon() -> None:
    rng = np.random.default_rng(12)
    seen = []
    for _ in range(100):
        differences = rng.choice([-1.0, 0.0, 1.0], size=120, p=[0.5, 0.4, 0.1])
        seen.append(next((count for count in range(5, 121, 5) if surely_worse(differences[:count].tolist(), 0.05)), 999))
    assert np.median(seen) <= 40
