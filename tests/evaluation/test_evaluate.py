import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.evaluation.evaluator import JUDGE_REFUSED, Evaluator, raise_if_all_refused
from harness.evaluation.subject import SubjectIdentity
from harness.golden.case import Case
from harness.golden.sets import Split
from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from harness.results.score import Score
from serving.pipeline.clock import SystemClock
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, ModelError, RequestError, StoreError
from serving.pipeline.types import Query, Trace
from tests.support.making import a_case, a_hit, a_trace

GOOD = a_trace(a_hit(0, 50), answer="30 days")


@dataclass
class Stub:
    """A subject whose answers a test decides."""

    reply: Callable[[Query], Trace]
    running: int = 0
    most: int = 0
    clock: SystemClock = field(default_factory=SystemClock)
    identity: SubjectIdentity = field(default_factory=lambda: SubjectIdentity({}, "c"))
    serial: bool = False

    async def answer(self, query: Query) -> Trace:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            return self.reply(query)
        finally:
            self.running -= 1


def split_of(count: int) -> Split:
    return Split("tiny/v1", "tune", tuple(a_case(id=f"c{index}") for index in range(count)), "g")


def run(reply: Callable[[Query], Trace], count: int = 8, **changes: Any) -> EvalReport:
    evaluator = Evaluator(("token_f1", "recall@5"), **changes)
    return asyncio.run(evaluator.run(Stub(reply), split_of(count)))


def failing(error: Exception, *, at: str) -> Callable[[Query], Trace]:
    def reply(query: Query) -> Trace:
        if query.id == at:
            raise error
        return GOOD

    return reply


def test_a_crash_of_one_case_is_a_row_and_the_others_are_scored() -> None:
    report = run(failing(ZeroDivisionError("oops"), at="c3"))
    assert [row.case.id for row in report.rows] == [f"c{index}" for index in range(8)]
    [bad] = report.errors
    assert bad.case.id == "c3"
    assert bad.error is not None and bad.error.message == "ZeroDivisionError: oops"
    assert all(score.value is None and "oops" in score.reason for score in bad.scores)
    assert report.summary["token_f1"].count == 7
    assert report.mean("token_f1") == 1.0
    assert report.outages == []


def test_an_outage_is_marked_as_one_and_never_scores_0() -> None:
    report = run(failing(ModelError("gone"), at="c1"))
    assert [row.case.id for row in report.outages] == ["c1"]
    assert report.mean("recall@5") == 1.0


def test_a_mistake_of_the_user_ends_the_evaluation() -> None:
    with pytest.raises(ConfigError, match="no key"):
        run(failing(ConfigError("no key"), at="c5"))


def test_no_more_cases_run_at_once_than_allowed() -> None:
    stub = Stub(lambda query: GOOD)
    asyncio.run(Evaluator(("token_f1",), concurrency=3).run(stub, split_of(12)))
    assert stub.most == 3


def test_what_remembers_is_asked_one_case_at_a_time_in_the_order_of_the_split() -> None:
    order: list[str] = []

    def reply(query: Query) -> Trace:
        order.append(query.id)
        return GOOD

    stub = Stub(reply, serial=True)
    asyncio.run(Evaluator(("token_f1",), concurrency=8).run(stub, split_of(12)))
    assert (stub.most, order) == (1, [f"c{index}" for index in range(12)])


def test_a_configuration_with_a_cache_that_remembers_is_stateful(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.evaluation.stateful import is_stateful
    from serving.pipeline.cache.none import NoCache

    assert not is_stateful(RagConfig.parse({}))
    monkeypatch.setattr(NoCache, "stateful", True, raising=False)  # no cache that ships remembers yet
    assert is_stateful(RagConfig.parse({}))


def test_a_case_that_takes_too_long_is_unscored() -> None:
    class Slow(Stub):
        async def answer(self, query: Query) -> Trace:
            await asyncio.Event().wait()
            return GOOD

    slow = Slow(lambda query: GOOD)
    report = asyncio.run(Evaluator(("token_f1",), case_timeout_s=0.01).run(slow, split_of(2)))
    assert len(report.outages) == 2
    assert report.mean("token_f1") is None


def test_a_metric_that_raises_or_gives_nan_leaves_out_its_own_score_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.metrics.token_f1 import TokenF1

    def broken(self: TokenF1, trace: Trace, case: object) -> object:
        raise RuntimeError("metric broke")

    monkeypatch.setattr(TokenF1, "score", broken)  # the only way to make a shipped metric raise
    report = run(lambda query: GOOD, count=2)
    assert report.mean("token_f1") is None
    assert "metric broke" in report.rows[0].scores[0].reason
    assert report.mean("recall@5") == 1.0
    monkeypatch.setattr(TokenF1, "score", lambda self, trace, case: self.give(float("nan")))
    assert "NaN" in run(lambda query: GOOD, count=1).rows[0].scores[0].reason


def test_a_metric_whose_store_fails_is_an_outage_of_the_case_and_no_missing_score(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.metrics.token_f1 import TokenF1

    def cut_off(self: TokenF1, trace: Trace, case: Case) -> Score:
        if case.id == "c1":
            raise StoreError("no space left on device")
        return self.give(1.0)

    monkeypatch.setattr(TokenF1, "score", cut_off)  # likewise
    report = run(lambda query: GOOD, count=3)
    [row] = report.outages
    assert row.case.id == "c1"
    assert row.error is not None and row.error.kind == "StoreError"
    assert {score.metric: score.value for score in row.scores} == {"token_f1": None, "recall@5": 1.0}


def test_a_judge_that_refuses_every_answer_is_a_mistake_and_one_that_refuses_some_is_not() -> None:
    def row(reason: str, *, answered: bool = True) -> CaseResult:
        return CaseResult(a_case(), (Score("judge_relevance", None, reason),), a_trace(answer="x") if answered else None)

    refused, silent = row(f"{JUDGE_REFUSED}: too long"), row("no two readings agree")
    raise_if_all_refused([refused, silent, row("no answer", answered=False)])
    with pytest.raises(RequestError, match="judge_relevance: the judge took no such request: too long"):
        raise_if_all_refused([refused, refused, row("no answer", answered=False)])


def test_progress_counts_every_case_once() -> None:
    seen: list[int] = []
    evaluator = Evaluator(("token_f1",))
    stub = Stub(lambda query: GOOD)
    asyncio.run(evaluator.run(stub, split_of(5), lambda done, total: seen.append(done)))
    assert seen == [1, 2, 3, 4, 5]


def test_an_empty_split_is_a_mistake_not_a_score() -> None:
    with pytest.raises(DataError, match="no cases"):
        run(lambda query: GOOD, count=0)
