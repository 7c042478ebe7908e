import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.golden.sets import HoldoutSplit, Split
from harness.results.case_result import CaseError, CaseResult
from harness.results.report import EvalReport
from harness.sweep.cost.budget import Budget, BudgetExceeded, Reservation, Spending, SpendingFile, report_usd
from harness.sweep.dispatcher import FixedPrices
from harness.sweep.engines.base import ScoredBlock, StoreCounts, WorkerDied
from harness.sweep.run import prove
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError
from serving.pipeline.types import StageRecord, Usage
from tests.support.making import a_case, a_trace
from tests.support.sweeping import RuleEngine, experiment, search, searched, smooth

CASE_USD = 0.01
PRICES = FixedPrices(CASE_USD)
INDEXED = FixedPrices(CASE_USD, 1.0)


class PricedEngine(RuleEngine):
    """Scores by a rule, for money: a case costs between nothing and the most, as its place and configuration say."""

    paid = 0.0

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        scored = await super().score(config, cases)
        rows = [replace(row, trace=self._billed(row, config)) for row in scored.report.rows]
        return replace(scored, report=EvalReport(scored.report.header, tuple(rows)))

    def _billed(self, row: CaseResult, config: RagConfig):
        usd = CASE_USD * ((int(row.case.id[1:]) * 7 + config.retrieve.top_k) % 11) / 10
        self.paid += usd
        assert row.trace is not None
        return replace(row.trace, usage=(Usage("m", 1, 1, usd),))


class DeadlyEngine(PricedEngine):
    """Its workers die over the first blocks that they get."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths
        self.died = 0

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        if self.died < self.deaths:
            self.died += 1
            raise WorkerDied("It was hot.")
        return await super().score(config, cases)


def holdout(count: int = 6) -> HoldoutSplit:
    return HoldoutSplit("t/v1", "holdout", tuple(a_case(id=f"c{place}") for place in range(count)), "g")


@given(
    limit=st.floats(0.0, 10.0),
    reserve=st.floats(0.0, 3.0),
    steps=st.lists(st.tuples(st.integers(1, 9), st.floats(0.0, 1.0), st.booleans()), max_size=60),
)
def test_what_is_spent_and_on_its_way_never_passes_the_limit(limit: float, reserve: float, steps: list[tuple[int, float, bool]]) -> None:
    budget = Budget(limit, reserve)
    away: list[Reservation] = []
    for cases, share, come_back in steps:
        if come_back and away:
            sent = away.pop(0)
            budget.settle(sent, sent.usd * share)
        else:
            try:
                away.append(budget.reserve(cases * 0.1))
            except BudgetExceeded:
                assert budget.spent_usd + budget.reserved_usd + cases * 0.1 > limit - reserve  # it refuses nothing that fits
        assert budget.spent_usd + budget.reserved_usd <= max(0.0, limit - reserve) + 1e-9
    for sent in away:
        budget.settle(sent, None)
    assert budget.spent_usd <= max(0.0, limit - reserve) + 1e-9
    assert budget.reserved_usd == 0


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("budget", [0.25, 0.9])
def test_a_search_with_several_workers_never_spends_more_than_its_budget(budget: float, workers: int, tmp_path: Path) -> None:
    asked = experiment(budget_usd=budget, trials=30)
    engine = PricedEngine(workers=workers)
    made = search(asked, tmp_path, engine, Budget(budget), PRICES)
    trials = searched(made)
    assert engine.paid <= budget
    assert engine.paid == pytest.approx(made.dispatcher.budget.spent_usd)
    assert 1 < len(trials) < 30
    assert made.ended == f"the next cases might not be paid for by the budget of ${budget:g}"
    assert engine.paid > budget - workers * 5 * CASE_USD  # and it stops only when another block might not fit


class DearPassages(PricedEngine):
    """A case costs as much as its configuration's own bound."""

    def _billed(self, row: CaseResult, config: RagConfig):
        self.paid += self.case_usd(config)
        assert row.trace is not None
        return replace(row.trace, usage=(Usage("m", 1, 1, self.case_usd(config)),))

    def case_usd(self, config: RagConfig) -> float:
        return CASE_USD * config.retrieve.top_k

    def index_usd(self, config: RagConfig) -> float:
        return 0.0


