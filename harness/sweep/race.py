"""Racing: a trial that cannot reach the best one any more on the cases left is given up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.results.report import EvalReport
from harness.stats.catch_up import cannot_catch_up, highest_end
from harness.stats.clusters import Numbers
from harness.sweep.experiment import Pruning
from harness.sweep.prune import Reference

SHOWN = 0.001  # a smaller distance is not put into figures
FORECASTERS = 64  # finished trials, the last ones, whose scores forecast those of the trial at hand


@dataclass(frozen=True, slots=True)
class KnownScores:
    """What finished trials scored on every case, turned so that high is good: the reference first, then those that forecast."""

    reference: Reference
    cases: Mapping[str, int]  # case id → column
    table: Numbers


@dataclass(slots=True)
class Race:
    """Asks after each block whether a trial may still end above a finished one, over all cases of the search."""

    rules: Pruning
    metric: str
    higher_is_better: bool
    _known: KnownScores | None = field(default=None, init=False)

    def reason(self, parts: Sequence[EvalReport], reference: Reference | None) -> str:
        """Why a trial should be given up now; empty while it may still be the best.

        What must be reached is the mean of the finished trial over the very cases that decide, which is known: no luck is in it, so
        alpha is not divided. A case that one of the two could not score is left out, as if both had scored the same.
        """
        if reference is None:
            return ""
        known = self._known = self._known if self._known and self._known.reference is reference else self._look_up(reference)
        rows = [row for part in parts for row in part.rows if row.case.id in known.cases]
        if len(rows) < self.rules.startup:
            return ""
        scores = known.table[0, : len(rows)].copy()
        for place, row in enumerate(rows):
            if (value := row.value(self.metric)) is not None:
                scores[place] = self._turned(value)
        goal = float(known.table[0].mean())
        if not cannot_catch_up(scores, goal, known.table, self.rules.alpha):
            return ""
        behind = float((known.table[0, : len(rows)] - scores).mean())
        least = goal - highest_end(scores, known.table, self.rules.alpha)
        text = f"{self.metric} {behind:.3f} behind {reference.name} on the first {len(rows)} of {len(known.cases)} cases"
        return f"{text}, and surely behind at the end" + (f", by {least:.3f} or more" if least >= SHOWN else "")

    def _look_up(self, reference: Reference) -> KnownScores:
        """The scores of the reference on the cases that it could score, and of others; the reference's own where they have none."""
        best = {row.case.id: self._turned(value) for row in reference.report.rows if (value := row.value(self.metric)) is not None}
        lines = [list(best.values())]
        for report in reference.others[-FORECASTERS:]:
            scored = {row.case.id: self._turned(value) for row in report.rows if (value := row.value(self.metric)) is not None}
            lines.append([scored.get(case, own) for case, own in best.items()])
        return KnownScores(reference, {case: column for column, case in enumerate(best)}, np.array(lines, dtype=np.float64))

    def _turned(self, value: float) -> float:
        return value if self.higher_is_better else 1.0 - value
