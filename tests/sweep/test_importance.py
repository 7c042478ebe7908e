import random
from collections.abc import Sequence
from dataclasses import replace

from harness.sweep.experiment import Experiment
from harness.sweep.importance import Importance, importances
from harness.sweep.trial import Trial
from tests.reports.test_report import a_trial

SPACE = {
    "retrieve.top_k": {"int": [2, 10], "step": 2},
    "retrieve.fusion.weight": {"float": [0.0, 1.0]},
    "answer.prompt.version": {"choice": [1, 2, 3]},
}
ASKED = Experiment.model_validate({"name": "e", "golden": "t/v1", "space": SPACE, "seed": 3})


def story(state: str = "pruned") -> list[Trial]:
    """Ten trials of a first sweep: both that had the second prompt answered nothing; the others differ a little, and by chance."""
    draw, versions = random.Random(2), [1, 3, 2, 1, 3, 1, 2, 3, 1, 3]
    trials = []
    for number, version in enumerate(versions):
        values = {
            "retrieve.top_k": 2 * draw.randint(1, 5),
            "retrieve.fusion.weight": draw.random(),
            "answer.prompt.version": version,
        }
        trial = a_trial(number, values, [0.0 if version == 2 else round(draw.gauss(0.41, 0.02), 3)], ASKED)
        if version == 2:
            trial = replace(trial, state=state, objectives=trial.objectives if state == "pruned" else ())
        trials.append(trial)
    return trials


def by_path(trials: Sequence[Trial]) -> dict[str, Importance]:
    return {one.path: one for one in importances(ASKED, trials)}


def test_a_prompt_that_answered_nothing_twice_is_seen_though_both_trials_were_given_up() -> None:
    found = by_path(story())
    assert found["answer.prompt.version"].beyond_chance
    assert found["answer.prompt.version"].share > 0.5
    assert not found["retrieve.top_k"].beyond_chance


def test_a_trial_that_failed_counts_as_the_worst_there_is() -> None:
    found = by_path(story("failed"))
    assert found["answer.prompt.version"].beyond_chance
    assert found["answer.prompt.version"].share > 0.5


def test_a_knob_without_effect_is_beyond_chance_about_once_in_twenty() -> None:
    draw, beyond, looked = random.Random(11), 0, 0
    for _ in range(60):
        trials = []
        for number in range(16):
            values = {
                "retrieve.top_k": 2 * draw.randint(1, 5),
                "retrieve.fusion.weight": draw.random(),
                "answer.prompt.version": draw.randint(1, 3),
            }
            trials.append(a_trial(number, values, [draw.random()], ASKED))
        found = importances(ASKED, trials)
        beyond, looked = beyond + sum(one.beyond_chance for one in found), looked + 3
    assert beyond / looked <= 0.08


def test_a_knob_that_only_some_trials_have_is_judged_by_those() -> None:
    """Without it the others' scores would be taken for its effect."""
    draw = random.Random(4)
    trials = []
    for number in range(30):
        values: dict[str, object] = {"retrieve.top_k": 2 * draw.randint(1, 5), "answer.prompt.version": 1 + number % 3}
        if number % 3 == 0:  # only beside the first prompt, which is far better
            values["retrieve.fusion.weight"] = draw.random()
        trials.append(a_trial(number, values, [(0.8 if number % 3 == 0 else 0.2) + draw.gauss(0, 0.01)], ASKED))
    found = by_path(trials)
    assert found["answer.prompt.version"].share > 0.9
    assert not found["retrieve.fusion.weight"].beyond_chance


def test_a_knob_of_a_plug_in_that_no_trial_had_explains_nothing() -> None:
    space = {**SPACE, "retrieve.reranker.name": {"choice": ["none", "mmr"]}, "retrieve.reranker.mmr.relevance": {"float": [0.0, 1.0]}}
    asked = Experiment.model_validate({"name": "e", "golden": "t/v1", "space": space, "seed": 3})
    found = {one.path: one for one in importances(asked, story())}
    assert found["retrieve.reranker.mmr.relevance"].share == 0.0
    assert found["answer.prompt.version"].share > 0.5
