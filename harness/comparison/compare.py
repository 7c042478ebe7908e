"""Two evaluations side by side, on the cases that both scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.comparison.values import ConfigChange, CostDifference, Flip, MetricDifference, Move, ReportComparison, SliceDifference
from harness.results.case_result import CaseResult
from harness.results.clusters import MIN_CLUSTERS, clusters_of
from harness.results.report import EvalReport, first_error
from harness.stats import Comparison, compare, holm, mean_interval
from serving.pipeline.errors import DataError
from serving.pipeline.registry import near

FLIP = 0.5 - 1e-9  # a score from 0 to 1 that moved this far has flipped; half, but for rounding
SLICED = ("quality", "recall@5", "key_facts", "refusal")
SLICES = ("kind", "domain")


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case in both evaluations."""

    before: CaseResult
    after: CaseResult

    def values(self, metric: str) -> tuple[float, float] | None:
        """A metric of both, or `None` where one is unscored."""
        before, after = self.before.value(metric), self.after.value(metric)
        return None if before is None or after is None else (before, after)


def compare_metric(base: EvalReport, other: EvalReport, metric: str) -> Comparison:
    """The paired comparison of two evaluations on the cases that both scored; none of them makes it a tie."""
    return _held(_pairs(base, other), metric, _direction(other, metric))


def compare_reports(before: EvalReport, after: EvalReport, metrics: Sequence[str] | None = None) -> ReportComparison:
    """Everything that differs between two evaluations of the same questions, by these metrics or by all that both have."""
    refuse_unlike(before, after)
    pairs = _pairs(before, after)
    usable = _metrics(before, after, metrics)
    names = [name for name in usable if metrics or any(pair.values(name) for pair in pairs)]  # what nobody scored is no comparison
    if not names:
        raise DataError(f"A and B cannot be compared: no metric scored a case in both. {_why_unscored(before, after)}".rstrip())
    return ReportComparison(
        before,
        after,
        len(pairs),
        tuple(_differences(pairs, names, before, after)),
        tuple(_flips(pairs, names, after)),
        tuple(_slices(pairs, names, after)),
        tuple(_spending(pairs, before, after)),
        tuple(_changes(before, after)),
        tuple(_notes(pairs, before, after, metrics is None)),
    )


def refuse_unlike(before: EvalReport, after: EvalReport) -> None:
    """A `DataError` for evaluations that did not ask the same questions."""
    a, b = before.header, after.header
    mend = "Evaluate one of them again on the other's, with touchstone eval --golden … --split …"
    for what, one, other in (
        ("golden set", a.golden, b.golden),
        (f"content of {a.golden}", a.golden_digest, b.golden_digest),
        ("split", a.split, b.split),
    ):
        if one != other:
            raise DataError(f"A and B cannot be compared: the {what} differs, {one!r} and {other!r}. {mend}")
    if not {row.case.id for row in before.rows} & {row.case.id for row in after.rows}:
        raise DataError(f"A and B cannot be compared: they have no case in common. {mend}")


def _why_unscored(before: EvalReport, after: EvalReport) -> str:
    """What stood in the way of scores, side by side."""
    sides = [(name, report, first_error(report)) for name, report in (("A", before), ("B", after))]
    return " ".join(
        f"{name}: {len(report.errors)} of {len(report.rows)} cases have no answer, {said}" for name, report, said in sides if report.errors
    )


def _pairs(before: EvalReport, after: EvalReport) -> list[CasePair]:
    known = {row.case.id: row for row in before.rows}
    return [CasePair(known[row.case.id], row) for row in after.rows if row.case.id in known]


def _direction(report: EvalReport, metric: str) -> str:
    return report.header.directions.get(metric, "higher")


def _held(pairs: Sequence[CasePair], metric: str, direction: str) -> Comparison:
    both = [(pair, values) for pair in pairs if (values := pair.values(metric)) is not None]
    before, after = [values[0] for _, values in both], [values[1] for _, values in both]
    return compare(before, after, clusters_of(pair.after.case for pair, _ in both), higher_is_better=direction == "higher")


def _metrics(before: EvalReport, after: EvalReport, asked: Sequence[str] | None) -> list[str]:
    """The metrics asked for, refused where they cannot be compared; else all that can."""
    common = [name for name in after.header.metrics if name in before.header.metrics]
    usable = [name for name in common if _version(before, name) == _version(after, name)]
    for name in asked or ():
        if name not in common:
            raise DataError(f"Metric {name!r} is not in both evaluations.{near(name, common)} In both: {', '.join(common) or 'none'}.")
        if name not in usable:
            was, now = _version(before, name), _version(after, name)
            raise DataError(
                f"Metric {name!r} was another when A was scored: version {was}, in B {now}. Run touchstone eval again for both."
            )
    if not usable:
        raise DataError("A and B cannot be compared: no metric is in both in the same version. Run touchstone eval again for both.")
    return list(dict.fromkeys(asked)) if asked else usable


def _version(report: EvalReport, metric: str) -> str:
    return report.header.metric_versions.get(metric, "")


def _differences(pairs: Sequence[CasePair], names: Sequence[str], before: EvalReport, after: EvalReport) -> Iterator[MetricDifference]:
    higher = [_direction(after, name) == "higher" for name in names]
    raw = [_held(pairs, name, _direction(after, name)) for name in names]
    either = len({row.case.id for row in (*before.rows, *after.rows)})
    for name, one, corrected in zip(names, raw, holm(raw, higher_is_better=higher), strict=True):
        both = [(pair.after.case, values) for pair in pairs if (values := pair.values(name)) is not None]
        clusters = clusters_of(case for case, _ in both)
        first, second = ([values[side] for _, values in both] for side in (0, 1))
        shares = name not in after.header.amounts
        neither = sum(pair.before.value(name) is None and pair.after.value(name) is None for pair in pairs)
        yield MetricDifference(
            name,
            _direction(after, name),
            mean_interval(first, clusters, shares=shares),
            mean_interval(second, clusters, shares=shares),
            corrected,
            one.p_value,
            either - len(both) - neither,
        )


