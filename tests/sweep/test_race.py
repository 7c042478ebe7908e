from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.sweep.experiment import Pruning, load_experiment
from harness.sweep.prune import Reference
from harness.sweep.race import Race
from harness.tracking.memory import MemoryRun
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError
from tests.support.sweeping import RuleEngine, experiment, plain, search, searched, tune
from tests.sweep.test_prune import report

HALF = report(*[1.0, 0.0] * 50)
RACE = {"name": "race", "startup": 10}


def race(**changes: Any) -> Race:
    return Race(Pruning.model_validate(RACE | changes), "quality", higher_is_better=True)


def test_one_that_can_no_longer_reach_the_best_is_given_up_and_says_where_it_stood() -> None:
    text = race().reason([report(*[0.0] * 40)], Reference(HALF, "trial 3"))
    assert text.startswith("quality 0.500 behind trial 3 on the first 40 of 100 cases, and surely behind at the end, by 0.")


def test_one_that_may_still_be_the_best_goes_on() -> None:
    reference = Reference(HALF, "trial 3")
    assert not race().reason([report(*[1.0, 0.0] * 20)], reference)
    assert not race().reason([report(*[1.0] * 40)], reference)
    assert not race().reason([report(*[0.0] * 5)], reference)
    assert not race().reason([report(*[0.0] * 40)], None)


def test_alpha_is_not_divided_by_how_many_there_are() -> None:
    few, many = Reference(HALF, "trial 3", 1), Reference(HALF, "trial 3", 1000)
    behind = [report(*[0.0] * 14)]
    assert race().reason(behind, few) == race().reason(behind, many) != ""


def test_where_low_is_good_the_same_is_asked_the_other_way_round() -> None:
    low = Race(Pruning.model_validate(RACE), "latency", higher_is_better=False)
    assert low.reason([report(*[1.0] * 40)], Reference(HALF, "the base"))
    assert not low.reason([report(*[0.0] * 40)], Reference(HALF, "the base"))


def test_cases_that_one_of_the_two_could_not_score_say_nothing() -> None:
    gaps = report(*[None] * 30, *[1.0, 0.0] * 35)
    assert not race().reason([report(*[0.0] * 39)], Reference(gaps, "trial 3"))  # 9 of both
    assert not race().reason([report(*[None] * 40)], Reference(HALF, "trial 3"))


def test_a_trial_like_it_that_is_known_to_the_end_tells_sooner() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0] * 10
    best, like = report(*[0.5] * 100), report(*[value * 0.8 for value in values])
    own = [report(*[value * 0.8 for value in values[:40]])]
    assert race(alpha=0.1).reason(own, Reference(best, "trial 3", 2, (like,)))
    assert not race(alpha=0.1).reason(own, Reference(best, "trial 3"))


def rule(config: RagConfig, place: int) -> float:
    """The more passages the better, on some cases more than on others."""
    return min(1.0, config.retrieve.top_k / 20 * (0.6 + 0.4 * (place * 7 % 10) / 9))


def race_of(folder: Path, engine: RuleEngine, sampler: str = "random", **changes: Any) -> Any:
    asked = experiment(trials=16, block=10, pruner=RACE | changes, sampler=sampler)
    return search(asked, folder, engine)


@pytest.mark.slow
def test_a_race_ends_with_the_same_winner_for_fewer_cases(tmp_path: Path) -> None:
    whole_engine, engine = RuleEngine(rule), RuleEngine(rule)
    whole = searched(search(experiment(trials=16, block=10, sampler="random"), tmp_path / "whole", whole_engine), tune(100))
    made = race_of(tmp_path / "race", engine)
    trials = searched(made, tune(100))
    assert max(trials, key=lambda one: one.usable and one.merit(1)).values == max(whole, key=lambda one: one.merit(1)).values
    assert made.progress.best is max((one for one in trials if one.usable), key=lambda one: one.merit(1))
    gone = [one for one in trials if one.state == "pruned"]
    assert len(gone) >= 5
    assert all(f"on the first {len(one.report.rows)} of 100 cases" in one.why for one in gone)
    assert sum(count for _, count in engine.blocks) < 0.7 * sum(count for _, count in whole_engine.blocks)
    assert isinstance(made.run, MemoryRun)
    child = next(child for child in made.run.children if child.logged_tags["touchstone.trial"] == str(gone[0].number))
    assert child.name.endswith(f"pruned after {len(gone[0].report.rows)} of 100")
    assert child.logged_tags["touchstone.why"] == gone[0].why


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "dies_at"), [("random", 12), ("random", 31), ("mixed", 40), ("mixed", 55)])
def test_a_race_that_was_killed_goes_on_as_if_nothing_had_been(tmp_path: Path, sampler: str, dies_at: int) -> None:
    undisturbed = searched(race_of(tmp_path / "whole", RuleEngine(rule), sampler), tune(100))
    assert any(one.state == "pruned" for one in undisturbed)
    with pytest.raises(InfrastructureError):
        searched(race_of(tmp_path / "cut", RuleEngine(rule, dies_at=dies_at), sampler), tune(100))
    assert plain(searched(race_of(tmp_path / "cut", RuleEngine(rule), sampler), tune(100))) == plain(undisturbed)
    again = RuleEngine(rule)
    assert plain(searched(race_of(tmp_path / "cut", again, sampler), tune(100))) == plain(undisturbed)
    assert again.blocks == []


@pytest.mark.slow
def test_held_against_the_base_several_workers_decide_alike(tmp_path: Path) -> None:
    alone = searched(race_of(tmp_path / "1", RuleEngine(rule), against="base"), tune(100))
    together = searched(race_of(tmp_path / "3", RuleEngine(rule, workers=3), against="base"), tune(100))
    assert plain(together) == plain(alone)


def test_a_goal_that_is_no_score_between_0_and_1_cannot_be_raced_for(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    data = {"name": "e", "golden": "t/v1", "space": {"retrieve.top_k": {"int": [1, 9]}}, "pruner": {"name": "race"}}
    path.write_text(yaml.safe_dump(data | {"objective": "length", "metrics": ["length"], "margin": 5}))
    with pytest.raises(ConfigError, match="pruner 'race' needs scores between 0 and 1, and length has others. Take 'sequential'"):
        load_experiment(path)
    path.write_text(yaml.safe_dump(data))
    assert load_experiment(path).pruner.name == "race"
