"""Labelled decisions in the order of their scores: what acts at each threshold, and what it loses and gains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.calibrate.bounds import Sample
from harness.calibrate.labelled import LabelledDecision, RiskLimit
from harness.stats.clusters import Numbers

Indexes = npt.NDArray[np.int64]

MOST_THRESHOLDS = 2000  # that are tested; of more scores, as many evenly spaced ranks
MOST_BOUNDS = 400  # where a p-value is no binomial's, and takes a thousand times as long


@dataclass(frozen=True, slots=True)
class DecisionColumns:
    """Labelled decisions column by column; groups are numbered from 0."""

    scores: Numbers
    losses: Numbers
    benefits: Numbers
    groups: Indexes
    counts: npt.NDArray[np.bool_]


def columns_of(examples: Sequence[LabelledDecision], scores: Sequence[float] = ()) -> DecisionColumns:
    """The columns of examples, with other scores where they are given."""
    names: dict[str, int] = {}
    return DecisionColumns(
        scores=np.array(scores if len(scores) else [one.score for one in examples], dtype=np.float64),
        losses=np.array([one.loss for one in examples], dtype=np.float64),
        benefits=np.array([one.benefit for one in examples], dtype=np.float64),
        groups=np.array([names.setdefault(one.group or f"\0{index}", len(names)) for index, one in enumerate(examples)], dtype=np.int64),
        counts=np.array([one.counts for one in examples], dtype=bool),
    )


class Exposure:
    """Examples from the highest score on. Every group counts once: each of its members for its part of it."""

    def __init__(self, columns: DecisionColumns, limit: RiskLimit, *, grid: Sequence[float] = ()) -> None:
        order = np.argsort(-columns.scores, kind="stable")
        self.limit = limit
        self.scores: Numbers = columns.scores[order]
        self._groups = columns.groups[order]
        self.groups = int(self._groups.max(initial=-1)) + 1
        self._counts = columns.counts[order] | (limit.kind == "per_action")
        self._losses = columns.losses[order]
        self._benefits = columns.benefits[order]
        self._part = 1.0 / np.bincount(self._groups, minlength=1)[self._groups]
        sizes = np.bincount(self._groups, weights=self._counts, minlength=self.groups)
        self._risk_part = np.where(self._counts, 1.0 / np.maximum(sizes, 1.0)[self._groups], 0.0)
        self._deciding = sizes > 0
        _, first = np.unique(self._groups, return_index=True)
        self._begun = np.cumsum(np.isin(np.arange(len(self._groups)), first))
        self._gained = np.cumsum(self._part * self._benefits)
        self._rates = np.cumsum(self._part)
        free = (self._losses <= 0.0) & (self._benefits > 0.0)
        self.oracle = float((self._part * self._benefits)[free].sum()) / max(self.groups, 1)
        self.thresholds, self.actions = self._places(grid)

    def _places(self, grid: Sequence[float]) -> tuple[Numbers, Indexes]:
        """Thresholds from high to low, and how many examples act at each; none at which nothing acts."""
        if len(grid):
            values = np.unique(np.asarray(grid, dtype=np.float64))[::-1]
            actions = np.searchsorted(-self.scores, -values, side="right").astype(np.int64)
            return values[actions > 0], actions[actions > 0]
        last = np.flatnonzero(np.append(np.diff(self.scores) != 0.0, True)[: len(self.scores)]).astype(np.int64)
        most = MOST_THRESHOLDS if self.counted else MOST_BOUNDS
        if len(last) > most:
            last = last[np.unique(np.linspace(0, len(last) - 1, most).round().astype(np.int64))]
        return self.scores[last], last + 1

    @property
    def deciding(self) -> int:
        """How many groups a risk per decision is taken over."""
        return int(self._deciding.sum())

    @property
    def acting(self) -> Numbers:
        """How many groups have a member that acts at each threshold."""
        return np.asarray(self._begun[self.actions - 1], dtype=np.float64)

    @property
    def counted(self) -> bool:
        """Whether each example is a group of its own that loses nothing or all, so that every threshold's p-value is a binomial's."""
        plain = self.groups == len(self.scores)
        return plain and bool(np.isin(self._losses[self._counts], (0.0, self.limit.high)).all())

    def lost(self) -> Numbers:
        """How many of what acts at each threshold lose all, where losses are counted."""
        lost = np.cumsum(self._counts & (self._losses > 0.0)).astype(np.float64)
        return np.asarray(lost[self.actions - 1])

    def sample(self, place: int) -> Sample:
        """What the risk at a threshold is judged by: groups that act, by their members that act; or all groups that decide."""
        acting = slice(0, int(self.actions[place]))
        if self.limit.kind == "per_decision":
            return Sample(self._by_group(self._risk_part[acting] * self._losses[acting])[self._deciding], self.limit.high)
        members = self._by_group(np.ones(int(self.actions[place])))
        losses = self._by_group(self._losses[acting])[members > 0.0] / members[members > 0.0]
        return Sample(losses.round(12), self.limit.high)

    def nothing_acts(self) -> Sample:
        """What the risk per decision of a threshold that nothing reaches is judged by."""
        return Sample(np.zeros(self.deciding), self.limit.high)

    def _by_group(self, values: Numbers) -> Numbers:
        """The sum of each group's values, of the examples from the highest score on; thirds add up to 1."""
        sums = np.bincount(self._groups[: len(values)], weights=values, minlength=self.groups)
        return np.asarray(sums.round(12), dtype=np.float64)

    def benefit(self, place: int) -> float:
        """What is gained per decision."""
        return float(self._gained[self.actions[place] - 1]) / self.groups

    def action_rate(self, place: int) -> float:
        """Which share of the decisions acts."""
        return float(self._rates[self.actions[place] - 1]) / self.groups
