"""What an evaluation found: a row per case, summaries, and both as JSONL and back."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.golden.case import Case
from harness.results.clusters import clusters_of
from harness.results.display import Display, number_words, range_words
from harness.results.frames import case_frame, summary_frame
from harness.results.score import Score
from harness.stats import Interval, mean_interval, percentile
from serving.pipeline.codec import Codec
from serving.pipeline.errors import DataError
from serving.pipeline.types import Trace
from serving.storage.files import write_text

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CaseError:
    """Why a case has no trace."""

    kind: str  # the exception's name
    message: str
    infrastructure: bool  # True: trying again may help; never a judgement of quality


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: its trace and scores, or the error that came instead; with both, a judge was out of reach."""

    case: Case
    scores: tuple[Score, ...] = ()
    trace: Trace | None = None
    error: CaseError | None = None

    def value(self, metric: str) -> float | None:
        """A metric's value for this case."""
        return next((score.value for score in self.scores if score.metric == metric), None)

    @property
    def display(self) -> Display:
        """The question, what was said, and every score."""
        said = self.trace.answer.text if self.trace else f"no answer: {self.error.message}" if self.error else "no answer"
        scores = [(score.metric, number_words(score.value), score.reason) for score in self.scores]
        return Display(f"CaseResult {self.case.id}: {self.case.question}", ("metric", "score", "reason"), scores, (said,))

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


