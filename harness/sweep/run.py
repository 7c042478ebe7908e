"""A sweep from first trial to verdict: search on the tune split, prove on the holdout, choose."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.comparison.compare import compare_metric
from harness.golden.sets import HoldoutSplit, TuneSplit
from harness.results.report import first_error
from harness.stats import holm
from harness.sweep.experiment import Experiment
from harness.sweep.search import Search, StartingPoint
from harness.sweep.space.suggest import place_of
from harness.sweep.trial import Trial, at_fault
from harness.sweep.verdict import Finalist, SweepResult, choose
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import InfrastructureError

Look = Callable[[], HoldoutSplit]  # taken when the search is over, and written down


def starting_points(experiment: Experiment, champion: RagConfig | None) -> list[StartingPoint]:
    """What is tried before the search: the base, and the champion where it is another configuration."""
    base = StartingPoint("base", experiment.config, place_of(experiment, experiment.config))
    if champion is None or champion == experiment.config:
        return [base]
    return [base, StartingPoint("champion", champion, place_of(experiment, champion))]


@dataclass(frozen=True)
class Sweep:
    """A search, and what is made of it."""

    search: Search
    champion: RagConfig | None = None

    async def run(self, tune: TuneSplit, look: Look) -> SweepResult:
        """Search, prove, choose."""
        begin = time.monotonic()
        search, experiment = self.search, self.search.experiment
        await search.dispatcher.engine.start()
        try:
            trials = await search.search(tune, starting_points(experiment, self.champion))
            finalists = await self._prove(trials, look())
        finally:
            await search.dispatcher.engine.stop()
        choice = choose(finalists, experiment.goal)
        return SweepResult(
            experiment,
            tuple(trials),
            tuple(finalists),
            choice.winner,
            choice.reason,
            search.run.id,
            search.run.url,
            ended=search.ended,
            spent_usd=search.dispatcher.budget.spent_usd,
            seconds=round(time.monotonic() - begin, 1),
            counts=search.progress.counts,
        )

    async def _prove(self, trials: Sequence[Trial], holdout: HoldoutSplit) -> list[Finalist]:
        """Score the incumbent, the base and the best few on questions the search never saw."""
        search, goal = self.search, self.search.experiment.goal
        given = [one for one in trials if one.label]
        incumbent = given[-1]  # the champion, where there is one
        sign = 1.0 if search.experiment.direction(goal) == "higher" else -1.0
        whole = search.front([one for one in trials if one.usable and not one.label])
        best = sorted(whole, key=lambda one: (-one.merit(sign), one.number))[: search.experiment.finalists]
        challengers = [one for one in given if one is not incumbent and one.usable] + best
        held = (await search.prove(f"finalist {incumbent.name}", incumbent.config, holdout))[0]
        if wrong := at_fault(held, held):
            raise InfrastructureError(
                f"The {incumbent.name} crashed on {len(wrong)} holdout cases; nothing can be held against it: {first_error(held)}"
            )
        reports = [(await search.prove(f"finalist {one.name}", one.config, holdout))[0] for one in challengers]
        against = holm([compare_metric(held, report, goal) for report in reports], higher_is_better=sign > 0)
        proven = [Finalist(one, report, found) for one, report, found in zip(challengers, reports, against, strict=True)]
        return [Finalist(incumbent, held, None), *proven]
