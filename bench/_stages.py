"""What one stage costs: two pipelines that differ in it alone, asked the same questions in turn."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.types import Query, Trace

AFTER = {"retrieve": "guard passages", "answer": "guard output"}  # which guard it is, by the stage before it


@dataclass(frozen=True, slots=True)
class StageCost:
    """Milliseconds of a stage and of whole queries, with it and without it."""

    stage: str
    asked: int
    p50: float  # of the stage itself, switched on
    p95: float
    off_p50: float  # of its span where it is switched off
    query_p50: float  # of whole queries, switched on
    query_off_p50: float
    added_p50: float  # median of the differences, question by question
    checks: Mapping[str, tuple[float, float]]  # p50 and p95 of each check of a guard
    hits: int = 0  # answers out of a cache

    @property
    def row(self) -> dict[str, Any]:
        """As the report keeps it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "stage"} | {"stage": self.stage}


def spans(trace: Trace) -> dict[str, float]:
    """Milliseconds by stage, each guard by its side; two answers of a question are one stage."""
    times: dict[str, float] = {}
    before = ""
    for record in trace.stages:
        name = record.stage if record.stage != "guard" else AFTER.get(before, "guard output" if times else "guard input")
        times[name] = times.get(name, 0.0) + record.milliseconds
        before = record.stage
    return times


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


async def stage_cost(off: RagPipeline, on: RagPipeline, queries: Sequence[Query], stage: str, *, warm_up: int = 5) -> StageCost:
    """Ask both pipelines every question in turn; who begins changes with each."""
    for query in queries[:warm_up]:
        await off.answer(query)
        await on.answer(query)
    traces: dict[bool, list[Trace]] = {False: [], True: []}
    for number, query in enumerate(queries):
        for with_stage in (False, True) if number % 2 == 0 else (True, False):
            traces[with_stage].append(await (on if with_stage else off).answer(query))
    return costs(stage, traces[False], traces[True])


def costs(stage: str, off: Sequence[Trace], on: Sequence[Trace]) -> StageCost:
    """The figures of traces that belong together, one by one."""
    own = [spans(trace).get(stage, 0.0) for trace in on]
    checks: dict[str, list[float]] = {}
    for trace in on:
        for verdict in trace.guard:
            if f"guard {verdict.side}" == stage:
                checks.setdefault(verdict.check, []).append(verdict.milliseconds)
    return StageCost(
        stage=stage,
        asked=len(on),
        p50=round(statistics.median(own), 3),
        p95=round(p95(own), 3),
        off_p50=round(statistics.median(spans(trace).get(stage, 0.0) for trace in off), 3),
        query_p50=round(statistics.median(trace.milliseconds for trace in on), 3),
        query_off_p50=round(statistics.median(trace.milliseconds for trace in off), 3),
        added_p50=round(statistics.median(b.milliseconds - a.milliseconds for a, b in zip(off, on, strict=True)), 3),
        checks={name: (round(statistics.median(times), 3), round(p95(times), 3)) for name, times in sorted(checks.items())},
        hits=sum(trace.cached for trace in on),
    )
