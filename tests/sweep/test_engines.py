"""What every engine promises: the same scores as in this process, workers replaced when they die and ended with the sweep."""

import asyncio
import importlib.util
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.golden.load import load_golden
from harness.golden.sets import TuneSplit
from harness.judges.base import Verdict
from harness.results.report import EvalReport
from harness.settings import HarnessSettings
from harness.sweep.cost.budget import Budget
from harness.sweep.dispatcher import Dispatcher, FixedPrices
from harness.sweep.engines import ENGINES
from harness.sweep.engines.base import Engine, WorkerPlan
from harness.sweep.engines.worker import failure_text, make_worker, read_scored
from harness.sweep.experiment import EngineChoice
from harness.sweep.progress import SweepProgress
from harness.sweep.setup import connect_engine
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError, PromptError, StoreError
from tests.support.world import DOCUMENTS, World

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
METRICS = ("recall@5", "quality")
WORKER = {"local": b"spawn_main", "ray": b"ray::_RayWorker"}  # in the command line of a worker process

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
ray = pytest.param("ray", marks=[with_ray, pytest.mark.slow])
engines = pytest.mark.parametrize("name", ["local", ray])


@cache
def shared_ray() -> Any:
    """Ray on this machine, which takes seconds to start: an engine uses what it finds."""
    from harness.ray import RayConnection

    return RayConnection("")


def end_shared_ray() -> None:
    if shared_ray.cache_info().currsize:
        shared_ray().close()


@pytest.fixture(scope="module", autouse=True)
def ray_is_ended() -> Iterator[None]:
    yield
    end_shared_ray()


@pytest.fixture
def without_ray() -> None:
    """For tests in which Ray is started, or reached, anew."""
    end_shared_ray()


def places() -> dict[str, str]:
    """Where a worker whose folder is not the world's finds documents, and keeps what it makes."""
    return {name: str(Path(folder).absolute()) for name, folder in (("home", ".touchstone"), ("datasets", "datasets"))}


@asynccontextmanager
async def opened(name: str, workers: int, plan: WorkerPlan | None = None) -> AsyncIterator[Engine]:
    plan = plan or WorkerPlan("tiny", METRICS)
    if name == "ray":
        shared_ray().open(2)  # in this thread: with the one that starts them Ray's processes end
        plan = replace(plan, settings=places())
    engine = connect_engine(EngineChoice(name=name, workers=workers), plan, make_worker(plan))  # type: ignore[arg-type]
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
        await until(lambda: not processes(name))


def dispatcher(engine: Engine, budget: Budget, case_usd: float = 0.0, index_usd: float = 0.0) -> Dispatcher:
    return Dispatcher(engine, FixedPrices(case_usd, index_usd), budget, SweepProgress(1), block=100)


def tune() -> TuneSplit:
    return load_golden(HarnessSettings().datasets, "tiny").tune()


def scores(report: EvalReport) -> list[object]:
    return [(row.case.id, row.scores, row.trace and (row.trace.answer, row.trace.hits)) for row in report.rows]


def here(config: RagConfig) -> EvalReport:
    return asyncio.run(make_worker(WorkerPlan("tiny", METRICS, store=False)).score(config, tune())).report


def processes(name: str) -> set[int]:
    """The worker processes that descend from this one."""
    lines: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line, stat = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z":
            lines[int(path.name)], parents[int(path.name)] = line, int(stat[1])

    def ours(number: int) -> bool:
        return number == os.getpid() or (number in parents and ours(parents[number]))

    return {number for number, line in lines.items() if WORKER[name] in line and ours(number)}


def kill(victims: set[int]) -> None:
    for victim in victims:
        with suppress(ProcessLookupError):  # a pool that has lost one ends the others
            os.kill(victim, signal.SIGKILL)


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_every_engine_is_in_the_table_of_the_experiment_file() -> None:
    assert set(EngineChoice.model_fields["name"].annotation.__args__) == set(ENGINES)  # type: ignore[union-attr]


@engines
@pytest.mark.parametrize("workers", [1, 2])
async def test_an_engine_scores_as_this_process_does(world: World, name: str, workers: int) -> None:
    configs = [load_config(world.root / "tiny.yaml").replace({"retrieve.top_k": top_k}) for top_k in (1, 2, 3)]
    async with opened(name, workers) as engine:
        assert engine.workers == workers
        await asyncio.gather(*(engine.index(config) for config in configs))
        found = await asyncio.gather(*(engine.score(config, tune()) for config in configs))
    assert [scores(one.report) for one in found] == await asyncio.to_thread(lambda: [scores(here(config)) for config in configs])
    assert sum(numbers["misses"] for one in found for numbers in one.counts.values()) > 0  # of blocks at once, with whichever ends first


