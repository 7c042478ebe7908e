"""A search in small: an experiment, cases, and an engine that scores by a rule instead of a pipeline."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.golden.sets import Split, TuneSplit
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.sweep.cost.budget import Budget
from harness.sweep.dispatcher import Dispatcher, FixedPrices, Prices
from harness.sweep.engines.base import ScoredBlock, StoreCounts
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.search import Search, StartingPoint, starting_points
from harness.sweep.trial import Trial
from harness.tracking.memory import MemoryRun
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import InfrastructureError
from tests.support.making import a_case, a_hit, a_trace

Rule = Callable[[RagConfig, int], float | CaseError]  # a configuration and a case's place → its quality, or what went wrong

SPACE: dict[str, Any] = {
    "retrieve.top_k": {"int": [1, 20]},
    "retrieve.fusion.weight": {"float": [0.0, 1.0]},
    "answer.prompt.version": {"choice": [1, 2, 3]},
}


def experiment(**changes: Any) -> Experiment:
    """An experiment over three knobs, with no pruning."""
    plain = {"name": "e", "golden": "t/v1", "space": SPACE, "metrics": ["quality"], "trials": 12, "block": 5, "pruner": {"name": "none"}}
    return Experiment.model_validate(plain | changes)


def tune(count: int = 10) -> TuneSplit:
    """A tune split."""
    return TuneSplit("t/v1", "tune", tuple(a_case(id=f"c{place}") for place in range(count)), "g")


def smooth(config: RagConfig, place: int) -> float:
    """Best at 12 passages and a weight of a third; cases differ a little."""
    far = abs(config.retrieve.top_k - 12) / 20 + abs(float(config.at("retrieve.fusion.weight")) - 1 / 3)
    return round(0.9 - 0.4 * far + 0.001 * (place % 7), 6)


class RuleEngine:
    """Scores by a rule; remembers its blocks."""

    def __init__(self, rule: Rule = smooth, workers: int = 1, dies_at: int | None = None) -> None:
        self.workers = workers
        self.rule = rule
        self.dies_at = dies_at  # this block, and all that come after it
        self.blocks: list[tuple[RagConfig, int]] = []  # and how many cases
        self.indexed: list[RagConfig] = []
        self.counts: StoreCounts = {}  # of the first index
        self.running = self.most_running = 0

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def index(self, config: RagConfig) -> StoreCounts:
        """Remember it."""
        self.indexed.append(config)
        return self.counts if len(self.indexed) == 1 else {}

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        """Score by the rule."""
        self.blocks.append((config, len(cases.cases)))
        if self.dies_at is not None and len(self.blocks) > self.dies_at:
            raise InfrastructureError("the engine is gone")
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        for _ in range(1 + config.retrieve.top_k % 3):  # some take longer than others
            await asyncio.sleep(0)
        self.running -= 1
        rows = []
        for case in cases.cases:
            found = self.rule(config, int(case.id[1:]))
            if isinstance(found, CaseError):
                rows.append(CaseResult(case, (Score("quality", None, found.message),), error=found))
            else:
                rows.append(
                    CaseResult(case, (Score("quality", found),), replace(a_trace(a_hit(0, 9), answer="30 days"), prompt="Read this."))
                )
        about = (cases.golden, "g", cases.name, cases.digest, ("quality",))
        header = Header(config.model_dump(mode="json"), config.digest(), "i", "k", *about)
        return ScoredBlock(EvalReport(header, tuple(rows)), {"answer": {"hits": 1, "misses": len(rows) - 1}})


def search(
    asked: Experiment,
    folder: Path,
    engine: RuleEngine | None = None,
    budget: Budget | None = None,
    prices: Prices | None = None,
    observer: SweepObserver | None = None,
) -> Search:
    """A search over a folder."""
    place, money = SweepFolder(folder), budget or Budget(asked.budget_usd)
    progress = SweepProgress(asked.trials, spent_usd=money.spent_usd)
    told = observer or SweepObserver()
    dispatcher = Dispatcher(engine or RuleEngine(), prices or FixedPrices(), money, progress, asked.block, told)
    return Search(asked, dispatcher, place, MemoryRun("sweep", "r"), earlier=place.finished())


def searched(made: Search, cases: TuneSplit | None = None, given: Sequence[StartingPoint] | None = None) -> list[Trial]:
    """Run it."""
    return asyncio.run(made.search(cases or tune(), given if given is not None else starting_points(made.experiment, None)))


def plain(trials: Sequence[Trial]) -> list[tuple[object, ...]]:
    """What must be the same whoever computed it, and when."""
    return [
        (
            *(one.number, dict(one.values), one.objectives, one.state, one.why, one.label, one.violations),
            [(row.case.id, row.scores) for row in one.report.rows],
        )
        for one in trials
    ]