@pytest.mark.parametrize("workers", [1, 3])
def test_each_configuration_is_reserved_at_its_own_price(workers: int, tmp_path: Path) -> None:
    engine, limit = DearPassages(workers=workers), 12.0
    made = search(experiment(budget_usd=limit, trials=40), tmp_path, engine, Budget(limit), engine)
    trials = searched(made)
    assert made.ended
    assert limit - workers * 5 * 20 * CASE_USD < engine.paid <= limit
    assert made.dispatcher.budget.dearest_usd == 0  # no case passed its bound
    assert len({trial.config.retrieve.top_k for trial in trials}) > 2


def test_what_is_kept_for_the_proof_pays_for_it(tmp_path: Path) -> None:
    asked = experiment(budget_usd=0.6, trials=20, finalists=2)
    engine = PricedEngine(workers=2)
    made = search(asked, tmp_path, engine, Budget(0.6, proof_usd=3 * 6 * CASE_USD), PRICES)
    trials = searched(made)
    finalists = asyncio.run(prove(made, trials, holdout()))
    assert made.ended
    assert len(finalists) == 3
    assert engine.paid <= 0.6
    assert made.dispatcher.budget.spent_usd == pytest.approx(engine.paid)


def test_a_budget_too_small_for_the_base_says_what_it_takes(tmp_path: Path) -> None:
    asked = experiment(budget_usd=0.02)
    with pytest.raises(ConfigError, match=r"\$0.02 may not even pay for the base, the proof on the holdout included \(up to \$0.0100\)"):
        searched(search(asked, tmp_path, PricedEngine(), Budget(0.02, proof_usd=0.01), PRICES))


def test_a_reservation_that_does_not_fit_waits_for_others_to_come_back_cheaper() -> None:
    async def story() -> list[str]:
        budget, told = Budget(1.0), []

        async def late() -> None:
            sent = await budget.reserve_cases(5, 0.1)
            told.append("sent")
            budget.settle(sent, 0.5)

        first = await budget.reserve_cases(8, 0.1)
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
        assert told == []
        budget.settle(first, 0.4)
        await task
        with pytest.raises(BudgetExceeded):  # 0.9 is spent, and nobody is on the way
            await budget.reserve_cases(2, 0.1)
        return told

    assert asyncio.run(story()) == ["sent"]


def test_work_that_never_came_back_counts_at_its_most_in_the_next_process_too(tmp_path: Path) -> None:
    budget = Budget(1.0, ledger=SpendingFile(tmp_path))
    budget.settle(budget.reserve(0.3), 0.2)
    budget.reserve(0.5)  # and the process is killed
    again = Budget(1.0, ledger=SpendingFile(tmp_path))
    assert again.spent_usd == pytest.approx(0.7)
    with pytest.raises(BudgetExceeded):
        again.reserve(0.4)


class KeepingEngine(PricedEngine):
    """Keeps what was paid for, as the stage store does; it is killed in its second block after so many cases."""

    def __init__(self, kept: set[str], cut_off_after: int | None = None) -> None:
        super().__init__()
        self.kept, self.cut_off_after = kept, cut_off_after
        self.sent = 0
        self.bill_usd = 0.0

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        self.sent += 1
        scored = await super().score(config, cases)
        rows = []
        for place, row in enumerate(scored.report.rows):
            assert row.trace is not None
            if self.sent == 2 and place == self.cut_off_after:
                raise asyncio.CancelledError
            if row.case.id in self.kept:
                row = replace(row, trace=replace(row.trace, stages=(StageRecord("answer", "", 0.0, {"kept_ms": 1.0}),)))
            else:
                self.bill_usd += row.trace.usd
                self.kept.add(row.case.id)
            rows.append(row)
        return replace(scored, report=EvalReport(scored.report.header, tuple(rows)))


def test_what_a_killed_process_had_reserved_is_settled_when_its_block_is_scored_again(tmp_path: Path) -> None:
    asked, ledger, kept = experiment(trials=1), SpendingFile(tmp_path / "money"), set[str]()
    first, second = KeepingEngine(kept, cut_off_after=3), KeepingEngine(kept)
    with pytest.raises(asyncio.CancelledError):
        searched(search(asked, tmp_path / "a", first, Budget(1.0, ledger=ledger, answers_stored=True), PRICES))
    assert list(ledger.read().on_its_way.values()) == pytest.approx([5 * CASE_USD])
    budget = Budget(1.0, ledger=ledger, answers_stored=True)
    searched(search(asked, tmp_path / "b", second, budget, PRICES))
    assert first.bill_usd > 0
    assert second.bill_usd > 0
    assert budget.spent_usd == pytest.approx(first.bill_usd + second.bill_usd)
    assert ledger.read().on_its_way == {}
    assert 0 < budget.uncertain_usd <= 2 * CASE_USD + 1e-9  # of two cases nothing was kept: their calls may have been cut off


