"""The timing pass of a sweep: its finalists against the incumbent, as far as the experiment asks for it and the budget pays for it."""

from collections.abc import Sequence
from dataclasses import replace

from harness.evaluation.timing import TimedConfig, time_against
from harness.golden.case import Case
from harness.results.timing import TimingComparison
from harness.sweep.cost.budget import BudgetExceeded
from harness.sweep.cost.timed import needs_paid_model, timed_answers, timed_cases
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.finalist import Finalist
from harness.sweep.setup import SweepSetup
from serving.pipeline.config import RagConfig


async def with_times(setup: SweepSetup, dispatcher: Dispatcher, finalists: Sequence[Finalist]) -> list[Finalist]:
    """The finalists with their time over the incumbent's, where it was measured; on questions of the tune split: nothing is scored."""
    incumbent, *others = finalists
    configs = [finalist.trial.config for finalist in finalists]
    tune = setup.golden.tune().cases
    cases = tune[: timed_cases(setup.experiment, configs, len(tune))]
    unanswerable = setup.options.replay_only and any(map(needs_paid_model, configs))
    if not cases or not others or unanswerable:
        return [*finalists]
    timings = await _timings(setup, dispatcher, configs, cases)
    return [incumbent, *(replace(one, timing=timing) for one, timing in zip(others, timings, strict=True))]


async def _timings(
    setup: SweepSetup, dispatcher: Dispatcher, configs: Sequence[RagConfig], cases: Sequence[Case]
) -> Sequence[TimingComparison | None]:
    """Times that are paid for: none where the budget does not reach."""
    budget = dispatcher.budget
    try:
        reservation = budget.reserve(sum(timed_answers(len(cases), 1) * dispatcher.prices.case_usd(config) for config in configs))
    except BudgetExceeded:
        return [None for _ in configs[1:]]
    usd: float | None = None
    try:
        first, *others = [TimedConfig(config, setup.worker.factory) for config in configs]
        result = await time_against(first, others, cases)
        usd = result.usd
    finally:
        budget.settle(reservation, usd)
    return result.comparisons
