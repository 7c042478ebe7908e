"""What a query costs: every call that a provider bills stands in its trace, or is told to its observer, exactly once."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline.build import build_pipeline
from serving.pipeline.cache.audit import Audited
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.observer import Observer
from serving.pipeline.types import Query, StageRecord, Trace, Usage
from tests.support.paid_parts import BILLS, CHEAP, CHECK_USD, DEAR, HERE, RERANK_USD, USD, VECTORS, PaidEmbeddings, prices
from tests.support.pipelines import CONFIG, PROMPTS, small_index

QUESTION = "How many days of paid leave does everyone have?"
REWORDED = "How many paid leave days does everyone have?"
VECTOR_USD = len(QUESTION.split()) * USD[VECTORS][0] / 1_000_000
CHECK = {"name": f"{HERE}:PaidCheck"}


@dataclass
class Told(Observer):
    """Counts what an observer is told: of finished traces, and beside them."""

    usage: list[Usage] = field(default_factory=list)

    def stage_started(self, query: Query, stage: str) -> None: ...

    def stage_finished(self, query: Query, record: StageRecord) -> None: ...

    def answered(self, trace: Trace) -> None:
        self.usage += trace.usage

    def failed(self, query: Query, error: BaseException) -> None: ...

    def spent(self, query: Query, usage: Usage) -> None:
        self.usage.append(usage)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return replace(small_index(tmp_path_factory.mktemp("home")), embeddings=PaidEmbeddings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices")


def asked(
    index: OpenIndex,
    folder: Path,
    changes: dict[str, Any],
    *,
    times: int = 1,
    seed: int = 0,
    fails: str = "",
    tells: bool = True,
    audits: bool = False,
) -> tuple[list[Trace | None], list[Usage]]:
    """The traces of a question that is asked so many times of one pipeline, in turn with its other wording, and all that was told."""
    BILLS.clear()
    BILLS.chance, BILLS.fails, BILLS.tells_tokens = random.Random(seed), fails, tells
    base = {"index.embedder": {"name": VECTORS}, "answer.models.lite": {"name": CHEAP}, "answer.models.pro": {"name": DEAR}}
    settings = prices(folder).model_copy(update={"cache_audit": float(audits)})
    pipeline = build_pipeline(CONFIG.replace(base | changes), index, PROMPTS, settings)
    told, traces = Told(), list[Trace | None]()

    async def ask() -> None:
        for number in range(times):
            try:
                traces.append(await pipeline.answer(Query(REWORDED if number % 2 else QUESTION), observer=told))
            except (TouchstoneError, ConnectionError):
                traces.append(None)
            if isinstance(pipeline.cache, Audited):
                await asyncio.gather(*pipeline.cache.audit._tasks)
        await asyncio.sleep(0)  # what is told late is told by the loop

    asyncio.run(ask())
    return traces, told.usage


ALWAYS = {"name": "always", "tier": "lite"}
VECTOR_SEARCH: dict[str, Any] = {"retrieve.search": {"name": "vector"}, "route.router": ALWAYS}
WORDS: dict[str, Any] = {"retrieve.search": {"name": "keyword"}, "route.router": ALWAYS}


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        (WORDS, ["answer"]),
        (VECTOR_SEARCH, ["answer", "vector"]),
        ({**WORDS, "route.router": {"name": f"{HERE}:VectorRouter"}}, ["answer", "vector"]),
        ({**VECTOR_SEARCH, "route.router": {"name": f"{HERE}:VectorRouter"}}, ["answer", "vector"]),  # one vector for both
        ({**VECTOR_SEARCH, "retrieve.reranker": {"name": f"{HERE}:PaidReranker"}}, ["answer", "vector", "rerank"]),
        ({**WORDS, "route.escalate": {"name": f"{HERE}:OnceMore"}}, ["answer", "answer"]),
        ({**WORDS, "guard.input.injection": CHECK, "guard.output.pii": CHECK}, ["answer", "check", "check"]),
        ({**WORDS, "guard.passages.injection": CHECK}, ["answer", "check"]),  # one passage, which passes
        ({**WORDS, "guard.input.injection": CHECK | {"blocks_every": 1}}, ["check"]),
        ({**WORDS, "guard.passages.injection": CHECK | {"blocks_every": 1}}, ["check"]),  # nothing is left to answer from
    ],
)
def test_each_path_costs_the_calls_that_it_makes(index: OpenIndex, folder: Path, changes: dict[str, Any], calls: list[str]) -> None:
    [trace], told = asked(index, folder, changes)
    assert trace is not None
    usd = {"vector": VECTOR_USD, "rerank": RERANK_USD, "check": CHECK_USD}
    paid = [use for use in trace.usage if use.calls]
    assert len(paid) == len(calls) == len(BILLS)
    assert sorted(use.usd for use in paid if use.stage != "answer") == pytest.approx(
        sorted(usd[call] for call in calls if call != "answer")
    )
    assert trace.usd == pytest.approx(sum(BILLS))
    assert all(use.priced and not use.estimated and not use.simulated for use in trace.usage)
    assert tuple(told) == trace.usage


def test_a_cached_answer_costs_its_checks_and_not_its_model(index: OpenIndex, folder: Path) -> None:
    changes = {**VECTOR_SEARCH, "cache.lookup": {"name": "exact"}, "guard.input.injection": CHECK, "guard.output.pii": CHECK}
    [first, _, again], told = asked(index, folder, changes, times=3)
    assert first is not None and again is not None
    assert again.cached
    assert again.usd == pytest.approx(2 * CHECK_USD)
    assert sum(use.usd for use in told) == pytest.approx(sum(BILLS))


SEMANTIC = {"name": "semantic", "scorer": "cosine", "threshold": 0.3, "least_similarity": 0.3}


def test_a_cached_answer_to_other_words_costs_their_vector(index: OpenIndex, folder: Path) -> None:
    [first, second], _ = asked(index, folder, {**WORDS, "cache.lookup": SEMANTIC}, times=2)
    assert first is not None and second is not None
    assert second.cache is not None and second.cache.kind == "semantic", second.cache
    assert [use.stage for use in second.usage] == ["retrieve"]
    assert first.usd + second.usd == pytest.approx(sum(BILLS))


def test_an_audit_is_told_to_the_observer_and_stands_in_no_trace(index: OpenIndex, folder: Path) -> None:
    [first, second], told = asked(index, folder, {**WORDS, "cache.lookup": SEMANTIC}, times=2, audits=True)
    assert first is not None and second is not None
    assert second.cached
    audit = [use for use in told if use.stage == "audit"]
    assert audit and any(use.model == CHEAP for use in audit)
    assert sum(use.usd for use in told) == pytest.approx(sum(BILLS))


def test_tokens_that_nobody_tells_are_estimated_and_marked(index: OpenIndex, folder: Path) -> None:
    [trace], _ = asked(index, folder, VECTOR_SEARCH, tells=False)
    assert trace is not None
    assert [use.estimated for use in trace.usage] == [False, True]
    assert trace.usd == pytest.approx(sum(BILLS))


@pytest.mark.parametrize(
    ("changes", "fails", "paid"),
    [
        ({}, "PaidReranker", 1),  # the vector
        ({}, "CheapChat", 2),  # the vector and the reranking
        ({"route.escalate": {"name": f"{HERE}:OnceMore"}}, "DearChat", 3),  # and the answer that was given up
        ({"guard.output": {"a": CHECK, "b": CHECK | {"fails": True}}}, "", 4),  # and the check before the one that is away
        ({"guard.input": {"a": CHECK, "b": CHECK | {"fails": True}}}, "", 1),
        ({"guard.passages": {"a": CHECK, "b": CHECK | {"fails": True}}}, "", 3),
    ],
)
def test_what_a_query_cost_that_failed_is_told_to_its_observer(
    index: OpenIndex, folder: Path, changes: dict[str, Any], fails: str, paid: int
) -> None:
    [trace], told = asked(index, folder, {**VECTOR_SEARCH, "retrieve.reranker": {"name": f"{HERE}:PaidReranker"}, **changes}, fails=fails)
    assert trace is None
    assert len(BILLS) == paid
    assert sum(use.usd for use in told) == pytest.approx(sum(BILLS))


configurations = st.fixed_dictionaries(
    {
        "retrieve.search": st.sampled_from([{"name": "vector"}, {"name": "keyword"}, {"name": "hybrid"}]),
        "retrieve.reranker": st.sampled_from([{"name": "none"}, {"name": f"{HERE}:PaidReranker"}]),
        "route.router": st.sampled_from([ALWAYS, {"name": "always", "tier": "pro"}, {"name": f"{HERE}:VectorRouter"}]),
        "route.escalate": st.sampled_from([{"name": "none"}, {"name": f"{HERE}:OnceMore"}]),
        "cache.lookup": st.sampled_from([{"name": "none"}, {"name": "exact"}, SEMANTIC]),
        **{
            f"guard.{side}.injection": st.sampled_from([{"name": "none"}, CHECK, CHECK | {"blocks_every": 3}, CHECK | {"fails": True}])
            for side in ("input", "passages")
        },
        "guard.output.pii": st.sampled_from([{"name": "none"}, CHECK, CHECK | {"blocks_every": 3}, CHECK | {"fails": True}]),
    }
)
away = st.sampled_from(["", "", "", "words", "PaidReranker", "CheapChat", "DearChat", "PaidEmbeddings"])


@settings(deadline=None, max_examples=80)
@given(changes=configurations, times=st.integers(1, 4), seed=st.integers(0, 999), fails=away, tells=st.booleans(), audits=st.booleans())
def test_whatever_is_configured_and_whatever_fails_the_bills_are_what_was_told(
    index: OpenIndex, folder: Path, changes: dict[str, Any], times: int, seed: int, fails: str, tells: bool, audits: bool
) -> None:
    traces, told = asked(index, folder, changes, times=times, seed=seed, fails=fails, tells=tells, audits=audits)
    assert sum(use.usd for use in told) == pytest.approx(sum(BILLS), abs=1e-12)
    if all(trace is not None for trace in traces) and not any(use.stage == "audit" for use in told):
        assert sum(trace.usd for trace in traces if trace) == pytest.approx(sum(BILLS), abs=1e-12)
