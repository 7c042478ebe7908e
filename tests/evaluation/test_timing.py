import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from harness.evaluation.factory import PipelineFactory
from harness.evaluation.timing import WARM, TimedConfig, time_against, timing_comparison
from harness.golden.load import load_golden
from harness.settings import HarnessSettings
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ModelError
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.types import Query, Trace
from tests.support.making import a_case, a_trace
from tests.support.world import World

CASES = [a_case(id=f"c{number}", question=f"q{number}") for number in range(8)]


@dataclass
class Clocked:
    """A configuration whose answers take as long as it is told; it writes down who was asked what."""

    name: str
    factor: float
    asked: list[tuple[str, str]]
    config: RagConfig = field(default_factory=RagConfig)
    fails_at: str = ""

    async def pipeline(self) -> "Clocked":
        return self

    async def answer(self, query: Query) -> Trace:
        self.asked.append((self.name, query.text))
        if query.text == self.fails_at:
            raise ModelError("gone")
        return replace(a_trace(), milliseconds=self.factor * (10 + len(self.asked) % 3))


def timed(first: Clocked, *others: Clocked) -> Sequence[object]:
    return asyncio.run(time_against(first, others, CASES)).comparisons  # type: ignore[arg-type]


def test_configurations_answer_in_turn_and_each_is_as_often_first() -> None:
    asked: list[tuple[str, str]] = []
    timed(Clocked("a", 1.0, asked), Clocked("b", 1.0, asked))
    warm, rest = asked[: 2 * WARM], asked[2 * WARM :]
    assert [question for _, question in warm[::2]] == [case.question for case in CASES[:WARM]]
    assert [question for _, question in rest[::2]] == [case.question for case in CASES]
    firsts = [name for name, _ in rest[::2]]
    assert firsts.count("a") == firsts.count("b") == len(CASES) / 2
    assert all({one[0], two[0]} == {"a", "b"} and one[1] == two[1] for one, two in zip(rest[::2], rest[1::2], strict=True))


def test_the_ratio_is_the_geometric_mean_case_by_case_worked_by_hand() -> None:
    before, after = [100.0, 200.0, 400.0, 800.0, 100.0], [50.0, 100.0, 200.0, 400.0, 200.0]
    found = timing_comparison(before, after, 1)
    assert found is not None
    logs = [math.log(0.5)] * 4 + [math.log(2.0)]
    mean = sum(logs) / 5
    error = math.sqrt(sum((one - mean) ** 2 for one in logs) / 4 / 5)
    assert found.ratio == pytest.approx(math.exp(mean))
    assert found.high == pytest.approx(math.exp(mean + 2.7764 * error), rel=1e-4)  # t of 4 degrees of freedom
    assert (found.count, found.before_ms, found.after_ms) == (5, 200.0, 200.0)


def test_the_interval_is_wider_the_more_are_compared() -> None:
    draw = random.Random(1)
    before, after = ([draw.lognormvariate(4, 0.3) for _ in range(20)] for _ in range(2))
    one, four = timing_comparison(before, after, 1), timing_comparison(before, after, 4)
    assert one and four
    assert four.low < one.low and four.high > one.high


def test_equal_configurations_are_seen_to_differ_about_once_in_twenty() -> None:
    """Over all three that are compared together."""
    draw, wrong, passes = random.Random(6), 0, 1000
    for _ in range(passes):
        base = [draw.lognormvariate(4, 0.6) for _ in range(20)]
        columns = [[one * draw.lognormvariate(0, 0.25) for one in base] for _ in range(4)]
        found = [timing_comparison(columns[0], column, 3) for column in columns[1:]]
        wrong += any(one is not None and not one.low <= 1 <= one.high for one in found)
    assert wrong / passes <= 0.07


def test_a_failed_answer_leaves_out_its_case_and_too_few_say_nothing() -> None:
    asked: list[tuple[str, str]] = []
    [found] = timed(Clocked("a", 1.0, asked), Clocked("b", 2.0, asked, fails_at="q3"))
    assert found is not None and found.count == 7  # type: ignore[attr-defined]
    assert timing_comparison([1.0, 2.0, None, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0], 1) is None


def test_a_configuration_that_remembers_has_no_time_of_its_own() -> None:
    asked: list[tuple[str, str]] = []
    remembers = RagConfig().replace({"cache.lookup.name": "exact"})
    assert timed(Clocked("a", 1.0, asked), Clocked("b", 1.0, asked, remembers)) == (None,)
    assert timed(Clocked("a", 1.0, asked, remembers), Clocked("b", 1.0, asked)) == (None,)
    assert asked == []


def test_a_timing_pass_uses_no_kept_search_no_kept_vector_of_a_question_and_no_kept_answer(world: World) -> None:
    places = HarnessSettings()
    stages = SqliteStageStore(world.root / "kept")
    factory = PipelineFactory(places, load_corpus(places.datasets / "corpora" / "tiny"), PromptLibrary(places.prompts), stage_store=stages)
    config = load_config(world.root / "tiny.yaml")
    cases = load_golden(places.datasets, "tiny/v1").cases[:5]

    async def passed() -> object:
        for case in cases:
            await (await factory.pipeline(config)).answer(case.query)
        stages.counts.take()
        two = [TimedConfig(config.replace({"retrieve.top_k": top_k}), factory) for top_k in (1, 2)]
        return (await time_against(two[0], two[1:], cases)).comparisons[0]

    assert asyncio.run(passed()) is not None
    assert stages.counts.take() == {}