def test_a_killed_process_counts_at_its_most_against_the_limit_until_it_is_settled(tmp_path: Path) -> None:
    budget = Budget(1.0, ledger=SpendingFile(tmp_path), answers_stored=True)
    budget.reserve(0.6, "block")  # and the process is killed
    again = Budget(1.0, ledger=SpendingFile(tmp_path), answers_stored=True)
    assert again.spent_usd == 0.0
    with pytest.raises(BudgetExceeded):
        again.reserve(0.5)
    taken = again.reserve(0.4, "block")
    again.settle(taken, 0.1, stored_usd=0.2, unstored_usd=0.05)
    assert again.spent_usd == pytest.approx(0.3)
    assert again.uncertain_usd == pytest.approx(0.05)
    unknown = Budget(1.0, ledger=SpendingFile(tmp_path))
    assert unknown.spent_usd == pytest.approx(0.3)


def test_a_ledger_that_was_damaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text("{")
    with pytest.raises(DataError, match=r"spent.json: does not say what the sweep has cost"):
        SpendingFile(tmp_path).read()
    assert SpendingFile(tmp_path / "none").read() == Spending()


def test_a_ledger_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "spent.json").mkdir()
    with pytest.raises(DataError, match=r"spent.json: cannot be read: Is a directory\.$"):
        SpendingFile(tmp_path).read()


def test_cases_that_a_worker_died_over_count_at_their_most_and_again_at_their_price(tmp_path: Path) -> None:
    engine = DeadlyEngine(deaths=2)
    made = search(experiment(trials=1), tmp_path, engine, Budget(), PRICES)
    searched(made)
    assert made.dispatcher.budget.spent_usd == pytest.approx(engine.paid + 2 * 5 * CASE_USD)


def test_cases_that_kill_every_worker_count_each_time_in_every_process(tmp_path: Path) -> None:
    for times in (1, 2):
        made = search(experiment(trials=1), tmp_path, DeadlyEngine(deaths=9), Budget(10.0, ledger=SpendingFile(tmp_path)), PRICES)
        with pytest.raises(InfrastructureError, match="A worker died 3 times over the same 5 cases. It was hot."):
            searched(made)
        assert SpendingFile(tmp_path).read().usd == pytest.approx(times * 3 * 5 * CASE_USD)


def test_cases_are_not_sent_again_where_the_budget_does_not_pay_for_another_death(tmp_path: Path) -> None:
    engine, budget = DeadlyEngine(deaths=2), Budget(2.5 * 5 * CASE_USD)
    with pytest.raises(ConfigError, match="may not even pay for the base"):
        searched(search(experiment(trials=1, budget_usd=budget.limit_usd), tmp_path, engine, budget, PRICES))
    assert engine.died == 2
    assert budget.spent_usd == pytest.approx(2 * 5 * CASE_USD)


def test_an_index_whose_builder_died_is_paid_for_each_time(tmp_path: Path) -> None:
    class Torn(PricedEngine):
        async def index(self, config: RagConfig) -> StoreCounts:
            if len(self.indexed) < 2:
                self.indexed.append(config)
                raise WorkerDied("It was hot.")
            return await super().index(config)

    engine, budget = Torn(), Budget(10.0)
    searched(search(experiment(trials=1), tmp_path, engine, budget, FixedPrices(0.0, 1.0)))
    assert budget.spent_usd == pytest.approx(3.0 + engine.paid)


def test_an_index_is_paid_for_once(tmp_path: Path) -> None:
    asked = experiment(trials=4)
    budget = Budget(10.0, ledger=SpendingFile(tmp_path / "money"))
    made = search(asked, tmp_path, PricedEngine(), budget, INDEXED)
    searched(made)
    assert 1.0 < budget.spent_usd < 2.0  # all trials stand on one index
    assert SpendingFile(tmp_path / "money").read().indexes == (asked.config.digest("index"),)  # also in the next process