def _flips(pairs: Sequence[CasePair], names: Sequence[str], after: EvalReport) -> list[Flip]:
    """The cases that flipped, those with most metrics first; only scores from 0 to 1 can flip."""
    bounded = [name for name in names if all(0.0 <= value <= 1.0 for pair in pairs for value in pair.values(name) or ())]
    flips = []
    for pair in pairs:
        moves = []
        for name in bounded:
            values = pair.values(name)
            if values and abs(values[1] - values[0]) >= FLIP:
                better = (values[1] > values[0]) == (_direction(after, name) == "higher")
                moves.append(Move(name, *values, better))
        if moves:
            flips.append(Flip(pair.before, pair.after, tuple(moves)))
    return sorted(flips, key=lambda flip: -len(flip.moves))


def _slices(pairs: Sequence[CasePair], names: Sequence[str], after: EvalReport) -> list[SliceDifference]:
    """Every slice of the few metrics worth slicing, the greatest differences first."""
    chosen = [name for name in SLICED if name in names] or list(names[:1])
    found: list[SliceDifference] = []
    for by in SLICES:
        parts: dict[str, list[CasePair]] = {}
        for pair in pairs:
            parts.setdefault(str(getattr(pair.after.case, by)), []).append(pair)
        if len(parts) > 1:  # a single slice is the whole
            found += [
                SliceDifference(by, value, name, held)
                for value, some in sorted(parts.items())
                for name in chosen
                if (held := _held(some, name, _direction(after, name))).count
            ]
    higher = [_direction(after, one.metric) == "higher" for one in found]
    corrected = holm([one.comparison for one in found], higher_is_better=higher)
    whole = [SliceDifference(one.by, one.name, one.metric, held) for one, held in zip(found, corrected, strict=True)]
    return sorted(whole, key=lambda one: (one.comparison.outcome == "tie", -abs(one.comparison.difference)))


def _spending(pairs: Sequence[CasePair], before: EvalReport, after: EvalReport) -> Iterator[CostDifference]:
    traces = [(pair.before.trace, pair.after.trace, pair.after.case) for pair in pairs]
    both = [(a, b, case) for a, b, case in traces if a and b]
    clusters = clusters_of(case for _, _, case in both)

    def held(first: Sequence[float], second: Sequence[float]) -> Comparison | None:
        return compare(first, second, clusters, higher_is_better=False) if first else None

    priced = before.costs.get("usd") is not None and after.costs.get("usd") is not None
    money = held([a.usd for a, _, _ in both], [b.usd for _, b, _ in both]) if priced else None
    yield CostDifference(
        "dollars a query", "simulated $" if before.simulated or after.simulated else "$", *_both(before, after, "usd"), money
    )
    time = held([a.milliseconds for a, _, _ in both], [b.milliseconds for _, b, _ in both])
    means = [
        sum(trace.milliseconds for trace in report.traces) / len(report.traces) if report.traces else None for report in (before, after)
    ]
    yield CostDifference("time, mean", "ms", means[0], means[1], time)
    for share in ("p50", "p95"):
        ends = [report.times.get("total", {}).get(share) for report in (before, after)]
        yield CostDifference(f"time, {share}", "ms", ends[0], ends[1])
    for name, unit in (("input_tokens", "tokens"), ("output_tokens", "tokens"), ("refused_share", "share")):
        yield CostDifference(name.replace("_", " "), unit, *_both(before, after, name))
    for tier in sorted(before.tier_shares.keys() | after.tier_shares.keys()):
        yield CostDifference(f"share of {tier}", "share", before.tier_shares.get(tier), after.tier_shares.get(tier))


def _both(before: EvalReport, after: EvalReport, name: str) -> tuple[float | None, float | None]:
    return before.costs.get(name), after.costs.get(name)


def _changes(before: EvalReport, after: EvalReport) -> list[ConfigChange]:
    """The fields that differ; an app of the user's has none to hold beside a configuration's."""
    if bool(before.header.app) != bool(after.header.app):
        return []
    a, b = before.header.flat, after.header.flat
    return [ConfigChange(path, a.get(path), b.get(path)) for path in sorted(a.keys() | b.keys()) if a.get(path) != b.get(path)]


def _notes(pairs: Sequence[CasePair], before: EvalReport, after: EvalReport, all_metrics: bool) -> Iterator[str]:
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
    for name, report in (("A", before), ("B", after)):
        if report.errors:
            first = report.errors[0].error
            why = first.message if first else ""
            yield f"{name} has no answer to {len(report.errors)} of {len(report.rows)} cases, which count in no mean: {why}"
    if len(pairs) < max(len(before.rows), len(after.rows)):
        yield f"Only the {len(pairs)} cases of both count; A has {len(before.rows)}, B {len(after.rows)}."
    if all_metrics and (left := [name for name in b.metrics if name in a.metrics and _version(before, name) != _version(after, name)]):
        yield f"Left out, since they were scored by different versions of the metric: {', '.join(left)}."
    unscored = [name for name in b.metrics if name in a.metrics and not any(pair.values(name) for pair in pairs)]
    if all_metrics and unscored:
        yield f"Left out, since no case was scored in both: {', '.join(unscored)}."
    if clusters_of(pair.after.case for pair in pairs) is None:
        few = f"The cases rest on fewer than {MIN_CLUSTERS} documents"
        yield f"{few}, so each counts as independent of the others; verdicts are too eager where a document decides."
