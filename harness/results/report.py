"""An evaluation: its header, a row per case, and their summary."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from harness.results.case_result import CaseResult
from harness.results.clusters import clusters_of
from harness.results.display import Display
from harness.results.frames import case_frame, summary_frame
from harness.results.header import Header
from harness.stats import Interval, mean_interval, percentile
from harness.stats.text import number_text, range_text
from serving.pipeline.types import Trace

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EvalReport:
    """An evaluation."""

    header: Header
    rows: tuple[CaseResult, ...]

    @cached_property
    def summary(self) -> dict[str, Interval]:
        """Mean and interval of every metric over the cases that it scored."""
        return {name: _interval(self.rows, name, shares=name not in self.header.amounts) for name in self.header.metrics}

    def values(self, metric: str) -> list[float]:
        """A metric's values, in the order of the rows, unscored cases left out."""
        return [value for row in self.rows if (value := row.value(metric)) is not None]

    def mean(self, metric: str) -> float | None:
        """A metric's mean; `None` when it scored nothing."""
        return self.summary[metric].mean

    def slices(self, by: Literal["kind", "domain", "difficulty"], metric: str) -> dict[str, Interval]:
        """A metric per kind, domain or difficulty."""
        names = sorted({str(getattr(row.case, by)) for row in self.rows})
        parts = {name: [row for row in self.rows if getattr(row.case, by) == name] for name in names}
        shares = metric not in self.header.amounts
        return {name: _interval(rows, metric, shares=shares) for name, rows in parts.items()}

    @property
    def errors(self) -> list[CaseResult]:
        """The cases with an error."""
        return [row for row in self.rows if row.error]

    @property
    def outages(self) -> list[CaseResult]:
        """The cases that an endpoint or a store failed, not the configuration."""
        return [row for row in self.rows if row.error and row.error.infrastructure]

    @cached_property
    def costs(self) -> dict[str, float | None]:
        """Tokens of answers, US dollars (`None` where a model has no known price), refusals, truncation: the mean over the traces."""
        traces = self.traces
        if not traces:
            return {}
        usage = [use for trace in traces for use in trace.usage]
        answers, count = [use for use in usage if use.stage == "answer"], len(traces)
        return {
            "input_tokens": sum(use.input_tokens for use in answers) / count,
            "output_tokens": sum(use.output_tokens for use in answers) / count,
            "usd": sum(use.usd for use in usage) / count if all(use.priced for use in usage) else None,
            "pro_share": self.tier_shares.get("pro", 0.0),
            **{f"tier_share.{tier}": share for tier, share in self.tier_shares.items()},
            "refused_share": sum(trace.answer.refused for trace in traces) / count,
            "truncated_share": sum(trace.dropped_passages > 0 for trace in traces) / count,
            "empty_share": sum(not trace.hits and not trace.cached for trace in traces) / count,
        }

    @cached_property
    def tier_shares(self) -> dict[str, float]:
        """The share of the traces that each tier of the configuration answered."""
        tiers = self.header.config.get("answer", {}).get("models", {})
        answered = Counter(trace.route.tier for trace in self.traces if trace.route and not trace.cached)
        return {tier: answered[tier] / len(self.traces) for tier in sorted({*tiers, *answered})} if self.traces else {}

    @cached_property
    def times(self) -> dict[str, dict[str, float]]:
        """Milliseconds per stage (and in all): p50, p95, p99 of what was computed; what was kept from before took no time to speak of."""
        measured: dict[str, list[float]] = {}
        for trace in self.traces:
            if not trace.kept:
                measured.setdefault("total", []).append(trace.milliseconds)
            for stage in trace.stages:
                if not stage.kept:
                    measured.setdefault(stage.stage, []).append(stage.milliseconds)
        return {
            stage: {name: percentile(values, share) or 0.0 for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
            for stage, values in measured.items()
        }

    def time(self, share: Literal["p50", "p95", "p99"], stage: str = "total") -> float | None:
        """Milliseconds of a stage; `None` where nothing was measured."""
        return self.times.get(stage, {}).get(share)

    @property
    def kept(self) -> int:
        """How many answers, or parts of them, were kept from before, so that their times are no measurement."""
        return sum(trace.kept for trace in self.traces)

    @property
    def simulated(self) -> bool:
        """Whether any price is that of a hosted model which a local one stands in for."""
        return any(use.simulated for trace in self.traces for use in trace.usage)

    @property
    def traces(self) -> list[Trace]:
        """The traces of the cases that have one."""
        return [row.trace for row in self.rows if row.trace]

    def to_pandas(self) -> "pd.DataFrame":
        """A row per case: question, answer, every score, tokens, dollars, milliseconds."""
        return case_frame(self)

    def summary_frame(self) -> "pd.DataFrame":
        """A row per metric: mean, low, high, scored, coverage, direction."""
        return summary_frame(self)

    @property
    def display(self) -> Display:
        """Every metric with its interval, the errors, and the cost of a query."""
        head, count = self.header, len(self.rows)
        rows = [
            (name, number_text(interval.mean), range_text(interval.low, interval.high), f"{interval.count}/{count}")
            for name, interval in self.summary.items()
        ]
        subject = f"app {head.app}" if head.app else f"configuration {head.config_digest}"
        usd = self.costs.get("usd")
        money = "" if usd is None else f"${usd:.6f} a query{' (simulated)' if self.simulated else ''}"
        errors = f"{len(self.errors)} of {count} cases have no answer: {first_error(self)}" if self.errors else ""
        title = f"EvalReport of {subject} on {head.golden} {head.split}, {count} cases"
        return Display(title, ("metric", "mean", "95 % interval", "scored"), rows, (errors, money))

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


def _interval(rows: Iterable[CaseResult], metric: str, *, shares: bool) -> Interval:
    """A metric's mean and interval over the rows that it scored; questions on one document count together."""
    scored = [(value, row.case) for row in rows if (value := row.value(metric)) is not None]
    return mean_interval([value for value, _ in scored], clusters_of(case for _, case in scored), shares=shares)


def first_error(report: EvalReport) -> str:
    """The first error of a report, an outage before others; without any, why the first case was not scored."""
    for row in [*report.outages, *report.errors]:
        if row.error:
            return f"{row.case.id}: {row.error.message}"
    return next((score.reason for row in report.rows for score in row.scores if score.value is None), "")
