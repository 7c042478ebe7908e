import numpy as np
import pytest

from harness.stats.catch_up import cannot_catch_up, highest_end, log_wealth


def test_what_the_cases_left_cannot_bring_is_out_of_reach_for_certain() -> None:
    known = np.full((1, 20), 0.9)
    assert not cannot_catch_up([0.0], 0.9, known, 1e-9)  # 19 of 20 may still bring 0.95
    assert cannot_catch_up([0.0, 0.0, 0.0], 0.9, known, 1e-9)  # 17 of 20 bring at most 0.85
    assert not cannot_catch_up([], 0.9, known, 0.5)


def test_one_bet_is_what_it_is_by_hand() -> None:
    # the forecast is 0.5, and its mean over all; 0.6 are needed, so a surprise of 0.1 is the least that is fair
    stakes = np.linspace(0.05, 0.95, 19)
    assert np.exp(log_wealth([0.2], 0.6, np.full((1, 10), 0.5))) == pytest.approx(np.mean(1 + 0.4 * stakes))
    # then 5.8 of 9 are needed, 0.6444 each
    second = 1 - np.minimum(stakes, 0.95 / (1 - 0.58 / 4)) * (0.9 - 0.5 - (5.8 / 9 - 0.5))
    assert np.exp(log_wealth([0.2, 0.9], 0.6, np.full((1, 10), 0.5))) == pytest.approx(np.mean((1 + 0.4 * stakes) * second))


def test_the_highest_end_is_where_the_answer_turns() -> None:
    rng = np.random.default_rng(3)
    known, scores = rng.random((4, 60)), rng.random(30) * 0.4
    end = highest_end(scores, known, 0.05)
    assert cannot_catch_up(scores, end + 1e-3, known, 0.05)
    assert not cannot_catch_up(scores, end - 1e-3, known, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("alike", [True, False])
def test_one_that_ends_exactly_there_is_seldom_given_up_in_a_random_order(alike: bool) -> None:
    rng, gone, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        chance = rng.beta(0.4, 0.4, 60)
        own = (rng.random(60) < chance).astype(float)
        known = (rng.random((5, 60)) < (chance if alike else 0.5)).astype(float)
        gone += any(cannot_catch_up(own[:at], float(own.mean()), known, 0.05) for at in range(5, 60))
    assert gone / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.slow
def test_forecasts_of_like_ones_tell_sooner() -> None:
    rng = np.random.default_rng(11)

    def seen(forecast_by_like: bool) -> float:
        looks = []
        for _ in range(40):
            chance = rng.beta(0.3, 0.3, 200)
            own = np.where(rng.random(200) < 0.9, chance, 0.0)  # loses a tenth of what the others have
            known = chance[None, :] if forecast_by_like else np.full((1, 200), chance.mean())
            goal = float(chance.mean())
            looks.append(next((at for at in range(10, 200, 5) if cannot_catch_up(own[:at], goal, known, 0.05)), 200))
        return float(np.mean(looks))

    assert seen(True) < 0.9 * seen(False)
