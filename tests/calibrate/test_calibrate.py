import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.calibrate.baselines import CHANCE, baseline_curves
from harness.calibrate.calibrate import calibrate, sizes_text
from harness.calibrate.families import family_rows
from harness.calibrate.labelled import LabelledDecision, RiskLimit
from harness.calibrate.walk import WalkStart
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.calibrated import RiskKind


def example(number: int, score: float, loss: float = 0.0, benefit: float = 1.0, **more: object) -> LabelledDecision:
    return LabelledDecision(f"e{number}", score, loss, benefit, **more)  # type: ignore[arg-type]


def flawless(count: int) -> list[LabelledDecision]:
    return [example(number, 1.0 - number / 1000) for number in range(count)]


def test_299_labels_without_an_error_are_enough_for_one_percent_and_298_are_not() -> None:
    limit = RiskLimit("per_action", 0.01)
    found = calibrate(flawless(299), limit)
    assert found.threshold == pytest.approx(1.0 - 298 / 1000)
    assert found.bound is not None
    assert found.bound <= 0.01
    missed = calibrate(flawless(298), limit)
    assert missed.threshold is None
    assert missed.point is None
    assert missed.bound is None
    assert (missed.least, missed.needed) == (299, 299)
    assert missed.reason == f"298 labelled decisions are too few. {sizes_text(limit)}"


def test_the_bound_at_the_chosen_threshold_is_clopper_and_pearsons() -> None:
    found = calibrate(flawless(60), RiskLimit("per_action", 0.05), starts=[WalkStart(59, 0.05)])
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 60))
    assert found.tested_at == 0.05


def test_the_most_beneficial_of_the_safe_thresholds_is_chosen_not_the_lowest() -> None:
    examples = [example(number, 0.9) for number in range(80)] + [example(number + 80, 0.8, benefit=-1.0) for number in range(10)]
    found = calibrate(examples, RiskLimit("per_action", 0.05), starts=[WalkStart(59, 0.05)])
    assert found.threshold == 0.9
    assert found.point is not None
    assert found.point.benefit == pytest.approx(80 / 90)


def test_a_threshold_below_which_the_risk_rises_is_not_passed() -> None:
    examples = [example(number, 0.9) for number in range(100)] + [example(number + 100, 0.5, loss=1.0) for number in range(20)]
    for kind in ("per_action", "per_decision"):
        found = calibrate(examples, RiskLimit(kind, 0.05))
        assert found.threshold == 0.9
        assert found.point is not None
        assert found.point.oracle_share == pytest.approx(1.0)


def test_equal_scores_act_together() -> None:
    examples = [example(number, 0.9, loss=float(number % 2)) for number in range(400)]
    assert calibrate(examples, RiskLimit("per_action", 0.1)).threshold is None


def test_a_group_counts_once_whatever_its_size() -> None:
    copies = [example(number, 0.9, group=f"g{number % 30}") for number in range(300)]
    found = calibrate(copies, RiskLimit("per_action", 0.05))
    assert (found.examples, found.groups, found.threshold) == (300, 30, None)
    apart = calibrate([replace(one, group="") for one in copies], RiskLimit("per_action", 0.05))
    assert apart.threshold == 0.9


def test_of_a_large_bad_group_each_member_counts_for_its_part() -> None:
    bad = [example(number, 0.9, loss=1.0, group="bad") for number in range(50)]
    found = calibrate(bad + [example(number + 50, 0.9) for number in range(199)], RiskLimit("per_action", 0.05))
    assert found.point is not None
    assert found.point.risk == pytest.approx(1 / 200)
    assert found.point.actions == 249
    assert [found.point.action_rate, found.point.benefit] == pytest.approx([1.0, 1.0])
    assert found.bound is not None
    assert found.bound <= 0.05


def test_a_group_of_which_a_part_acts_counts_by_that_part() -> None:
    acting = [example(number, 0.9, loss=float(number == 0), group=f"g{number}") for number in range(200)]
    resting = [example(number + 200, 0.1, loss=1.0, group=f"g{number}") for number in range(200)]
    found = calibrate(acting + resting, RiskLimit("per_action", 0.05))
    alone = calibrate(acting, RiskLimit("per_action", 0.05))
    assert found.point is not None
    assert (found.threshold, found.point.risk, found.bound) == (0.9, 1 / 200, alone.bound)
    assert found.point.action_rate == pytest.approx(0.5)