@engines
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_the_store_was_asked_for_an_index_comes_with_it_once(world: World, name: str, workers: int) -> None:
    config = load_config(world.root / "tiny.yaml")
    async with opened(name, workers) as engine:
        found = await asyncio.gather(*(engine.index(config) for _ in range(3)))
        found += [await engine.index(config.replace({"retrieve.top_k": 1}))]
    asked = [one.get("embed", {}) for one in found]
    assert [numbers for numbers in asked if any(numbers.values())] == [{"hits": 0, "misses": len(DOCUMENTS), "again": 0}]


async def test_blocks_scored_at_the_same_time_count_every_question_to_the_store_once(world: World) -> None:
    config, cases = load_config(world.root / "tiny.yaml"), tune()
    async with opened("local", 1) as engine:
        await engine.index(config)
        parts = [replace(cases, cases=(case,)) for case in cases.cases]
        found = await asyncio.gather(*(engine.score(config, part) for part in parts))
    assert sum(sum(one.counts.get("retrieve", {}).values()) for one in found) == len(cases.cases)


@engines
async def test_a_worker_that_is_killed_is_replaced_and_its_cases_are_scored_again(world: World, name: str) -> None:
    config = load_config(world.root / "tiny.yaml")
    budget = Budget()
    async with opened(name, 2) as engine:
        known = processes(name) if name == "ray" else set()  # the local engine's begin with their first cases
        sent = dispatcher(engine, budget, case_usd=0.25)
        both = [asyncio.create_task(sent.score_block(config.replace({"retrieve.top_k": top_k}), tune(), "trial")) for top_k in (2, 3)]
        await until(lambda: len(processes(name)) >= 1)
        victims = processes(name)
        kill(victims)
        found = await asyncio.gather(*both)
        assert not victims & processes(name)
        assert known <= victims
    true_usd = sum(trace.usd for report in found for trace in report.traces)
    lost = (budget.spent_usd - true_usd) / (0.25 * len(tune().cases))  # blocks, at their most
    assert lost == pytest.approx(round(lost))
    assert round(lost) in range(1, 5)
    assert scores(found[0]) == await asyncio.to_thread(lambda: scores(here(config)))


