"""A comparison of two sides: what is no evaluation yet is evaluated now, on the questions of the one that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from harness.comparison.compare import check_comparable, compare_reports
from harness.comparison.values import ReportComparison
from harness.evaluation.timing import CASES, TimedConfig, time_against
from harness.golden.load import load_golden
from harness.golden.sets import GoldenSet, Split
from harness.metrics import metric_set
from harness.project.contexts import OpenContexts
from harness.project.evaluate import EvaluationOptions, SplitName, score
from harness.project.named_result import named_result
from harness.reports.comparison import write_comparison
from harness.resolve import NamedApp, RecordedRun, Resolved, config_of
from harness.results.report import EvalReport
from harness.results.report_file import write_report
from harness.results.timing import TimingComparison
from harness.settings import HarnessSettings
from harness.stats import MARGIN
from serving.pipeline.errors import ConfigError, InfrastructureError


@dataclass(frozen=True, slots=True)
class ComparedCases:
    """On which cases two sides are compared, and by which margin; empty and `None` where an evaluation at hand decides it."""

    golden: str = ""
    split: SplitName | None = None
    cases: int | None = None
    margin: float = MARGIN  # of scores between 0 and 1: a difference within it does not matter


async def compare(
    sides: tuple[Resolved, Resolved],
    choice: ComparedCases,
    default_golden: str,
    contexts: OpenContexts,
    options: EvaluationOptions,
    name: str,
    timing: bool = False,
) -> ReportComparison:
    """Compare two sides, and write `reports/compare/<name>/` where there is a name; `timing` has both answer again for their times."""
    if timing and any(isinstance(side, RecordedRun | NamedApp) for side in sides):
        raise ConfigError("A timing pass asks configurations: both sides must be one, not a recorded evaluation or an app of yours.")
    if not name:
        return await _compared(sides, choice, default_golden, contexts, options, "", None, timing)
    with named_result(contexts.settings, "compare", name) as place:
        comparison = await _compared(sides, choice, default_golden, contexts, options, name, place.draft, timing)
        place.publish()
    return comparison


async def _compared(
    sides: tuple[Resolved, Resolved],
    choice: ComparedCases,
    default_golden: str,
    contexts: OpenContexts,
    options: EvaluationOptions,
    name: str,
    folder: Path | None,
    timing: bool,
) -> ReportComparison:
    """The comparison, written to a folder where there is one."""
    settings = contexts.settings
    labels = (sides[0].label, sides[1].label)
    recorded = [side for side in sides if isinstance(side, RecordedRun)]
    for side in recorded:
        _check_cases(side, choice)
    if len(recorded) == 2:
        check_comparable(recorded[0].report, recorded[1].report)
        before, after = (side.report for side in recorded)
    else:
        run = recorded[0] if recorded else None
        golden, cases = _cases(run, choice, default_golden, settings, name or " and ".join(labels))
        metrics = run.report.header.metrics if run and not options.metrics else options.names
        before, after = [
            side.report
            if isinstance(side, RecordedRun)
            else await _evaluated(side, letter, golden, cases, metrics, contexts, options, folder)
            for letter, side in zip("ab", sides, strict=True)
        ]
    measured = await _timed(sides, golden, cases, contexts, options) if timing else None
    comparison = compare_reports(before, after, metric_set(options.metrics) or None, margin=choice.margin, timing=measured)
    if folder is not None:
        write_comparison(comparison, labels, folder)
    return comparison


async def _timed(
    sides: tuple[Resolved, Resolved], golden: GoldenSet, cases: Split, contexts: OpenContexts, options: EvaluationOptions
) -> TimingComparison | None:
    """The time of B over that of A, on the first cases."""
    context, configs = contexts.get(options.context_choice(golden)), []
    for side in sides:
        named = config_of(side, contexts.settings)
        own = context.with_release(named.prompts, named.artefacts) if named.release else context
        configs.append(TimedConfig(named.config, own.factory))
    contexts.progress("answers timed", 0, len(cases.cases[:CASES]))
    result = await time_against(configs[0], configs[1:], cases.cases[:CASES])
    return result.comparisons[0]


def _check_cases(side: RecordedRun, choice: ComparedCases) -> None:
    """A `ConfigError` when an evaluation was made on other questions than those asked for."""
    head = side.report.header
    if choice.golden and choice.golden not in (head.golden, head.golden.split("/")[0]):
        raise ConfigError(f"{side.label} was evaluated on {head.golden}, not on {choice.golden}. Leave --golden out, or evaluate it again.")
    if choice.split and choice.split != head.split:
        raise ConfigError(f"{side.label} was evaluated on the {head.split} split, not on {choice.split}. Leave --split out.")


def _cases(
    run: RecordedRun | None, choice: ComparedCases, default_golden: str, settings: HarnessSettings, title: str
) -> tuple[GoldenSet, Split]:
    """The golden set and its cases: those of the evaluation where there is one, else those asked for."""
    head = run.report.header if run else None
    golden = load_golden(settings.datasets, head.golden if head else choice.golden or default_golden)
    if head and run and golden.digest != head.golden_digest:
        raise ConfigError(
            f"{run.label} was evaluated on {head.golden} as {head.golden_digest}; it is {golden.digest} now. Evaluate it again."
        )
    name = head.split if head else choice.split or "tune"
    count = choice.cases if choice.cases is not None else len(run.report.rows) if run else None
    return golden, golden.split(cast(SplitName, name), why=f"compare {title}", ledger=settings.holdout_ledger).head(count)


async def _evaluated(
    side: Resolved,
    letter: str,
    golden: GoldenSet,
    cases: Split,
    metrics: Sequence[str],
    contexts: OpenContexts,
    options: EvaluationOptions,
    folder: Path | None,
) -> EvalReport:
    """One side evaluated and kept beside the comparison; an outage ends it, since its scores would be of the outage."""
    what = f"cases of {letter.upper()}"
    context = contexts.get(options.context_choice(golden))
    report = await score(side, context, cases, metrics, options.concurrency, lambda done, total: contexts.progress(what, done, total))
    if report.outages:
        first = report.outages[0].error
        why = first.message if first else ""
        raise InfrastructureError(f"{side.label}: {len(report.outages)} of {len(report.rows)} cases were not answered: {why}")
    if folder is not None:
        write_report(report, folder / f"{letter}.jsonl")
    return report
