import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.results.header import Header
from harness.results.report import EvalReport
from harness.sweep.experiment import Experiment
from harness.sweep.importance import replayed_optimizer
from harness.sweep.optimizer.local_search import neighbour
from harness.sweep.optimizer.optimizer import ATTEMPTS, ORIGINS, Optimizer
from harness.sweep.search import starting_points
from harness.sweep.space.ranges import draw_value
from harness.sweep.space.suggest import grid
from harness.sweep.trial import Trial
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError
from tests.support.sweeping import RuleEngine, experiment, plain, search, searched, smooth, tune
from tests.sweep.test_prune import report

pytestmark = pytest.mark.slow

AGAIN = """
import json, sys
from pathlib import Path
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.optimizer.optimizer import Optimizer
optimizer = Optimizer(Experiment.model_validate(json.loads(sys.argv[1])))
known = SweepFolder(Path(sys.argv[2])).finished()
for one in known:
    optimizer.replay(one)
asked = optimizer.ask(len(known))
print(json.dumps(dict(asked.values)))
"""

LARGE: dict[str, Any] = {  # whole and broken numbers, logarithms and steps, knobs that count only beside others
    "retrieve.top_k": {"int": [1, 40], "log": True},
    "retrieve.fusion.weight": {"float": [0.0, 1.0], "step": 0.1},
    "retrieve.reranker.name": {"choice": ["none", "mmr"]},
    "retrieve.reranker.mmr.relevance": {"float": [0.1, 0.9]},
    "route.router.pro_above": {"float": [0.01, 1.0], "log": True},
}
OBJECTIVES = {"objective": ["quality", "cost.usd"]}
WAYS: list[dict[str, Any]] = [
    {},
    {"sampler": "tpe"},
    {"sampler": "random"},
    {"sampler": "nsga2", **OBJECTIVES},
    {"sampler": "tpe", **OBJECTIVES},
    OBJECTIVES,
    {"sampler": "tpe", "constraints": {"cost.output_tokens": {"at_most": 4}}},
]


@pytest.mark.parametrize(
    "way", WAYS, ids=["mixed", "tpe", "random", "nsga2", "tpe-two-objectives", "mixed-two-objectives", "tpe-constrained"]
)
def test_a_search_cut_anywhere_suggests_the_same_again(tmp_path: Path, way: dict[str, Any]) -> None:
    asked = experiment(space=LARGE, trials=24, **way)
    whole = searched(search(asked, tmp_path / "whole"))
    for blocks in (3, 14, 33):  # two to a trial
        folder = tmp_path / f"cut{blocks}"
        with pytest.raises(InfrastructureError):
            searched(search(asked, folder, RuleEngine(dies_at=blocks)))
        assert len(list(folder.glob("trials/*.json"))) == blocks // 2
        assert plain(searched(search(asked, folder))) == plain(whole)
    assert len({json.dumps(dict(one.values)) for one in whole}) == 24


