"""What a sweep's report shows, computed once for the page, the Markdown and the charts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.comparison.compare import compare_reports
from harness.comparison.values import MetricDifference, ReportComparison
from harness.reports.page import slice_metrics
from harness.results.case_result import CaseResult
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.sweep.experiment import Experiment
from harness.sweep.importance import Importance, importances
from harness.sweep.optimizer.pareto import undominated
from harness.sweep.trial import Trial
from harness.sweep.verdict import Finalist, SweepResult


@dataclass(frozen=True)
class SweepFindings:
    """A sweep that ended, or what is known so far of one that did not."""

    experiment: Experiment
    trials: tuple[Trial, ...]
    result: SweepResult | None = None

    @property
    def goal(self) -> str:
        """What was searched for first."""
        return self.experiment.goal

    @cached_property
    def sign(self) -> float:
        """1 where a high goal is good, −1 where a low one is."""
        return 1.0 if self.experiment.direction(self.goal) == "higher" else -1.0

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials, usable ones first and the best of them first."""
        return sorted(self.trials, key=lambda one: (not one.usable, -one.merit(self.sign), one.number))

    @property
    def best(self) -> Trial | None:
        """The best trial on the tune split."""
        return self.ranked[0] if self.ranked and self.ranked[0].usable else None

    @property
    def shown(self) -> Trial | None:
        """The trial whose cases are shown: the winner, or the best so far."""
        return self.result.winner.trial if self.result else self.best

    @property
    def champion(self) -> Trial | None:
        """The trial of the champion, where one was recorded that is not the base."""
        return next((one for one in self.trials if one.label == "champion"), None)

    @cached_property
    def states(self) -> Counter[str]:
        """How many trials ended how."""
        return Counter(state_of(one) for one in self.trials)

    @cached_property
    def rival(self) -> Finalist | None:
        """Who is shown beside the incumbent: the winner, or, where the incumbent stays, the best challenger on the holdout."""
        if self.result is None:
            return None
        if self.result.winner is not self.result.incumbent:
            return self.result.winner
        others = [one for one in self.result.finalists[1:] if one.holdout.mean(self.goal) is not None]
        return max(others, key=lambda one: self.sign * (one.holdout.mean(self.goal) or 0.0), default=None)

    @cached_property
    def compared(self) -> ReportComparison | None:
        """The incumbent (A) and its rival (B) on the holdout, by every metric; `None` where there are not two."""
        if self.result is None or self.rival is None:
            return None
        return compare_reports(self.result.incumbent.holdout, self.rival.holdout)

    @property
    def differences(self) -> list[MetricDifference]:
        """Incumbent and rival by every metric, the goal first."""
        metrics = self.compared.metrics if self.compared else ()
        return sorted(metrics, key=lambda difference: difference.metric != self.goal)

    @property
    def slice_metrics(self) -> list[str]:
        """The metrics that slices are shown by."""
        return slice_metrics(self.trials[0].report, self.goal)

    @cached_property
    def importances(self) -> list[Importance]:
        """Which knobs mattered; nothing of a space with one knob."""
        return importances(self.experiment, self.trials) if len(self.experiment.knobs) > 1 else []

    @cached_property
    def axes(self) -> tuple[str, str]:
        """What the trade-off is drawn over, across and up: the first two objectives, or dollars (milliseconds) and the goal."""
        if len(self.experiment.objective) > 1:
            return self.experiment.objective[1], self.goal
        priced = all(one.report.costs["usd"] is not None for one in self.trials if one.report.costs)
        return ("cost.usd" if priced else "ms.total.p95"), self.goal

    @property
    def front_names(self) -> tuple[str, ...]:
        """What the front is over: every objective, or, where there is one, the goal and the money."""
        return self.experiment.objective if len(self.experiment.objective) > 1 else (self.goal, self.axes[0])

    @cached_property
    def front(self) -> list[Trial]:
        """The usable trials that no other beats."""
        names = self.front_names
        signs = [1.0 if self.experiment.direction(name) == "higher" else -1.0 for name in names]
        usable = [one for one in self.trials if one.usable and None not in [value_of(one, name) for name in names]]
        points = [[sign * (value_of(one, name) or 0.0) for sign, name in zip(signs, names, strict=True)] for one in usable]
        return [usable[place] for place in undominated(points)]

    def value_at(self, trial: Trial, path: str) -> Any:
        """A trial's value of a knob, also where it is the base's own; `None` where the knob counts for nothing in it."""
        if path in trial.values:
            return trial.values[path]
        if trial.values:
            return None
        target = next(knob.target for knob in self.experiment.knobs if knob.path == path)
        return trial.config.flat().get(target)

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens into and out of models, over all trials and the proof; answers kept from before count as if asked again."""
        reports = [one.report for one in self.trials] + [one.holdout for one in (self.result.finalists if self.result else ())]
        uses = [use for report in reports for trace in report.traces for use in trace.usage]
        return sum(use.input_tokens for use in uses), sum(use.output_tokens for use in uses)

    @property
    def simulated(self) -> bool:
        """Whether any of the money is that of a model stood in for."""
        return any(one.report.simulated for one in self.trials)

    @property
    def unfinished(self) -> list[Trial]:
        """The trials that were given up, crashed, or broke a limit."""
        return [one for one in self.trials if not one.usable]

    @property
    def kept(self) -> tuple[int, int]:
        """How often the stage store had what was needed, and how often it was asked."""
        counts = self.result.counts.values() if self.result else ()
        hits = sum(one["hits"] for one in counts)
        return hits, hits + sum(one["misses"] for one in counts)


def state_of(one: Trial) -> str:
    """How a trial ended: complete, pruned, failed, or complete but beyond a limit."""
    return "beyond a limit" if one.state == "complete" and not one.usable else one.state


def why_of(one: Trial) -> str:
    """Why a trial cannot win."""
    beyond = [f"{name} is beyond its limit by {far:.4g}" for name, far in one.violations.items() if far > 0]
    return "; ".join([*([one.why] if one.why else []), *beyond])


def value_of(one: Trial, name: str) -> float | None:
    """A number of a trial by its name in experiments: a metric, a cost, a time."""
    return numbers(one.report).get(name)


def seen_rows(reports: Sequence[EvalReport]) -> int:
    """Cases scored in all."""
    return sum(len(report.rows) for report in reports)


def crashed(one: Trial, most: int = 5) -> list[CaseResult]:
    """Some of the cases that a trial crashed on."""
    return one.report.errors[:most]
