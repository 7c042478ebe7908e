from types import SimpleNamespace
from typing import Any

import pytest

from harness.sweep.experiment import Pruning
from harness.sweep.prune import Pruner, Reference
from tests.support.sweeping import experiment, search


def report(*values: float | None) -> Any:
    rows = [
        SimpleNamespace(case=SimpleNamespace(id=str(number)), value=lambda metric, value=value: value)
        for number, value in enumerate(values)
    ]
    return SimpleNamespace(rows=rows)


WORSE, BETTER = report(*[0.0] * 20), report(*[1.0] * 8, *[0.0] * 12)  # lost on 8 of 20 cases, won on none: a budget of 38


def test_a_trial_that_loses_and_never_wins_is_given_up() -> None:
    pruner = Pruner(Pruning(), "quality", higher_is_better=True)
    assert pruner.reason([WORSE], Reference(BETTER, "trial 3")) == "quality -0.400 against trial 3 on the first 20 cases: surely worse"
    assert pruner.reason([BETTER], Reference(WORSE, "trial 3")) == ""
    assert Pruner(Pruning(), "usd", higher_is_better=False).reason([BETTER], Reference(WORSE, "trial 3"))


def test_the_best_of_many_owes_part_of_its_mean_to_luck_so_more_is_asked_against_it() -> None:
    pruner = Pruner(Pruning(), "quality", higher_is_better=True)
    assert pruner.reason([WORSE], Reference(BETTER, "trial 3", chosen_from=1))
    assert not pruner.reason([WORSE], Reference(BETTER, "trial 3", chosen_from=10))


@pytest.mark.parametrize("changes", [{"name": "none"}, {"startup": 21}])
def test_nothing_is_given_up_before_the_first_look_or_with_no_pruner(changes: dict[str, Any]) -> None:
    assert not Pruner(Pruning(**changes), "quality", higher_is_better=True).reason([WORSE], Reference(BETTER, "trial 3"))


def test_cases_that_one_of_the_two_could_not_score_are_left_out() -> None:
    pruner = Pruner(Pruning(), "quality", higher_is_better=True)
    assert not pruner.reason([report(*[0.0] * 19, None)], Reference(BETTER, "trial 3"))


def test_with_several_objectives_nothing_is_given_up(tmp_path: Any) -> None:
    one, two = (search(experiment(objective=names, pruner={}), tmp_path) for names in ("quality", ["quality", "cost.usd"]))
    for made in (one, two):
        made._trials[0] = SimpleNamespace(usable=True, merit=lambda sign: sign * 0.5, number=0, report=BETTER, name="base")
    assert one._reference() == Reference(BETTER, "trial base", 1)
    assert two._reference() is None
