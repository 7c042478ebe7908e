"""What a reader must know before believing the numbers of a comparison."""

from collections.abc import Iterator, Sequence

from harness.comparison.pairs import CasePair
from harness.results.clusters import MIN_CLUSTERS, clusters_of
from harness.results.report import EvalReport


def comparison_notes(pairs: Sequence[CasePair], before: EvalReport, after: EvalReport, all_metrics: bool) -> Iterator[str]:
    """The notes, a line each; `all_metrics` where no metrics were chosen."""
    a, b = before.header, after.header
    for name, header in (("A", a), ("B", b)):
        if header.app:
            yield f"{name} is an app, {header.app}: it was asked from outside, and what it does not show is not scored."
    if a.app and a.config_digest == b.config_digest:
        yield "A and B are the same app, as far as its code can be seen."
    elif a.config_digest == b.config_digest:
        yield f"A and B are the same configuration ({a.config_digest}), with the same prompts and documents."
    elif a.config == b.config:
        yield f"A and B have the same configuration; the prompts, the documents or the code differ ({a.config_digest}, {b.config_digest})."
    if a.corpus_digest != b.corpus_digest:
        yield f"The documents differ: corpus {a.corpus_digest} and {b.corpus_digest}."
    if a.judge != b.judge:
        yield f"Different judges: {a.judge or 'none'} and {b.judge or 'none'}; judged metrics differ by that too."
    if a.prices != b.prices and a.prices and b.prices:
        yield f"The dollars are by different prices: A's by {a.prices}; B's by {b.prices}. Evaluate both anew to compare them."
    for name, report in (("A", before), ("B", after)):
        if report.errors:
            first = report.errors[0].error
            why = first.message if first else ""
            yield f"{name} has no answer to {len(report.errors)} of {len(report.rows)} cases, which count in no mean: {why}"
    if len(pairs) < max(len(before.rows), len(after.rows)):
        yield f"Only the {len(pairs)} cases of both count; A has {len(before.rows)}, B {len(after.rows)}."
    common = [name for name in b.metrics if name in a.metrics]
    changed = [name for name in common if metric_version(before, name) != metric_version(after, name)]
    if all_metrics and changed:
        yield f"Left out, since they were scored by different versions of the metric: {', '.join(changed)}."
    unscored = [name for name in common if not any(pair.values(name) for pair in pairs)]
    if all_metrics and unscored:
        yield f"Left out, since no case was scored in both: {', '.join(unscored)}."
    clusters = len(set(clusters_of(pair.after.case for pair in pairs)))
    if clusters < MIN_CLUSTERS:
        documents = "one document" if clusters == 1 else f"{clusters} documents"
        yield f"The {len(pairs)} cases rest on {documents}, and those of one document stand and fall together: so few can show little."


def metric_version(report: EvalReport, metric: str) -> str:
    """The version a metric had in an evaluation."""
    return report.header.metric_versions.get(metric, "")