@dataclass(frozen=True)
class Header:
    """What was evaluated on what; everything needed to do it again."""

    config: dict[str, Any]
    config_digest: str
    index_digest: str
    corpus_digest: str
    golden: str
    golden_digest: str
    split: str
    split_digest: str
    metrics: tuple[str, ...]
    metric_versions: Mapping[str, str] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)  # metric → higher or lower is better
    amounts: tuple[str, ...] = ()  # metrics that are no shares from 0 to 1: tokens, dollars, milliseconds
    judge: str = ""  # name and id of the judge that was asked
    prompts_digest: str = ""  # over the texts of the prompts in reach
    app: str = ""  # the app of the user's that was evaluated; empty: a configuration of ours
    started_at: str = ""
    seconds: float = 0.0
    format: int = FORMAT

    @property
    def flat(self) -> dict[str, Any]:
        """Every field of the configuration by its dotted path; one of an older version may have fields that none has now."""
        return dict(_leaves(self.config))


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
        """The cases that something went wrong with."""
        return [row for row in self.rows if row.error]

    @property
    def outages(self) -> list[CaseResult]:
        """The cases that the machinery failed, not the configuration."""
        return [row for row in self.rows if row.error and row.error.infrastructure]

    @cached_property
    def costs(self) -> dict[str, float | None]:
        """Tokens, US dollars (`None` where a model has no known price), refusals, truncation: the mean over the traces."""
        traces = self.traces
        if not traces:
            return {}
        usage = [use for trace in traces for use in trace.usage]
        count = len(traces)
        return {
            "input_tokens": sum(use.input_tokens for use in usage if use.stage == "answer") / count,
            "output_tokens": sum(use.output_tokens for use in usage) / count,
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
        """Milliseconds per stage (and in all): p50, p95, p99."""
        measured: dict[str, list[float]] = {}
        for trace in self.traces:
            measured.setdefault("total", []).append(trace.milliseconds)
            for stage in trace.stages:
                measured.setdefault(stage.stage, []).append(stage.milliseconds)
        return {
            stage: {name: percentile(values, share) or 0.0 for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
            for stage, values in measured.items()
        }

    @property
    def simulated(self) -> bool:
        """Whether any of the money is that of a model stood in for."""
        return any(use.simulated for trace in self.traces for use in trace.usage)

    @property
    def traces(self) -> list[Trace]:
        """The traces of the cases that have one."""
        return [row.trace for row in self.rows if row.trace]

    def to_pandas(self) -> "pd.DataFrame":
        """A row a case: what was asked and said, every score, tokens, dollars, milliseconds."""
        return case_frame(self)

    def summary_frame(self) -> "pd.DataFrame":
        """A row a metric: mean, low, high, scored, coverage, direction."""
        return summary_frame(self)

    @property
    def display(self) -> Display:
        """Every metric with its interval, and what it cost."""
        head, count = self.header, len(self.rows)
        rows = [
            (name, number_words(one.mean), range_words(one.low, one.high), f"{one.count}/{count}") for name, one in self.summary.items()
        ]
        what = f"app {head.app}" if head.app else f"configuration {head.config_digest}"
        usd = self.costs.get("usd")
        money = "" if usd is None else f"${usd:.6f} a query{' (simulated)' if self.simulated else ''}"
        wrong = f"{len(self.errors)} of {count} cases have no answer: {first_error(self)}" if self.errors else ""
        title = f"EvalReport of {what} on {head.golden} {head.split}, {count} cases"
        return Display(title, ("metric", "mean", "95 % interval", "scored"), rows, (wrong, money))

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _interval(rows: Iterable[CaseResult], metric: str, *, shares: bool) -> Interval:
    """A metric's mean and interval over the rows that it scored; questions on one document count together."""
    scored = [(value, row.case) for row in rows if (value := row.value(metric)) is not None]
    return mean_interval([value for value, _ in scored], clusters_of(case for _, case in scored), shares=shares)


_HEADER = Codec(Header)
_ROW = Codec(CaseResult)


def report_text(report: EvalReport) -> str:
    """An evaluation as JSONL: the header, then a line per case."""
    values = [_HEADER.dump(report.header), *(_ROW.dump(row) for row in report.rows)]
    return "\n".join(json.dumps(value, ensure_ascii=False) for value in values) + "\n"


def write_report(report: EvalReport, path: Path) -> None:
    """Write an evaluation to a file."""
    write_text(path, report_text(report))


def read_report(path: Path, each: Callable[[CaseResult], CaseResult] = lambda row: row) -> EvalReport:
    """Read an evaluation back; `each` makes of a case what is wanted of it, one by one, since many are large."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}. Make one: touchstone eval") from None
    return parse_report(text, str(path), each)


def parse_report(text: str, source: str, each: Callable[[CaseResult], CaseResult] = lambda row: row) -> EvalReport:
    """An evaluation from its JSONL."""
    lines = text.removesuffix("\n").split("\n")  # JSON keeps the other line separators of documents
    number = 0
    try:
        header = _HEADER.parse(lines[0])
        rows = []
        for number, line in enumerate(lines[1:], start=1):  # noqa: B007 — named in the error below
            rows.append(each(_ROW.parse(line)))
    except ValidationError:
        raise DataError(f"{source}:{number + 1}: not a line of an evaluation.") from None
    return EvalReport(header, tuple(rows))


def numbers(report: EvalReport) -> dict[str, float | None]:
    """Every number of an evaluation under its MLflow name."""
    found: dict[str, float | None] = {}
    for name, interval in report.summary.items():
        found |= {name: interval.mean, f"{name}.low": interval.low, f"{name}.high": interval.high}
        found[f"{name}.coverage"] = interval.count / max(1, len(report.rows))
    found |= {f"cost.{name}": value for name, value in report.costs.items()}
    for stage, times in report.times.items():
        found |= {f"ms.{stage}.{share}": value for share, value in times.items()}
    return found | {"cases": float(len(report.rows)), "errors": float(len(report.errors)), "seconds": report.header.seconds}


def first_error(report: EvalReport) -> str:
    """The first error of a report in words, an outage before others; where none is, why the first case was not scored."""
    for row in [*report.outages, *report.errors]:
        if row.error:
            return f"{row.case.id}: {row.error.message}"
    return next((score.reason for row in report.rows for score in row.scores if score.value is None), "")