def test_texts_that_should_be_flagged_do_not_thin_the_risk_of_the_harmless() -> None:
    harmful = [example(number, 0.9, benefit=1.0, counts=False) for number in range(500)]
    harmless = [example(number + 500, 0.9 if number < 5 else 0.1, loss=1.0, benefit=0.0) for number in range(50)]
    found = calibrate(harmful + harmless, RiskLimit("per_decision", 0.05))
    assert found.threshold is None  # 5 of 50, not of 550
    assert found.deciding == 50
    assert all(point.risk >= 0.1 for point in found.curve)
    mixed = [
        replace(one, group=f"g{number % 50}", loss=1.0) for number, one in enumerate(harmful + harmless)
    ]  # ten harmful ones in each group
    assert [point.risk for point in calibrate(mixed, RiskLimit("per_decision", 0.05)).curve] == pytest.approx([0.1, 1.0])


def test_losses_below_zero_and_in_parts_are_taken_as_they_are() -> None:
    examples = [example(number, 1 - number / 400, loss=(-1.0, 0.0, 0.5)[number % 3]) for number in range(400)]
    found = calibrate(examples, RiskLimit("per_decision", 0.1, low=-1.0))
    assert found.point is not None
    assert found.point.risk < 0.0
    assert found.threshold == pytest.approx(min(one.score for one in examples))


def test_a_grid_is_tested_instead_of_the_scores() -> None:
    found = calibrate(flawless(100), RiskLimit("per_action", 0.05), grid=[0.95, 0.92, 0.2, 2.0])
    assert {point.threshold for point in found.curve} == {0.95, 0.92, 0.2}  # nothing acts at 2
    assert found.threshold == 0.2


def test_labels_that_got_worse_are_told_where_they_have_times() -> None:
    old = [example(number, 0.9, at=f"2026-01-{1 + number % 28:02}") for number in range(2000)]
    new = [example(number + 2000, 0.9, loss=float(number % 4 == 0), at="2026-03-01") for number in range(400)]
    limit = RiskLimit("per_action", 0.06)
    found = calibrate(old + new, limit)
    assert found.threshold == 0.9  # 100 of 2,400 on the whole, 100 of the newer 1,200
    assert len(found.notes) == 1
    assert found.notes[0].endswith("alone have a risk of 8.33 %, above the level: the data drifts. Label newer ones.")
    assert calibrate([replace(one, at="") for one in old + new], limit).notes == ()
    evenly = [replace(one, at=f"2026-02-{1 + number % 28:02}") for number, one in enumerate(old + new)]
    assert calibrate(evenly, limit).notes == ()


def test_the_curve_runs_from_careful_to_careless_with_bounds_above_what_was_seen() -> None:
    rng = np.random.default_rng(3)
    examples = [example(number, float(rng.random()), loss=float(rng.random() < 0.2)) for number in range(500)]
    curve = calibrate(examples, RiskLimit("per_action", 0.05)).curve
    assert [point.threshold for point in curve] == sorted((point.threshold for point in curve), reverse=True)
    assert all(point.risk <= point.upper <= 1.0 for point in curve)
    assert [point.action_rate for point in curve] == sorted(point.action_rate for point in curve)
    assert curve[-1].action_rate == pytest.approx(1.0)
    assert len(curve) <= 121


def test_chance_is_a_baseline_and_another_score_is_one() -> None:
    examples = [example(number, 1 - number / 100, loss=float(number >= 50)) for number in range(100)]
    curves = baseline_curves(examples, RiskLimit("per_action", 0.05), {"reversed": [-one.score for one in examples]})
    assert {point.risk for point in curves[CHANCE]} == {0.5}
    assert curves["reversed"][0].risk == 1.0
    assert curves["reversed"][-1].risk == 0.5


def test_families_are_shown_apart() -> None:
    examples = [example(number, 0.9, loss=float(number < 10), family="a" if number < 20 else "b") for number in range(100)]
    rows = {row.family: row for row in family_rows(examples, RiskLimit("per_action", 0.5), 0.5)}
    assert rows["a"].risk == 0.5
    assert rows["b"].risk == 0.0
    assert [row.above for row in rows.values()] == [False, False]
    assert family_rows([replace(one, family="a") for one in examples], RiskLimit("per_action", 0.5), 0.5) == []


