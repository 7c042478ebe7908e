import numpy as np
import pytest
from scipy import stats

from harness.stats.bounded import bounded_ends, bounded_p_value, negative_chance

Values = "np.ndarray[tuple[int], np.dtype[np.float64]]"


def ones(count: int) -> Values:
    return np.ones(count)


@pytest.mark.parametrize(("successes", "count"), [(0, 5), (5, 5), (3, 14), (15, 30), (6, 300), (299, 300), (1, 1), (1, 2)])
def test_for_scores_of_0_and_1_it_is_clopper_and_pearsons_interval(successes: int, count: int) -> None:
    found = bounded_ends(np.array([1.0] * successes + [0.0] * (count - successes)), ones(count), 0.05, 0.0, 1.0)
    theirs = stats.binomtest(successes, count).proportion_ci(method="exact")
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=5e-6), pytest.approx(theirs.high, abs=5e-6))


@pytest.mark.parametrize(("won", "lost", "same"), [(6, 0, 8), (8, 2, 20), (3, 5, 1), (60, 41, 200)])
def test_for_differences_of_one_size_its_p_value_is_mcnemars_exact_one(won: int, lost: int, same: int) -> None:
    differences = np.array([1.0] * won + [-1.0] * lost + [0.0] * same)
    theirs = stats.binomtest(won, won + lost).pvalue
    assert bounded_p_value(differences, ones(len(differences)), -1.0, 1.0) == pytest.approx(theirs, abs=1e-9)


def test_a_sum_of_weighted_exponentials_has_the_chance_worked_by_hand() -> None:
    # P(2 E₁ ≤ E₂) = 1/3; P(E₁ + E₂ ≤ E₃) = 1/4
    assert negative_chance(np.array([2.0, -1.0])) == pytest.approx(1 / 3, abs=1e-7)
    assert negative_chance(np.array([1.0, 1.0, -1.0])) == pytest.approx(1 / 4, abs=1e-9)
    assert negative_chance(np.array([-1.0, -1.0, 1.0])) == pytest.approx(3 / 4, abs=1e-9)
    assert (negative_chance(np.array([1.0, 2.0])), negative_chance(np.array([-1.0])), negative_chance(np.zeros(3))) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("count", [4, 30, 400])
def test_it_is_the_quantile_that_drawing_the_weights_gives(count: int) -> None:
    rng = np.random.default_rng(count)
    values, sizes = rng.beta(2, 3, count) - rng.beta(3, 2, count), rng.integers(1, 5, count).astype(float)
    weights = rng.exponential(size=(20_000, count + 1))
    unseen = sizes.mean()
    drawn = (weights[:, :-1] @ (values * sizes) - weights[:, -1] * unseen) / (weights[:, :-1] @ sizes + weights[:, -1] * unseen)
    found = bounded_ends(values * sizes, sizes, 0.05, -1.0, 1.0)
    assert found.low == pytest.approx(float(np.quantile(drawn, 0.025)), abs=4 * float(drawn.std()) / 20_000**0.5 * 3)


def test_with_many_values_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(1).uniform(-0.5, 0.6, 5000)
    found, error = bounded_ends(values, ones(5000), 0.05, -1.0, 1.0), values.std(ddof=1) / 5000**0.5
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


@pytest.mark.parametrize("large", [1, 20, 50, 100, 108, 150, 200, 300])
def test_the_chance_of_many_small_gains_against_some_large_losses_is_below_chernoffs_bound(large: int) -> None:
    few = [-0.616667, *[-0.45] * 5, -0.092857, -0.05, 0.016667]
    factors = np.concatenate([np.full(8726, 0.05), np.full(large, -0.95), few])
    places = -np.linspace(0.001, 0.999, 400) / 0.95
    bound = np.exp(min(-float(np.log1p(-factors * place).sum()) for place in places))
    assert negative_chance(factors) <= bound * (1 + 1e-6)
    assert negative_chance(-factors) == pytest.approx(1.0 - negative_chance(factors))


def test_thousands_of_values_overflow_nothing() -> None:
    values = np.concatenate([np.full(30_000, 0.9), np.full(10, -1.0)])
    found = bounded_ends(values, ones(len(values)), 0.05, -1.0, 1.0)
    assert 0.89 < found.low < values.mean() < found.high < 0.905


def rare_losses(rng: np.random.Generator, count: int) -> Values:
    return np.where(rng.random(count) < 0.1, -1.0, 0.05)


def beside_gains(rng: np.random.Generator, count: int) -> Values:
    return rng.choice([-1.0, -0.5, 0.0, 1.0], size=count, p=[0.2, 0.2, 0.35, 0.25])


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 14, 50])
@pytest.mark.parametrize(("draw", "mean"), [(rare_losses, -0.055), (beside_gains, -0.05)])
def test_a_loss_is_called_a_gain_at_most_one_time_in_forty(count: int, draw: object, mean: float) -> None:
    rng = np.random.default_rng(count)
    samples = [draw(rng, count) for _ in range(1500)]  # type: ignore[operator]
    beyond = [bounded_ends(sample, ones(count), 0.05, -1.0, 1.0).low > mean for sample in samples]
    assert float(np.mean(beyond)) <= 0.025 + 3 * (0.025 / 1500) ** 0.5
