"""A configuration that remembers earlier questions is scored whole, by one worker, with nothing decided in between."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from harness.evaluation.factory import PipelineFactory
from harness.evaluation.stateful import is_stateful
from harness.golden.sets import HoldoutSplit
from serving.pipeline.cache.memory import MemoryBackend
from serving.pipeline.cache.none import NoCache
from serving.pipeline.config import RagConfig
from serving.pipeline.guard import CHECKS
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.settings import PipelineSettings
from tests.support.pipelines import CONFIG, LEAVE, PROMPTS
from tests.support.sweeping import RuleEngine, experiment, search, searched, tune


class Counting(NoCache):
    """Lets every other question through, for a guard as well as for a cache."""

    stateful: ClassVar[bool] = True


def test_caches_and_guards_that_remember_make_a_configuration_stateful(monkeypatch: pytest.MonkeyPatch) -> None:
    base = RagConfig().complete()
    assert not is_stateful(base)
    assert is_stateful(base.replace({"cache.lookup.name": "exact"}))
    monkeypatch.setitem(CHECKS._table, "counting", f"{__name__}:Counting")  # a check that no table of ours has
    guard = next(path for path in base.plugins() if path.startswith("guard.input."))
    assert is_stateful(base.replace({f"{guard}.name": "counting"}))


def test_a_chat_model_that_follows_a_script_does_not() -> None:
    scripted = {"name": "local:scripted", "answers": ["30 days."]}
    assert not is_stateful(RagConfig.parse({"answer": {"models": {"lite": scripted, "pro": scripted}}}))


def test_its_cases_are_sent_as_one_block_and_no_look_is_taken_on_the_way(tmp_path: Path) -> None:
    space = {"cache.lookup.name": {"choice": ["none", "exact"]}, "retrieve.top_k": {"choice": [1, 12]}}
    asked = experiment(base={"retrieve": {"top_k": 12}}, space=space, sampler="grid", trials=4, pruner={"startup": 5})

    def rule(config: RagConfig, place: int) -> float:
        return 1.0 if config.retrieve.top_k == 12 else 0.0  # surely worse at the first look

    engine = RuleEngine(rule, workers=2)
    trials = searched(search(asked, tmp_path, engine), tune(100))
    sent: dict[tuple[str, int], list[int]] = {}
    for config, count in engine.blocks:
        sent.setdefault((config.cache.lookup.name, config.retrieve.top_k), []).append(count)
    assert sent["exact", 12] == sent["exact", 1] == [100]
    assert sent["none", 12] == [5] * 20
    assert len(sent["none", 1]) < 20
    states = {(trial.config.cache.lookup.name, trial.config.retrieve.top_k): trial.state for trial in trials}
    assert (states["none", 1], states["exact", 1]) == ("pruned", "complete")


def test_a_finalist_that_is_stateful_is_proven_in_one_block(tmp_path: Path) -> None:
    engine = RuleEngine(workers=2)
    dispatcher = search(experiment(), tmp_path, engine).dispatcher
    config = experiment().config.replace({"cache.lookup.name": "exact"})
    asyncio.run(dispatcher.score_all(config, HoldoutSplit("t/v1", "holdout", tune(12).cases, "g")))
    assert [count for _, count in engine.blocks] == [12]


def test_an_evaluation_shares_no_cache_with_a_service_and_audits_nothing(tmp_path: Path) -> None:
    settings = PipelineSettings(home=tmp_path, _env_file=None, redis="redis://127.0.0.1:1", cache_secret="s" * 32, cache_audit=1.0)
    factory = PipelineFactory(settings, Corpus.of("small", [LEAVE]), PROMPTS)
    assert (factory.settings.redis, factory.settings.cache_audit) == ("", 0.0)
    pipeline = asyncio.run(factory.pipeline(CONFIG.replace({"cache.lookup.name": "semantic"})))
    assert isinstance(pipeline.cache._answers.backend, MemoryBackend)  # type: ignore[attr-defined]
