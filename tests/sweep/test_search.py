import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.golden.sets import HoldoutSplit
from harness.results.case_result import CaseError
from harness.results.numbers import numbers
from harness.sweep.cost.budget import Budget
from harness.sweep.dispatcher import FixedPrices
from harness.sweep.engines.base import StoreCounts
from harness.sweep.folder import SweepFolder
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.run import prove
from harness.sweep.run_names import trial_name
from harness.sweep.search import starting_points
from harness.sweep.trial import Trial
from harness.tracking.memory import MemoryRun
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError, PromptError, RequestError, UserError
from tests.support.sweeping import RuleEngine, experiment, plain, search, searched, smooth, tune

pytestmark = pytest.mark.slow

CRASH = CaseError("ZeroDivisionError", "oops", infrastructure=False)
OUTAGE = CaseError("ModelError", "no answer from the model", infrastructure=True)


def test_the_base_and_the_champion_come_first_and_are_scored_once(tmp_path: Path) -> None:
    asked = experiment(trials=6)
    champion = asked.config.replace({"retrieve.top_k": 12})
    engine = RuleEngine()
    trials = searched(search(asked, tmp_path, engine), given=starting_points(asked, champion))
    assert [(one.number, one.label) for one in trials] == [(0, "base"), (1, "champion"), *((number, "") for number in range(2, 6))]
    assert [trials[0].config, trials[1].config] == [asked.config, champion]
    configs = [config for config, _ in engine.blocks]
    assert configs == [one.config for one in trials for _ in range(2)]  # two blocks each, trial after trial
    assert [count for _, count in engine.blocks] == [5, 5] * 6
    assert engine.indexed == [one.config for one in trials]


@pytest.mark.parametrize("index_usd", [0.0, 0.1])
def test_what_the_store_was_asked_for_an_index_is_counted_with_the_rest(tmp_path: Path, index_usd: float) -> None:
    engine = RuleEngine()
    engine.counts = {"embed": {"hits": 3, "misses": 40}}
    made = search(experiment(trials=3), tmp_path, engine, Budget(10.0), FixedPrices(0.0, index_usd))
    searched(made)
    assert len(engine.indexed) == 3
    assert made.progress.counts == {"embed": {"hits": 3, "misses": 40, "again": 0}, "answer": {"hits": 6, "misses": 24, "again": 0}}


def test_a_champion_that_is_the_base_is_tried_once(tmp_path: Path) -> None:
    asked = experiment(trials=2)
    assert [one.label for one in searched(search(asked, tmp_path), given=starting_points(asked, asked.config))] == ["base", ""]


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_several_workers_score_the_same_configurations_to_the_same_numbers(tmp_path: Path, sampler: str) -> None:
    space = {"retrieve.top_k": {"int": [1, 6]}, "retrieve.fusion.weight": {"float": [0.0, 1.0], "step": 0.25}}
    asked = experiment(space=space, sampler=sampler, trials=20)
    alone = searched(search(asked, tmp_path / "1", RuleEngine()))
    engine = RuleEngine(workers=3)
    together = searched(search(asked, tmp_path / "3", engine))
    assert plain(together) == plain(alone)
    assert engine.most_running == 3
    cut = search(asked, tmp_path / "cut", RuleEngine(workers=3, dies_at=21))
    with pytest.raises(InfrastructureError):
        searched(cut)
    assert plain(searched(search(asked, tmp_path / "cut", RuleEngine(workers=2)))) == plain(alone)


def test_a_trial_that_crashes_is_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> float | CaseError:
        return CRASH if config.retrieve.top_k > 10 and place == 7 else smooth(config, place)

    made = search(experiment(trials=12), tmp_path, RuleEngine(rule))
    trials = searched(made)
    states = {one.state for one in trials if one.config.retrieve.top_k > 10}
    assert states == {"failed"}
    assert {one.state for one in trials if one.config.retrieve.top_k <= 10} == {"complete"}
    assert made.progress.best and made.progress.best.config.retrieve.top_k <= 10
    assert "1 of 10 cases crashed" in {one.why for one in trials}


def test_a_base_that_crashes_ends_the_sweep_since_nothing_can_be_held_against_it(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="The base could not be scored: no case has a value of quality: c0: oops"):
        searched(search(experiment(), tmp_path, RuleEngine(lambda config, place: CRASH)))
    assert not list(tmp_path.glob("trials/*.json"))