def test_a_family_that_is_unsafe_by_itself_is_told() -> None:
    examples = [example(number, 0.9, loss=float(number < 10), family="codes" if number < 20 else "prose") for number in range(600)]
    found = calibrate(examples, RiskLimit("per_action", 0.05))
    assert found.threshold == 0.9
    assert found.notes == ("Of the family 'codes' alone the risk is 50 %, above the level: safe on the whole is not safe for it.",)
    wrong_by_nature = [replace(one, family="opposites") if one.loss else replace(one, family="prose") for one in examples]
    assert calibrate(wrong_by_nature, RiskLimit("per_action", 0.05)).notes == ()


@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 30)), min_size=1, max_size=120),
    st.sampled_from(["per_action", "per_decision"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_neither_the_order_of_labels_nor_the_scale_of_scores_matters(
    rows: list[tuple[int, bool, int]], kind: RiskKind, random: Random
) -> None:
    limit = RiskLimit(kind, 0.3)
    examples = [example(number, float(score), float(lost), group=f"g{group}") for number, (score, lost, group) in enumerate(rows)]
    found = calibrate(examples, limit)
    shuffled = [replace(one, score=math.exp(one.score) / 7) for one in random.sample(examples, len(examples))]
    again = calibrate(shuffled, limit)
    assert (found.threshold is None) == (again.threshold is None)
    if found.threshold is not None:
        assert again.threshold == math.exp(found.threshold) / 7
        assert found.bound is not None
        assert found.point is not None
        assert found.point.risk <= found.bound <= limit.level + 1e-4
    assert [point.actions for point in found.curve] == [point.actions for point in again.curve]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": math.nan}, "The score of 'e7' is nan"),
        ({"score": math.inf}, "The score of 'e7' is inf"),
        ({"benefit": math.nan}, "The benefit of 'e7' is nan"),
        ({"loss": 1.5}, "The loss of 'e7' is 1.5; losses range from 0 to 1"),
        ({"loss": -0.1}, "losses range from 0 to 1"),
        ({"id": "e6"}, "The id 'e6' stands twice"),
        ({"at": "yesterday"}, "The time of 'e7' is 'yesterday'"),
    ],
)
def test_an_example_that_cannot_be_one_is_named(changes: dict[str, object], words: str) -> None:
    examples = flawless(10)
    examples[7] = replace(examples[7], **changes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=words):
        calibrate(examples, RiskLimit("per_action", 0.01))


def test_no_examples_are_a_mistake_that_says_how_many_are_needed() -> None:
    with pytest.raises(DataError, match="needs at least 299 labelled decisions that act"):
        calibrate([], RiskLimit("per_action", 0.01))


@pytest.mark.parametrize("level", [0.0, -0.1, 1.0, math.nan])
def test_a_level_that_nothing_proves_or_everything_keeps_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        RiskLimit("per_action", level)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 0.3, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence is from 0.5"):
        RiskLimit("per_action", 0.01, confidence)


@pytest.mark.parametrize("kind", ["per_action", "per_decision"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.slow
def test_the_promise_is_kept_where_every_choice_would_break_it(kind: str, grouped: bool) -> None:
    """The risk is just above the level wherever something acts, so that each chosen threshold is a violation: at most 1 in 10."""
    limit, runs = RiskLimit(kind, 0.15, 0.9), 300  # type: ignore[arg-type]
    rng = np.random.default_rng(20260930)
    violations = 0
    for _ in range(runs):
        scores = rng.random(150) if kind == "per_action" else np.full(150, 0.5)
        lost = rng.random(150) < 0.151
        examples = [
            example(2 * number + copy, float(scores[number]), float(lost[number]), group=f"g{number}" if grouped else "")
            for number in range(150)
            for copy in range(1 + (grouped and number % 2))
        ]
        violations += calibrate(examples, limit, curve_points=2).threshold is not None
    assert violations / runs <= 0.1 + 2.6 * math.sqrt(0.1 * 0.9 / runs)
    assert violations > 0  # and it is not kept by refusing everything