def test_an_index_that_was_not_paid_for_is_still_owed_in_the_next_process(tmp_path: Path) -> None:
    async def built(budget: Budget) -> None:
        async with budget.index("i", 2.0):
            pass

    budget = Budget(1.0, ledger=SpendingFile(tmp_path))
    with pytest.raises(BudgetExceeded):
        asyncio.run(built(budget))
    budget.settle(budget.reserve(0.1), 0.1)  # and the ledger is written
    again = Budget(5.0, ledger=SpendingFile(tmp_path))
    asyncio.run(built(again))
    assert again.spent_usd == pytest.approx(2.1)


def test_an_index_whose_building_was_cut_off_is_paid_for_again(tmp_path: Path) -> None:
    class Torn(PricedEngine):
        async def index(self, config: RagConfig) -> StoreCounts:
            raise InfrastructureError("the embedding model is gone")

    asked = experiment(trials=2)
    with pytest.raises(InfrastructureError):
        searched(search(asked, tmp_path, Torn(), Budget(10.0, ledger=SpendingFile(tmp_path)), INDEXED))
    assert SpendingFile(tmp_path).read() == Spending(usd=1.0, indexes=())


@pytest.mark.parametrize("built", [True, False])
def test_whoever_needs_an_index_that_another_builds_waits_for_it(built: bool) -> None:
    async def story() -> list[str]:
        budget, told = Budget(3.0), []
        other = await budget.reserve_cases(20, 0.1)  # only 1.0 is left, so the index waits for its money

        async def build(name: str) -> None:
            async with budget.index("i", 2.0):
                told.append(f"{name} {'pays' if budget.reserved_usd else 'has it'}")
                await asyncio.sleep(0)
                if not built:
                    raise InfrastructureError("cut off")

        tasks = [asyncio.create_task(build("first"))]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(build("second")))
        await asyncio.sleep(0)
        assert told == []
        budget.settle(other, 0.5)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [*told, *("no money" for error in results if isinstance(error, BudgetExceeded))]

    assert asyncio.run(story()) == ["first pays", "second has it" if built else "no money"]


def test_what_was_kept_costs_nothing_again() -> None:
    usage = (Usage("chat", 1, 1, 0.5), Usage("titan", 1, 0, 0.25, stage="retrieve"))

    def a_report(*kept: str) -> EvalReport:
        stages = tuple(StageRecord(name, "d", 1.0, {"kept_ms": 3.0} if name in kept else {}) for name in ("retrieve", "answer"))
        return EvalReport(None, (CaseResult(a_case(), trace=replace(a_trace(), usage=usage, stages=stages)),))  # type: ignore[arg-type]

    assert report_usd(a_report()) == 0.75
    assert report_usd(a_report("answer")) == 0.25
    assert report_usd(a_report("retrieve")) == 0.5
    assert report_usd(a_report("retrieve", "answer")) == 0


def test_a_case_that_failed_may_have_cost_the_most_and_one_that_was_refused_cost_nothing() -> None:
    failed = CaseResult(a_case(), error=CaseError("ModelError", "no text", infrastructure=True))
    refused = CaseResult(a_case(), error=CaseError("RequestError", "too long", infrastructure=False))
    assert report_usd(EvalReport(None, (failed, refused)), 0.25) == 0.25  # type: ignore[arg-type]


def test_a_case_dearer_than_was_thought_possible_makes_later_ones_count_as_much() -> None:
    budget = Budget(10.0)
    dear = replace(a_trace(), usage=(Usage("m", 1, 1, 0.4),))
    report = EvalReport(None, (CaseResult(a_case(), trace=dear),))  # type: ignore[arg-type]
    budget.block_usd(report, 0.0, case_usd=0.5)
    assert budget.dearest_usd == 0  # as was thought
    budget.block_usd(report, 0.0, case_usd=0.1)
    assert budget.dearest_usd == 0.4
    budget.block_usd(report, 0.5, case_usd=0.1)
    assert budget.dearest_usd == 0.9
    assert asyncio.run(budget.reserve_cases(2, 0.1)).usd == 1.8
    budget.reserve(0.9)
    budget.block_usd(report, 5.0, case_usd=0.1)  # of both blocks, for all that is known
    assert budget.dearest_usd == 0.9


def test_time_ends_a_search_between_two_trials_and_keeps_what_is_finished(tmp_path: Path) -> None:
    made = search(experiment(timeout_s=1e-9), tmp_path, RuleEngine(smooth))
    assert [one.label for one in searched(made)] == ["base"]
    assert made.ended == "the time of 1e-09 s was over"
