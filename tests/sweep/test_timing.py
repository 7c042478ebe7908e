import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.sweep.cost.budget import Budget
from harness.sweep.cost.timed import timed_answers, timed_cases
from harness.sweep.folder import SweepFolder
from harness.sweep.setup import SweepOptions, open_sweep
from harness.sweep.timing import with_times
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from tests.reports.test_report import a_result
from tests.support.sweeping import experiment
from tests.support.world import NOVA, World

LOCAL = RagConfig()
PAID = LOCAL.replace({"answer.models.lite.name": NOVA})


def test_models_of_this_machine_are_timed_and_paid_ones_only_where_it_is_asked_for() -> None:
    assert timed_cases(experiment(), [LOCAL], available=200) == 30
    assert timed_cases(experiment(), [LOCAL, PAID], available=200) == 0
    assert timed_cases(experiment(), [LOCAL.replace({"index.embedder.name": "bedrock:amazon.titan-embed-text-v2:0"})], available=200) == 0
    assert timed_cases(experiment(timing_cases=12), [LOCAL, PAID], available=200) == 12
    assert timed_cases(experiment(timing_cases=0), [LOCAL], available=200) == 0
    assert timed_cases(experiment(), [LOCAL], available=9) == 9
    assert timed_cases(experiment(), [LOCAL], available=4) == 0  # too few for an interval
    assert timed_answers(30, 4) == 140


def timed(**facts: Any) -> list[object]:
    """The times of two finalists of a sweep whose answers cost a dollar each at most, and whose factory nobody may ask."""
    result = a_result()
    golden = SimpleNamespace(tune=lambda: SimpleNamespace(cases=[row.case for row in result.incumbent.holdout.rows]))
    setup = SimpleNamespace(
        experiment=experiment(**facts.get("experiment", {})),
        golden=golden,
        options=SweepOptions(replay_only=facts.get("replay_only", False)),
        worker=SimpleNamespace(factory=None),
    )
    budget = Budget(facts.get("budget"))
    dispatcher = SimpleNamespace(budget=budget, prices=SimpleNamespace(case_usd=lambda config: 1.0))
    found = asyncio.run(with_times(setup, dispatcher, result.finalists))  # type: ignore[arg-type]
    assert budget.reserved_usd == 0.0
    return [finalist.timing for finalist in found]


def test_what_the_budget_does_not_pay_for_is_not_timed() -> None:
    assert timed(budget=10.0) == [None, None]  # two configurations, 35 answers each


def test_nothing_is_timed_where_it_is_switched_off() -> None:
    assert timed(experiment={"timing_cases": 0}) == [None, None]


def test_an_objective_that_is_a_time_is_measured_on_computed_answers_one_at_a_time(world: World) -> None:
    asked = yaml.safe_load(Path("small.yaml").read_text())
    plain = open_sweep(experiment(**asked), world_settings())
    assert (plain.plan.computed, plain.plan.concurrency) == (False, 4)
    timed_by = open_sweep(experiment(**asked, constraints={"ms.total.p95": {"at_most": 900}}), world_settings())
    assert (timed_by.plan.computed, timed_by.plan.concurrency, timed_by.worker.factory.computed) == (True, 1, True)
    with pytest.raises(ConfigError, match="--replay-only measures no time"):
        open_sweep(experiment(**asked, objective=["quality", "ms.total.p50"]), world_settings(), SweepOptions(replay_only=True))


def world_settings() -> Any:
    from harness.settings import read_settings

    return read_settings()


@pytest.mark.slow
def test_a_sweep_times_its_finalists_keeps_the_times_and_tells_them(world: World) -> None:
    said = world.touchstone("sweep", "small.yaml", "--no-tracking")
    assert said.code == 0, said.err
    assert "to time" in said.err and "each finalist against the incumbent" in said.err
    assert "time, the base's being 1, measured on" in said.out and "×" in said.out
    [folder] = (world.root / "reports" / "sweeps").iterdir()
    result = SweepFolder(folder).read_result()
    assert result is not None
    [finalist] = result.finalists[1:]
    assert finalist.timing is not None and finalist.timing.low <= finalist.timing.ratio <= finalist.timing.high
    page = (folder / "report.html").read_text()
    assert "Times were measured for it" in page


@pytest.mark.slow
def test_two_configurations_are_timed_where_a_comparison_asks_for_it(world: World) -> None:
    sides = ("compare", "tiny.yaml", "tiny.yaml", "--golden", "tiny/v1", "--set-b", "retrieve.top_k=4")
    plain = world.touchstone(*sides, "--json").json
    assert isinstance(plain, dict)
    rows = {row["name"]: row for row in plain["spending"]}
    assert "time, measured" not in rows
    assert rows["time, p50"]["note"].startswith("not measured for comparison") and "difference" not in rows["time, p50"]
    timed_rows = world.touchstone(*sides, "--timing", "--json").json
    assert isinstance(timed_rows, dict)
    rows = {row["name"]: row for row in timed_rows["spending"]}
    assert rows["time, measured"]["timing"]["low"] <= rows["time, measured"]["timing"]["ratio"]
    assert rows["time, p50"]["a"] is None  # those of the first comparison are kept
    world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny/v1", "--no-tracking", "--name", "done")
    refused = world.touchstone("compare", "done", "tiny.yaml", "--timing")
    assert refused.code == 2 and "A timing pass asks configurations" in refused.err
