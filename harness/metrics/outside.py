"""Metrics of other packages, under the name that they are asked for by."""

from dataclasses import dataclass, replace
from typing import Any, Self

from harness.golden.case import Case
from harness.results.score import Direction, JudgedMetric, Metric, Reads, Score
from serving.pipeline.types import Trace


@dataclass(slots=True)
class OutsideMetric:
    """A metric of another package: its scores bear the name that was asked for, and its version says which package it is of."""

    name: str
    version: str
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    needs_case: bool
    reads: Reads
    inner: Any  # a Metric, or a JudgedMetric where `needs_judge` says so

    @classmethod
    def of(cls, inner: Metric | JudgedMetric, name: str, origin: str) -> Self:
        """A metric by the name that was asked for, and the distribution it comes from."""
        version = f"{inner.version} {origin}"
        return cls(name, version, inner.direction, inner.range, inner.needs_judge, inner.needs_case, inner.reads, inner)

    def score(self, trace: Trace, case: Case | None = None) -> Score:
        """The metric's own score."""
        score: Score = self.inner.score(trace, case)
        return replace(score, metric=self.name)

    async def ask(self, trace: Trace, case: Case | None = None) -> Score:
        """The metric's own score, where it asks a judge."""
        score: Score = await self.inner.ask(trace, case)
        return replace(score, metric=self.name)
