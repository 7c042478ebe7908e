"""Two evaluations side by side, on the cases that both scored."""

from collections.abc import Sequence

from harness.comparison.differences import case_flips, cost_differences, metric_differences, slice_differences
from harness.comparison.notes import comparison_notes, metric_version
from harness.comparison.pairs import case_pairs
from harness.comparison.values import ConfigChange, ReportComparison
from harness.results.report import EvalReport, first_error
from harness.results.timing import TimingComparison
from harness.stats import MARGIN
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.registry import near


def compare_reports(
    before: EvalReport,
    after: EvalReport,
    metrics: Sequence[str] | None = None,
    *,
    margin: float = MARGIN,
    timing: TimingComparison | None = None,
) -> ReportComparison:
    """Everything that differs between two evaluations of the same questions, by these metrics or by all that both have.

    A difference of scores between 0 and 1 that stays within the margin is none that matters.
    """
    check_margin(margin)
    check_comparable(before, after)
    pairs = case_pairs(before, after)
    usable = _metrics(before, after, metrics)
    names = [name for name in usable if metrics or any(pair.values(name) for pair in pairs)]
    if not names:
        raise DataError(f"A and B cannot be compared: no metric scored a case in both. {_why_unscored(before, after)}".rstrip())
    return ReportComparison(
        before,
        after,
        len(pairs),
        tuple(metric_differences(pairs, names, before, after, margin)),
        tuple(case_flips(pairs, names, after)),
        tuple(slice_differences(pairs, names, after, margin)),
        tuple(cost_differences(pairs, before, after, timing)),
        tuple(_config_changes(before, after)),
        tuple(comparison_notes(pairs, before, after, metrics is None)),
        margin,
    )


def check_margin(margin: float) -> None:
    """Raise `ConfigError` unless the margin is a difference between scores from 0 to 1."""
    if not 0.0 < margin < 1.0:
        raise ConfigError(f"A margin is a difference of scores above 0 and below 1, for example {MARGIN:g}, not {margin!r}.")


def check_comparable(before: EvalReport, after: EvalReport) -> None:
    """Raise `DataError` where the evaluations are of different questions."""
    a, b = before.header, after.header
    mend = "Evaluate one of them again on the other's, with touchstone eval --golden … --split …"
    for field, first, second in (
        ("golden set", a.golden, b.golden),
        (f"content of {a.golden}", a.golden_digest, b.golden_digest),
        ("split", a.split, b.split),
    ):
        if first != second:
            raise DataError(f"A and B cannot be compared: the {field} differs, {first!r} and {second!r}. {mend}")
    if not {row.case.id for row in before.rows} & {row.case.id for row in after.rows}:
        raise DataError(f"A and B cannot be compared: they have no case in common. {mend}")


def _why_unscored(before: EvalReport, after: EvalReport) -> str:
    """The first error of each side."""
    sides = [(name, report, first_error(report)) for name, report in (("A", before), ("B", after))]
    return " ".join(
        f"{name}: {len(report.errors)} of {len(report.rows)} cases have no answer, {error}"
        for name, report, error in sides
        if report.errors
    )


def _metrics(before: EvalReport, after: EvalReport, chosen: Sequence[str] | None) -> list[str]:
    """The chosen metrics, refused where they cannot be compared; by default all that can be."""
    common = [name for name in after.header.metrics if name in before.header.metrics]
    usable = [name for name in common if metric_version(before, name) == metric_version(after, name)]
    for name in chosen or ():
        if name not in common:
            raise DataError(f"Metric {name!r} is not in both evaluations.{near(name, common)} In both: {', '.join(common) or 'none'}.")
        if name not in usable:
            was, now = metric_version(before, name), metric_version(after, name)
            raise DataError(
                f"Metric {name!r} was another when A was scored: version {was}, in B {now}. Run touchstone eval again for both."
            )
    if not usable:
        raise DataError("A and B cannot be compared: no metric is in both in the same version. Run touchstone eval again for both.")
    return list(dict.fromkeys(chosen)) if chosen else usable


def _config_changes(before: EvalReport, after: EvalReport) -> list[ConfigChange]:
    """The fields of the configuration that differ; none between a configuration and an app."""
    if bool(before.header.app) != bool(after.header.app):
        return []
    a, b = before.header.flat, after.header.flat
    return [ConfigChange(path, a.get(path), b.get(path)) for path in sorted(a.keys() | b.keys()) if a.get(path) != b.get(path)]