def test_another_process_suggests_the_same(tmp_path: Path) -> None:
    asked = experiment(space=LARGE, trials=14, sampler="tpe")
    whole = searched(search(asked, tmp_path / "whole"))
    with pytest.raises(InfrastructureError):
        searched(search(asked, tmp_path / "part", RuleEngine(dies_at=26)))
    arguments = [json.dumps(asked.model_dump(mode="json")), str(tmp_path / "part")]
    said = subprocess.run([sys.executable, "-c", AGAIN, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == dict(whole[13].values)


def test_nsga2_breeds_its_trials_from_earlier_ones(tmp_path: Path) -> None:
    asked = experiment(space=LARGE, trials=40, sampler="nsga2", **OBJECTIVES)
    trials = searched(search(asked, tmp_path / "bred"))
    study = replayed_optimizer(asked, trials).study
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in study.trials]
    assert generations == sorted(generations)
    assert generations[-1] == 4  # of eight trials each

    by_chance = searched(search(asked.model_copy(update={"sampler": "random"}), tmp_path / "random"))
    same = [dict(one.values) == dict(other.values) for one, other in zip(trials, by_chance, strict=True)]
    assert all(same[:8])  # the first generation is drawn
    assert sum(same[8:]) < 4


@pytest.mark.parametrize(
    "origin", [{"retrieve.reranker.name": "none"}, {"retrieve.reranker.name": "mmr", "retrieve.reranker.mmr.relevance": 0.5}]
)
def test_a_step_turns_one_knob_and_draws_what_begins_to_count_with_it(origin: dict[str, Any]) -> None:
    asked = experiment(space=LARGE)
    origin = {"retrieve.top_k": 7, "retrieve.fusion.weight": 0.3, "route.router.pro_above": 0.5} | origin
    for seed in range(200):
        there = neighbour(asked, origin, random.Random(seed))
        turned = [path for path in origin if path in there and there[path] != origin[path]]
        assert len(turned) == 1
        new, gone = there.keys() - origin.keys(), origin.keys() - there.keys()
        assert new | gone == ({"retrieve.reranker.mmr.relevance"} if turned == ["retrieve.reranker.name"] else set())
        asked.apply(there)
        assert all(knob.range.holds(there[knob.path]) for knob in asked.knobs if knob.path in there)


def test_what_has_no_other_value_is_drawn_as_it_is() -> None:
    asked = experiment(space={"retrieve.top_k": {"int": [3, 3]}, "answer.prompt.version": {"choice": [2]}})
    assert [draw_value(knob.range, random.Random(1), but=knob.range.ends()[0]) for knob in asked.knobs] == [3, 2]


def test_half_of_the_default_search_are_steps_from_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[int, bool] = {}
    whole = Optimizer._local_step

    def noted(optimizer: Optimizer, number: int, attempt: int) -> dict[str, Any]:
        found = whole(optimizer, number, attempt)
        taken.setdefault(number, bool(found))
        best = sorted(optimizer._usable, key=lambda one: -one.merit(1.0))[:ORIGINS]
        assert not found or 1 in [sum(found[path] != one.values[path] for path in found) for one in best]
        return found

    monkeypatch.setattr(Optimizer, "_local_step", noted)
    searched(search(experiment(trials=60), tmp_path / "mixed"))
    assert not any(taken[number] for number in range(1, 10))
    assert 0.3 < sum(taken[number] for number in range(10, 60)) / 50 < 0.7
    taken.clear()
    searched(search(experiment(trials=30, sampler="tpe"), tmp_path / "tpe"))
    assert not any(taken.values())


def test_another_seed_searches_elsewhere(tmp_path: Path) -> None:
    one, other = (searched(search(experiment(seed=seed), tmp_path / str(seed))) for seed in (1, 2))
    assert [dict(tried.values) for tried in one] != [dict(tried.values) for tried in other]


def test_tpe_finds_a_better_place_than_it_began_with(tmp_path: Path) -> None:
    trials = searched(search(experiment(trials=40), tmp_path))
    early, late = trials[1:11], trials[-10:]
    assert sum(one.objective for one in late) / 10 > sum(one.objective for one in early) / 10


def test_the_grid_is_tried_whole_and_once_though_two_of_it_are_known_from_the_start(tmp_path: Path) -> None:
    space = {"retrieve.top_k": {"int": [1, 12]}, "retrieve.candidates": {"choice": [5, 40]}}  # candidates may not be fewer than passages
    asked = experiment(space=space, sampler="grid", trials=1000)
    made = search(asked, tmp_path)
    trials = searched(made, given=starting_points(asked, asked.config.replace({"retrieve.top_k": 3})))
    tried = [(one.config.retrieve.top_k, one.config.retrieve.candidates) for one in trials]
    assert [one.label for one in trials[:3]] == ["base", "champion", ""]
    assert len(tried) == len(set(tried))
    assert set(tried) == {(point["retrieve.top_k"], point["retrieve.candidates"]) for point in grid(asked) if _fits(asked, point)}
    assert made.ended.startswith("no configuration was found")


def test_a_grid_with_more_impossible_points_than_attempts_is_still_tried_whole(tmp_path: Path) -> None:
    space = {"index.chunker.size": {"int": [100, 1000], "step": 5}, "index.chunker.overlap": {"choice": [90, 900]}}
    asked = experiment(space=space, sampler="grid", trials=1000)
    possible = sum(_fits(asked, point) for point in grid(asked))
    assert len(grid(asked)) - possible > ATTEMPTS
    trials = searched(search(asked, tmp_path), tune(5))
    assert len(trials) == possible + 1  # and the base, which lies outside


def _fits(asked: Experiment, point: dict[str, Any]) -> bool:
    try:
        asked.apply(point)
    except ConfigError:
        return False
    return True


def test_what_is_over_a_limit_or_given_up_is_never_the_best(tmp_path: Path) -> None:
    asked = experiment(trials=16, constraints={"cost.output_tokens": {"at_most": -1.0}})  # nothing keeps it
    made = search(asked, tmp_path)
    trials = searched(made)
    assert not any(one.usable for one in trials)
    assert made.progress.best is None


def test_a_trial_that_was_given_up_is_infeasible_to_the_study() -> None:
    asked = experiment()
    optimizer = Optimizer(asked)
    for number, (state, objective) in enumerate([("complete", 0.5), ("pruned", 0.9), ("failed", 1.0)]):
        optimizer.replay(_tried(asked, number, objective, state))
    assert optimizer.study.best_trial.value == 0.5
    assert [trial.state.name for trial in optimizer.study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]


def _tried(asked: Experiment, number: int, objective: float, state: Any) -> Trial:
    values = {"retrieve.top_k": number + 1, "retrieve.fusion.weight": 0.5, "answer.prompt.version": 2}
    header = Header({}, "c", "i", "k", "t/v1", "g", "tune", "s", ("quality",))
    return Trial(number, values, asked.apply(values), EvalReport(header, ()), (objective,), state=state)


def test_of_several_objectives_only_what_nothing_beats_is_in_front() -> None:
    asked = experiment(objective=["quality", "cost.usd"])
    points = [(0.5, 1.0), (0.6, 2.0), (0.4, 2.0), (0.6, 2.5), (0.7, 0.9)]
    trials = [replace(_tried(asked, number, 0.0, "complete"), objectives=point) for number, point in enumerate(points)]
    assert [one.number for one in Optimizer(asked).undominated(trials)] == [4]  # best and cheapest at once
    assert [one.number for one in Optimizer(asked).undominated(trials[:4])] == [0, 1]
    single = [replace(one, objectives=one.objectives[:1]) for one in trials]
    assert Optimizer(experiment()).undominated(single) == single


def test_a_configuration_is_scored_once_whatever_its_values_are_called(tmp_path: Path) -> None:
    space = {"retrieve.top_k": {"int": [1, 4]}}
    engine = RuleEngine()
    trials = searched(search(experiment(space=space, trials=50), tmp_path, engine))
    assert sorted(one.config.retrieve.top_k for one in trials) == sorted({1, 2, 3, 4} | {RagConfig.parse({}).retrieve.top_k})
    assert len(engine.blocks) == 2 * len(trials)


def test_the_rule_has_its_best_inside_the_space() -> None:
    best = experiment().apply({"retrieve.top_k": 12, "retrieve.fusion.weight": 0.333333333, "answer.prompt.version": 1})
    assert smooth(best, 0) == pytest.approx(0.9, abs=1e-6)


def scored(number: int, values: list[float]) -> Trial:
    """A trial of its own values, by its scores on the first cases."""
    asked = experiment()
    knobs = {"retrieve.top_k": number + 1, "retrieve.fusion.weight": 0.5, "answer.prompt.version": 1}
    return Trial(number, knobs, asked.config, report(*values), (sum(values) / len(values),))


def test_what_a_race_gave_up_is_told_by_how_far_it_was_behind_the_best_not_by_its_mean_over_easy_cases() -> None:
    asked = experiment(pruner={"name": "race"})
    optimizer = Optimizer(asked)
    best = scored(0, [1.0, 1.0, 0.0, 0.0])  # the first cases are easy
    optimizer.replay(best)
    optimizer.replay(replace(scored(1, [0.9, 0.9]), state="pruned"))
    assert [trial.values for trial in optimizer.study.trials] == [[0.5], [pytest.approx(0.4)]]
    plainly = Optimizer(experiment(pruner={"name": "sequential"}))
    plainly.replay(best)
    plainly.replay(replace(scored(1, [0.9, 0.9]), state="pruned"))
    assert [trial.values for trial in plainly.study.trials] == [[0.5], [0.9]]


def test_steps_begin_after_as_many_trials_in_a_race_however_few_were_seen_to_their_end() -> None:
    found = {}
    for name in ("race", "sequential"):
        optimizer = Optimizer(experiment(pruner={"name": name}, trials=40))
        optimizer.replay(scored(0, [1.0] * 4))
        for number in range(1, 12):
            optimizer.replay(replace(scored(number, [0.0, 0.0]), state="pruned"))
        found[name] = [bool(optimizer._local_step(number, 0)) for number in range(12, 32)]
    assert any(found["race"])
    assert not any(found["sequential"])
