"""Comparable times: configurations answer the same questions in turn, warm, one at a time, and without stored results."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from harness.evaluation.evaluator import CASE_TIMEOUT_S
from harness.evaluation.factory import PipelineFactory
from harness.evaluation.stateful import is_stateful
from harness.golden.case import Case
from harness.results.timing import TimingComparison
from harness.stats.intervals import CONFIDENCE
from serving.pipeline.config import RagConfig
from serving.pipeline.pipeline import RagPipeline

CASES = 30  # timed where nothing else is said
WARM = 5  # warm-up cases, not measured: they load models and fill caches
FEWEST = 5  # cases below which an interval says nothing

Times = Sequence[float | None]  # milliseconds by case; none where there was no answer


@dataclass(frozen=True, slots=True)
class TimingResult:
    """The time of each configuration but the first over that of the first, and what all the answers cost."""

    comparisons: tuple[TimingComparison | None, ...]
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class TimedConfig:
    """A configuration with the factory of its documents, prompts and models."""

    config: RagConfig
    factory: PipelineFactory

    async def pipeline(self) -> RagPipeline:
        """A pipeline that computes every answer and uses no stored one."""
        return await replace(self.factory, computed=True).pipeline(self.config)


async def time_against(first: TimedConfig, others: Sequence[TimedConfig], cases: Sequence[Case]) -> TimingResult:
    """Time configurations against the first; stateful ones are left out, since their times depend on earlier questions."""
    steady = [other for other in others if not is_stateful(other.config)]
    if is_stateful(first.config) or not steady:
        return TimingResult(tuple(None for _ in others))
    pipelines = [await one.pipeline() for one in (first, *steady)]
    warming = await _round(pipelines, cases[:WARM])
    answered = await _round(pipelines, cases)
    usd = sum(one.usd for row in (*warming, *answered) for one in row)
    before, *after = [[one.milliseconds for one in row] for row in answered]
    found = iter([timing_comparison(before, times, len(after)) for times in after])
    return TimingResult(tuple(None if is_stateful(other.config) else next(found) for other in others), usd)


def timing_comparison(before: Times, after: Times, compared: int) -> TimingComparison | None:
    """The geometric mean of the ratios case by case, with a t interval of their logarithms; `None` of too few cases.

    The interval is as wide as it must be for all that are compared to lie within theirs, 19 times of 20 (Bonferroni).
    """
    pairs = [(one, two) for one, two in zip(before, after, strict=True) if one and two]
    if len(pairs) < FEWEST:
        return None
    from scipy import special

    logs = np.log([two / one for one, two in pairs])
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs))
    reach = float(special.stdtrit(len(logs) - 1, 1 - (1 - CONFIDENCE) / (2 * compared))) * error
    before_ms, after_ms = (median(times) for times in zip(*pairs, strict=True))
    return TimingComparison(len(pairs), before_ms, after_ms, math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


@dataclass(frozen=True, slots=True)
class _Answered:
    milliseconds: float | None
    usd: float = 0.0


async def _round(pipelines: Sequence[RagPipeline], cases: Sequence[Case]) -> list[list[_Answered]]:
    """Every case answered by every pipeline, one after the other; a row for each pipeline."""
    rows: list[list[_Answered]] = [[] for _ in pipelines]
    for number, case in enumerate(cases):
        for place in _turn(number, len(pipelines)):
            rows[place].append(await _answer(pipelines[place], case))
    return rows


def _turn(number: int, count: int) -> list[int]:
    """The order of a case: each pipeline is first as often as the others, and the way through them alternates."""
    order = [(number // 2 + place) % count for place in range(count)]
    return order if number % 2 == 0 else order[::-1]


async def _answer(pipeline: RagPipeline, case: Case) -> _Answered:
    """The time of one answer; none where it failed or came from the stage store."""
    try:
        async with asyncio.timeout(CASE_TIMEOUT_S):
            trace = await pipeline.answer(case.query)
    except Exception:  # noqa: BLE001 — its scores already report it; here it only leaves out a time
        return _Answered(None)
    return _Answered(None if trace.kept else trace.milliseconds, trace.usd)