async def test_cases_that_kill_every_worker_end_the_sweep_with_a_clear_line(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    async with opened("local", 2) as engine:
        task = asyncio.create_task(dispatcher(engine, Budget()).score_block(config, tune(), "trial"))
        while not task.done():
            kill(processes("local"))
            await asyncio.sleep(0.01)
        with pytest.raises(InfrastructureError, match="A worker died 3 times over the same . cases"):
            await task


@engines
async def test_a_mistake_is_raised_here_as_it_was_in_the_worker(world: World, name: str) -> None:
    nova = "bedrock_converse:amazon.nova-lite-v1:0"
    config = load_config(world.root / "tiny.yaml").replace({"answer.models.lite.name": nova, "answer.models.pro.name": nova})
    async with opened(name, 2, WorkerPlan("tiny", METRICS, replay_only=True)) as engine:
        with pytest.raises(DataError, match="Run once without --replay-only"):
            await engine.score(config, tune())


@engines
@pytest.mark.parametrize("workers", [1, 2])
async def test_cases_that_no_pipeline_can_be_built_for_cost_nothing(world: World, name: str, workers: int) -> None:
    config, budget = load_config(world.root / "tiny.yaml").replace({"answer.prompt.version": 99}), Budget(1.0)
    async with opened(name, workers) as engine:
        with pytest.raises(PromptError, match="No version 99"):
            await dispatcher(engine, budget, case_usd=0.125).score_block(config, tune(), "trial")
    assert (budget.spent_usd, budget.reserved_usd) == (0.0, 0.0)


async def test_cases_that_a_judge_fails_for_a_mistake_of_the_user_may_have_cost_the_most(world: World) -> None:
    class Mistaken:
        """A judge whose credentials are wrong, for all that its prices tell."""

        name = id = "mistaken"

        async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
            raise ConfigError("refused the credentials")

    config, budget = load_config(world.root / "tiny.yaml"), Budget(10.0)
    plan = WorkerPlan("tiny", ("judge_relevance",), judge="local")
    worker = make_worker(plan)
    assert worker.evaluator.tools
    worker.evaluator = replace(worker.evaluator, tools=replace(worker.evaluator.tools, judge=Mistaken()))
    with pytest.raises(ConfigError, match="refused the credentials"):
        await dispatcher(connect_engine(EngineChoice(workers=1), plan, worker), budget, case_usd=0.125).score_block(config, tune(), "trial")
    assert budget.spent_usd == 0.125 * len(tune().cases)


def test_a_failure_survives_as_what_it_was() -> None:
    for error in (StoreError("the bucket is gone"), ConfigError("no such corpus\nat all")):
        with pytest.raises(type(error)) as caught:
            read_scored(failure_text(error))
        assert str(caught.value) == str(error)


@with_ray
@pytest.mark.usefixtures("without_ray")
def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_3(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    said = world.touchstone("sweep", "small.yaml", "--no-tracking", "--engine", "ray")
    assert said.code == 3, said
    assert "touchstone: The Ray cluster at 127.0.0.1:9 cannot be reached: " in said.err


@with_ray
async def test_as_many_workers_as_a_cluster_has_cores_share_what_a_provider_may_be_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import ray as connection
    from harness.sweep.engines import ray as module

    hired: list[str] = []

    class Actor:
        """Stands for a worker on a cluster that is not there."""

        ready = SimpleNamespace(remote=lambda: asyncio.sleep(0))

        @classmethod
        def remote(cls, plan: str) -> "Actor":
            hired.append(plan)
            return cls()

    stand_in = SimpleNamespace(is_initialized=lambda: False, init=lambda **options: None, kill=lambda worker: None, shutdown=lambda: None)
    for where, name, value in [
        (connection, "_knock", lambda address: None),
        (connection, "_resources", lambda: {"CPU": 6.0}),
        (connection, "ray", stand_in),
        (module, "ray", stand_in),
        (module, "_Actor", Actor),
    ]:
        monkeypatch.setattr(where, name, value)
    plan = WorkerPlan("tiny", METRICS, limit_shares=2)
    engine = connect_engine(EngineChoice(name="ray", workers=0, address="ray://far:10001"), plan, make_worker(plan))
    await engine.start()
    await until(lambda: len(hired) == 6)
    await engine.stop()
    assert {json.loads(one)["limit_shares"] for one in hired} == {6}


@with_ray
async def test_a_worker_of_a_cluster_that_dies_over_an_index_is_replaced_and_another_builds_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import RayActorError

    from harness import ray as connection
    from harness.sweep.engines import ray as module

    orders: list[str] = []

    async def carry_out(order: str) -> str:
        orders.append(order)
        await asyncio.sleep(0)
        if len(orders) < 3:
            raise RayActorError
        return json.dumps({"counts": {}})

    class Actor:
        """Stands for a worker of which the first two die."""

        ready = SimpleNamespace(remote=lambda: asyncio.sleep(0))
        run = SimpleNamespace(remote=carry_out)

        @classmethod
        def remote(cls, plan: str) -> "Actor":
            return cls()

    stand_in = SimpleNamespace(is_initialized=lambda: True, kill=lambda worker: None)
    for where, name, value in [(connection, "ray", stand_in), (module, "ray", stand_in), (module, "_Actor", Actor)]:
        monkeypatch.setattr(where, name, value)
    config, budget = load_config(world.root / "tiny.yaml"), Budget()
    async with opened("ray", 1) as engine:
        sent = dispatcher(engine, budget, index_usd=1.0)
        await asyncio.gather(*(sent.build_index(config.replace({"retrieve.top_k": top_k})) for top_k in (1, 2)))
    assert len(orders) == 3
    assert budget.spent_usd == 3.0


@with_ray
@pytest.mark.usefixtures("without_ray")
def test_a_sweep_on_ray_finds_what_a_sweep_in_this_process_finds(world: World) -> None:
    from harness.sweep.folder import SweepFolder, latest
    from tests.support.sweeping import plain

    found = []
    for choice in (["--workers", "1"], ["--engine", "ray", "--workers", "1"]):
        said = world.touchstone("sweep", "small.yaml", "--no-tracking", "--no-store", "--trials", "5", *choice)
        assert said.code == 0, said.err
        folder: SweepFolder = latest(world.root / "reports")
        found.append(plain(folder.finished()))
    assert found[0] == found[1]
    assert len(found[0]) == 5
    assert not processes("ray")
