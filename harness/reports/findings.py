"""The findings of a sweep, computed once for the page, the Markdown and the charts."""

import math
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
from harness.stage_store.base import reused_share
from harness.stats import MARGIN
from harness.sweep.experiment import Experiment
from harness.sweep.finalist import Finalist
from harness.sweep.importance import Importance, importances
from harness.sweep.optimizer.pareto import undominated
from harness.sweep.trial import Trial, whole_cases
from harness.sweep.verdict import SweepResult


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
        return sorted(self.trials, key=lambda trial: (not trial.usable, -trial.merit(self.sign), trial.number))

    @property
    def best(self) -> Trial | None:
        """The best trial on the tune split."""
        return self.ranked[0] if self.ranked and self.ranked[0].usable else None

    @property
    def detailed_trial(self) -> Trial | None:
        """The trial that the page details: the winner, or the best so far."""
        return self.result.winner.trial if self.result else self.best

    @property
    def champion(self) -> Trial | None:
        """The trial of the champion, where one was recorded that is not the base."""
        return next((trial for trial in self.trials if trial.label == "champion"), None)

    @cached_property
    def cases(self) -> int:
        """How many cases a trial completed on."""
        return whole_cases(self.trials)

    @cached_property
    def states(self) -> Counter[str]:
        """How many trials ended in each state."""
        return Counter(state_of(trial) for trial in self.trials)

    @cached_property
    def rival(self) -> Finalist | None:
        """Who is shown beside the incumbent: the winner, or, where the incumbent stays, the best challenger on the holdout."""
        if self.result is None:
            return None
        if self.result.winner is not self.result.incumbent:
            return self.result.winner
        others = [finalist for finalist in self.result.finalists[1:] if finalist.holdout.mean(self.goal) is not None]
        return max(others, key=lambda finalist: self.sign * (finalist.holdout.mean(self.goal) or 0.0), default=None)

    @cached_property
    def compared(self) -> ReportComparison | None:
        """The incumbent (A) and its rival (B) on the holdout, by every metric; `None` where there are not two."""
        if self.result is None or self.rival is None:
            return None
        margin = self.experiment.margin if self.experiment.margin < 1.0 else MARGIN  # else it is an amount's, as the goal is
        return compare_reports(self.result.incumbent.holdout, self.rival.holdout, margin=margin)

    @property
    def differences(self) -> list[MetricDifference]:
        """Incumbent and rival by every metric, the goal first."""
        metrics = self.compared.metrics if self.compared else ()
        return sorted(metrics, key=lambda difference: difference.metric != self.goal)

    @property
    def widest_end(self) -> float:
        """The farthest end of any interval that there is: what the bars are drawn to."""
        ends = [abs(end) for one in self.differences for end in (one.comparison.low, one.comparison.high)]
        return max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0

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
        """What the trade-off is drawn over, across and up: the first two objectives, or dollars (tokens read) and the goal."""
        if len(self.experiment.objective) > 1:
            return self.experiment.objective[1], self.goal
        priced = all(trial.report.costs["usd"] is not None for trial in self.trials if trial.report.costs)
        return ("cost.usd" if priced else "cost.input_tokens"), self.goal

    @property
    def front_names(self) -> tuple[str, ...]:
        """The objectives of the Pareto front: all of them, or where there is one, the goal and the money."""
        return self.experiment.objective if len(self.experiment.objective) > 1 else (self.goal, self.axes[0])

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front of the usable trials."""
        names = self.front_names
        signs = [1.0 if self.experiment.direction(name) == "higher" else -1.0 for name in names]
        usable = [trial for trial in self.trials if trial.usable and None not in [value_of(trial, name) for name in names]]
        points = [[sign * (value_of(trial, name) or 0.0) for sign, name in zip(signs, names, strict=True)] for trial in usable]
        return [usable[index] for index in undominated(points)]

    def value_at(self, trial: Trial, path: str) -> Any:
        """A trial's value of a knob, or the base's; `None` where the knob is not active in the trial."""
        if path in trial.values:
            return trial.values[path]
        if trial.values:
            return None
        target = next(knob.target for knob in self.experiment.knobs if knob.path == path)
        return trial.config.flat().get(target)

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output tokens of all trials and the holdout; stored answers count as if asked again."""
        reports = [trial.report for trial in self.trials] + [
            finalist.holdout for finalist in (self.result.finalists if self.result else ())
        ]
        uses = [use for report in reports for trace in report.traces for use in trace.usage]
        return sum(use.input_tokens for use in uses), sum(use.output_tokens for use in uses)

    @property
    def simulated(self) -> bool:
        """Whether any price is that of a hosted model which a local one stands in for."""
        return any(trial.report.simulated for trial in self.trials)

    @property
    def prices(self) -> str:
        """Which prices the dollars are by; of a sweep that was gone on with under others, all of them."""
        return "; ".join(dict.fromkeys(trial.report.header.prices for trial in self.trials if trial.report.header.prices))

    @property
    def unfinished(self) -> list[Trial]:
        """The trials that were pruned, failed, or broke a limit."""
        return [trial for trial in self.trials if not trial.usable]

    @property
    def store_reads(self) -> tuple[int, int]:
        """Outputs of stages that an earlier run kept, and all that were needed."""
        share = reused_share(self.result.counts if self.result else {})
        return share.reused, share.needed


def state_of(trial: Trial) -> str:
    """How a trial ended: complete, pruned, failed, or complete but beyond a limit."""
    return "beyond a limit" if trial.state == "complete" and not trial.usable else trial.state


def why_of(trial: Trial) -> str:
    """Why a trial cannot win."""
    broken_limits = [f"{name} is beyond its limit by {amount:.4g}" for name, amount in trial.violations.items() if amount > 0]
    return "; ".join([*([trial.why] if trial.why else []), *broken_limits])


def value_of(trial: Trial, name: str) -> float | None:
    """A number of a trial by its name in experiments: a metric, a cost, a time."""
    return numbers(trial.report).get(name)


def scored_cases(reports: Sequence[EvalReport]) -> int:
    """Cases scored in all."""
    return sum(len(report.rows) for report in reports)


def crashed(trial: Trial, most: int = 5) -> list[CaseResult]:
    """Some of the cases that a trial crashed on."""
    return trial.report.errors[:most]
