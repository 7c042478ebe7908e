"""What a first hour with the tool looks like: fourteen questions, the prompt's version swept, and a version that is cheap and bad."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from harness.golden.case import Case
from harness.golden.sets import HoldoutSplit, Split, TuneSplit
from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from harness.sweep.engines.base import ScoredBlock
from harness.sweep.run import prove
from harness.sweep.verdict import SweepResult, choose
from harness.sweep.winner import winner_document
from serving.pipeline.config import RagConfig
from serving.pipeline.types import Usage
from tests.support.making import a_case
from tests.support.sweeping import RuleEngine, experiment, search, searched

SPACE = {"answer.prompt.version": {"choice": [1, 2, 3]}}
DOLLARS = {1: 0.0020, 2: 0.0004, 3: 0.0019}  # a query, by the prompt's version


class PricedPrompts(RuleEngine):
    """Every answer costs what its prompt's version costs."""

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        block = await super().score(config, cases)
        usage = (Usage("m", 10, 5, DOLLARS[config.answer.prompt.version]),)
        return ScoredBlock(EvalReport(block.report.header, tuple(self._billed(row, usage) for row in block.report.rows)), block.counts)

    @staticmethod
    def _billed(row: CaseResult, usage: tuple[Usage, ...]) -> CaseResult:
        assert row.trace is not None
        return replace(row, trace=replace(row.trace, usage=usage))


def on_documents(first: int, count: int) -> tuple[Case, ...]:
    """Cases on a document each."""
    return tuple(a_case(id=f"c{place}", evidence=[], relevant_ids=[f"d{place}"]) for place in range(first, first + count))


def swept(folder: Path, tune: int, holdout: int) -> SweepResult:
    """A sweep over the three versions: the first is right everywhere on the holdout, the second there in one of five cases."""

    def rule(config: RagConfig, place: int) -> float:
        good = {1: True, 2: place < 100 or place % 5 == 0, 3: place != 103}
        return 1.0 if good[config.answer.prompt.version] else 0.0

    asked = experiment(space=SPACE, base={"answer": {"prompt": {"version": 1}}}, trials=3, sampler="grid", finalists=2)
    made = search(asked, folder, PricedPrompts(rule))
    # the search saw no difference: the tune cases are below 100
    trials = searched(made, TuneSplit("t/v1", "tune", on_documents(0, tune), "g"))
    finalists = asyncio.run(prove(made, trials, HoldoutSplit("t/v1", "holdout", on_documents(100, holdout), "g")))
    choice = choose(finalists, asked.goal, margin=asked.margin, cheaper_by=asked.cheaper_by)
    return SweepResult(asked, tuple(trials), tuple(finalists), choice.winner, choice.reason, "run", "")


@pytest.mark.parametrize(("holdout", "against_the_cheap_one"), [(5, "undecided"), (14, "worse")])
def test_on_fourteen_questions_the_incumbent_stays_and_nothing_else_can_be_promoted(
    tmp_path: Path, holdout: int, against_the_cheap_one: str
) -> None:
    result = swept(tmp_path, tune=9, holdout=holdout)
    outcomes = {one.trial.config.answer.prompt.version: one.against.outcome for one in result.finalists if one.against}
    assert outcomes == {2: against_the_cheap_one, 3: "undecided"}
    assert (result.winner, result.verdict) == (result.incumbent, "undecided")
    assert result.reason.startswith("Undecided, so the base stays.")
    assert "cases" in result.reason.rpartition("takes about")[2]
    winner = winner_document(result, "corpus")
    assert winner.config["answer"]["prompt"]["version"] == 1
    assert (winner.verdict.verdict, winner.verdict.against) == ("undecided", None)
    for one in result.finalists:
        assert one.against is None or -1.0 <= one.against.low <= one.against.high <= 1.0


@pytest.mark.slow
def test_on_a_thousand_questions_the_cheap_one_is_worse_and_the_nearly_equal_one_is_not_cheap_enough(tmp_path: Path) -> None:
    result = swept(tmp_path, tune=9, holdout=1000)
    outcomes = {one.trial.config.answer.prompt.version: one.against.outcome for one in result.finalists if one.against}
    assert outcomes == {2: "worse", 3: "equivalent"}
    assert (result.winner, result.verdict) == (result.incumbent, "equivalent")