def test_a_configuration_that_crashes_on_every_case_does_not_end_the_sweep(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> float | CaseError:
        return CRASH if config.retrieve.top_k > 10 else smooth(config, place)

    made = search(experiment(trials=12), tmp_path, RuleEngine(rule))
    trials = searched(made)
    lost = [one for one in trials if one.config.retrieve.top_k > 10]
    assert lost
    assert {(one.state, one.why, one.objective) for one in lost} == {("failed", "no case has a value of quality: c0: oops", None)}
    assert isinstance(made.run, MemoryRun)
    runs = {child.logged_tags["touchstone.trial"]: child.logged_tags["touchstone.why"] for child in made.run.children}
    assert runs[str(lost[0].number)] == lost[0].why
    again = RuleEngine(rule)
    assert plain(searched(search(experiment(trials=12), tmp_path, again))) == plain(trials)
    assert again.blocks == []


@pytest.mark.parametrize("error", [PromptError("No prompt 'x'."), RequestError("The prompt is longer than m can read.")])
def test_a_configuration_that_cannot_be_asked_fails_alone_and_is_not_asked_again(tmp_path: Path, error: UserError) -> None:
    def rule(config: RagConfig, place: int) -> float:
        if config.retrieve.top_k > 10 and place >= 5:
            raise error
        return smooth(config, place)

    trials = searched(search(experiment(trials=12), tmp_path, RuleEngine(rule)))
    lost = [one for one in trials if one.config.retrieve.top_k > 10]
    assert len(trials) == 12
    assert {(one.state, one.why, len(one.report.rows)) for one in lost} == {("failed", str(error), 5)}
    again = RuleEngine(rule)
    assert plain(searched(search(experiment(trials=12), tmp_path, again))) == plain(trials)
    assert again.blocks == []


def test_what_the_base_cannot_be_asked_is_the_users_mistake(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> float:
        raise PromptError("No prompt 'x'.")

    with pytest.raises(PromptError, match="No prompt 'x'"):
        searched(search(experiment(), tmp_path, RuleEngine(rule)))


def test_a_trial_without_a_case_is_kept_as_failed(tmp_path: Path) -> None:
    class Picky(RuleEngine):
        async def index(self, config: RagConfig) -> StoreCounts:
            if config.retrieve.top_k > 10:
                raise RequestError("The embedding model takes no such text.")
            return await super().index(config)

    trials = searched(search(experiment(trials=12), tmp_path, Picky()))
    lost = [one for one in trials if one.state == "failed"]
    assert {(one.why, one.objectives, one.report.rows) for one in lost} == {("The embedding model takes no such text.", (), ())}
    assert plain(SweepFolder(tmp_path).finished()) == plain(trials)


def test_an_outage_ends_the_search_with_all_that_was_finished_kept(tmp_path: Path) -> None:
    calls = 0

    def rule(config: RagConfig, place: int) -> float | CaseError:
        nonlocal calls
        calls += 1
        return OUTAGE if calls == 57 else smooth(config, place)

    asked = experiment(trials=10)
    with pytest.raises(InfrastructureError, match="trial 5: 1 of 5 cases were not answered: c6: no answer from the model"):
        searched(search(asked, tmp_path, RuleEngine(rule)))
    assert len(list(tmp_path.glob("trials/*.json"))) == 5
    assert plain(searched(search(asked, tmp_path))) == plain(searched(search(asked, tmp_path / "undisturbed")))


def test_what_is_surely_worse_is_given_up_and_never_the_best(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> float:
        return 0.9 if config.retrieve.top_k == config.model_validate({}).retrieve.top_k else 0.1

    asked = experiment(trials=6, block=20, pruner={"name": "sequential", "startup": 20})
    engine = RuleEngine(rule)
    made = search(asked, tmp_path, engine)
    trials = searched(made, tune(100))
    assert [one.state for one in trials] == ["complete", *["pruned"] * 5]
    assert all(len(one.report.rows) < 100 for one in trials[1:])
    assert all("surely worse" in one.why for one in trials[1:])
    assert made.progress.best is trials[0]
    again = RuleEngine(rule)
    assert plain(searched(search(asked, tmp_path, again), tune(100))) == plain(trials)
    assert again.blocks == []


def test_no_more_is_sent_than_the_budget_pays_for(tmp_path: Path) -> None:
    asked = experiment(trials=20, budget_usd=0.5)
    made = search(asked, tmp_path, RuleEngine(), prices=FixedPrices(0.01))  # answers cost nothing, so all of it is there again each time
    assert len(searched(made)) == 20
    dear = search(asked, tmp_path / "dear", RuleEngine(), prices=FixedPrices(0.2))
    with pytest.raises(ConfigError, match=r"A budget of \$0\.5 may not even pay for the base"):
        searched(dear)


def test_a_search_whose_time_is_over_ends_after_the_trial_at_hand(tmp_path: Path) -> None:
    made = search(experiment(trials=20, timeout_s=1e-9), tmp_path)
    assert [one.label for one in searched(made)] == ["base"]
    assert made.ended == "the time of 1e-09 s was over"


def test_a_trial_is_not_finished_when_the_time_is_over(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> float:
        if len(engine.blocks) == 7:
            made.progress.started_s -= 10_000
        return smooth(config, place)

    engine = RuleEngine(rule)
    made = search(experiment(trials=20, timeout_s=9_000.0), tmp_path, engine)
    trials = searched(made)
    assert made.ended == "the time of 9000 s was over"
    assert (len(trials), len(engine.blocks)) == (3, 7)  # two blocks to a trial
    assert plain(searched(search(experiment(trials=20), tmp_path)))[: len(trials)] == plain(trials)


def test_finished_trials_are_kept_whole_and_held_without_what_was_read(tmp_path: Path) -> None:
    made = search(experiment(trials=3), tmp_path)
    for one in searched(made):
        whole = made.folder.full_report(one)
        assert all(row.trace and row.trace.prompt for row in whole.rows)
        assert not any(row.trace and row.trace.prompt for row in one.report.rows)
        assert numbers(whole) == numbers(one.report)


def test_only_the_first_cases_are_scored_where_the_experiment_says_so(tmp_path: Path) -> None:
    trials = searched(search(experiment(trials=2, cases=7), tmp_path))
    assert [len(one.report.rows) for one in trials] == [7, 7]


def test_each_trial_has_a_run_with_its_state(tmp_path: Path) -> None:
    made = search(experiment(trials=3), tmp_path)
    trials = searched(made)
    assert isinstance(made.run, MemoryRun)
    assert [child.id for child in made.run.children] == [one.run_id for one in trials]
    assert [child.name for child in made.run.children] == [trial_name(one.number, one.label, one.values) for one in trials]
    assert all(child.logged_tags["touchstone.state"] == "complete" for child in made.run.children)


def test_progress_counts_trials_cases_and_what_the_store_had(tmp_path: Path) -> None:
    asked = experiment(trials=4)
    searched(search(asked, tmp_path))

    class Observer(SweepObserver):
        seen: tuple[int, int] | None = None
        finished: int | None = None

        def progressed(self, progress: SweepProgress) -> None:
            self.seen = progress.done, progress.resumed

        def trial_finished(self, trial: Trial) -> None:
            self.finished = trial.number

    observer = Observer()
    more = search(asked.model_copy(update={"trials": 5}), tmp_path, observer=observer)
    searched(more)
    assert (observer.seen, observer.finished) == ((5, 4), 4)
    assert more.progress.cases == 10
    assert more.progress.counts == {"answer": {"hits": 2, "misses": 8, "again": 0}}


def test_a_finalist_is_proven_block_by_block_in_the_holdouts_order(tmp_path: Path) -> None:
    made = search(experiment(), tmp_path, RuleEngine(workers=2))
    cases = tune(12).cases
    holdout = HoldoutSplit("t/v1", "holdout", cases, "g")
    [finalist] = asyncio.run(prove(made, searched(search(experiment(trials=1), tmp_path)), holdout))
    report = finalist.holdout
    assert [row.case.id for row in report.rows] == [case.id for case in cases]
    assert (report.header.split, report.header.split_digest) == ("holdout", holdout.digest)
    assert [run.name for run in made.run.children] == ["finalist · the base"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_worker_proves_more_than_a_block_at_a_time(tmp_path: Path, workers: int) -> None:
    engine = RuleEngine(workers=workers)
    made = search(experiment(), tmp_path, engine)
    asyncio.run(made.dispatcher.score_all(made.experiment.config, HoldoutSplit("t/v1", "holdout", tune(40).cases, "g")))
    assert engine.most_running == workers


def test_an_outage_while_another_block_waits_for_money_is_an_outage(tmp_path: Path) -> None:
    asked = experiment(budget_usd=0.05)
    made = search(asked, tmp_path, RuleEngine(lambda config, place: OUTAGE, workers=2), prices=FixedPrices(0.01))
    with pytest.raises(InfrastructureError, match="a finalist"):
        asyncio.run(made.dispatcher.score_all(asked.config, HoldoutSplit("t/v1", "holdout", tune(20).cases, "g")))


def test_an_outage_while_proving_is_one_clear_line(tmp_path: Path) -> None:
    def rule(config: RagConfig, place: int) -> Any:
        return OUTAGE

    made = search(experiment(), tmp_path, RuleEngine(rule))
    with pytest.raises(InfrastructureError, match="a finalist: 5 of 5 cases were not answered"):
        asyncio.run(made.dispatcher.score_all(made.experiment.config, HoldoutSplit("t/v1", "holdout", tune().cases, "g")))
