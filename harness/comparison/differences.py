"""What differs between two evaluations: metrics, flipped cases, slices, costs."""

from collections.abc import Iterator, Sequence

from harness.comparison.pairs import CasePair, compare_pairs, direction_of
from harness.comparison.values import CaseFlip, CostDifference, MetricChange, MetricDifference, SliceDifference
from harness.results.clusters import clusters_of
from harness.results.report import EvalReport
from harness.results.timing import TimingComparison
from harness.stats import Comparison, compare_paired, mean_interval

FLIP = 0.5 - 1e-9  # a score from 0 to 1 that moved this far has flipped; half, but for rounding
SLICED = ("quality", "recall@5", "key_facts", "missed_refusal", "over_refusal")
NOT_COMPARED = "not measured for comparison"  # of a time that a timing pass did not measure
SLICES = ("kind", "domain")


def metric_differences(
    pairs: Sequence[CasePair], names: Sequence[str], before: EvalReport, after: EvalReport, margin: float
) -> Iterator[MetricDifference]:
    """Every metric of both, with the paired comparison corrected for their number."""
    case_count = len({row.case.id for row in (*before.rows, *after.rows)})
    for name in names:
        both = [(pair.after.case, values) for pair in pairs if (values := pair.values(name)) is not None]
        clusters = clusters_of(case for case, _ in both)
        first, second = ([values[side] for _, values in both] for side in (0, 1))
        shares = name not in after.header.amounts
        neither = sum(pair.before.value(name) is None and pair.after.value(name) is None for pair in pairs)
        yield MetricDifference(
            name,
            direction_of(after, name),
            mean_interval(first, clusters, shares=shares),
            mean_interval(second, clusters, shares=shares),
            compare_pairs(pairs, name, after, margin=margin if shares else 0.0, among=len(names)),
            case_count - len(both) - neither,
        )


def case_flips(pairs: Sequence[CasePair], names: Sequence[str], after: EvalReport) -> list[CaseFlip]:
    """The cases that flipped, those with most metrics first; only scores from 0 to 1 can flip."""
    bounded = [name for name in names if all(0.0 <= value <= 1.0 for pair in pairs for value in pair.values(name) or ())]
    flips = []
    for pair in pairs:
        moves = []
        for name in bounded:
            values = pair.values(name)
            if values and abs(values[1] - values[0]) >= FLIP:
                better = (values[1] > values[0]) == (direction_of(after, name) == "higher")
                moves.append(MetricChange(name, *values, better))
        if moves:
            flips.append(CaseFlip(pair.before, pair.after, tuple(moves)))
    return sorted(flips, key=lambda flip: -len(flip.moves))


def slice_differences(pairs: Sequence[CasePair], names: Sequence[str], after: EvalReport, margin: float) -> list[SliceDifference]:
    """Every slice of the few metrics worth slicing, corrected for their number, the greatest differences first."""
    metrics = [name for name in SLICED if name in names] or list(names[:1])
    looked_at: list[tuple[str, str, list[CasePair], str]] = []
    for by in SLICES:
        parts: dict[str, list[CasePair]] = {}
        for pair in pairs:
            parts.setdefault(str(getattr(pair.after.case, by)), []).append(pair)
        if len(parts) > 1:  # a single slice is the whole
            looked_at += [(by, value, part, name) for value, part in sorted(parts.items()) for name in metrics]
    looked_at = [one for one in looked_at if any(pair.values(one[3]) for pair in one[2])]
    differences = [
        SliceDifference(
            by,
            value,
            name,
            compare_pairs(part, name, after, margin=margin if name not in after.header.amounts else 0.0, among=len(looked_at)),
        )
        for by, value, part, name in looked_at
    ]
    return sorted(differences, key=lambda difference: (not difference.moved, -abs(difference.comparison.difference)))


def cost_differences(
    pairs: Sequence[CasePair], before: EvalReport, after: EvalReport, timing: TimingComparison | None = None
) -> Iterator[CostDifference]:
    """Dollars, times, tokens and shares of both; a time is compared where a timing pass measured it."""
    traces = [(pair.before.trace, pair.after.trace, pair.after.case) for pair in pairs]
    both = [(a, b, case) for a, b, case in traces if a and b]
    clusters = clusters_of(case for _, _, case in both)

    def paired(first: Sequence[float], second: Sequence[float]) -> Comparison | None:
        return compare_paired(first, second, clusters, higher_is_better=False, margin=0.0, shares=False) if first else None

    priced = before.costs.get("usd") is not None and after.costs.get("usd") is not None
    money = paired([a.usd for a, _, _ in both], [b.usd for _, b, _ in both]) if priced else None
    yield CostDifference(
        "dollars a query", "simulated $" if before.simulated or after.simulated else "$", *_cost_pair(before, after, "usd"), money
    )
    if timing:
        yield CostDifference("time, measured", "ms", timing.before_ms, timing.after_ms, timing=timing)
    yield CostDifference("time, p50", "ms", before.time("p50"), after.time("p50"), note=f"{NOT_COMPARED}{_kept_text(before, after)}")
    yield CostDifference("time, p95", "ms", before.time("p95"), after.time("p95"), note=NOT_COMPARED)
    for name, unit in (("input_tokens", "tokens"), ("output_tokens", "tokens"), ("refused_share", "share")):
        yield CostDifference(name.replace("_", " "), unit, *_cost_pair(before, after, name))
    for tier in sorted(before.tier_shares.keys() | after.tier_shares.keys()):
        yield CostDifference(f"share of {tier}", "share", before.tier_shares.get(tier), after.tier_shares.get(tier))


def _kept_text(before: EvalReport, after: EvalReport) -> str:
    """How many answers came from the stage store, and so have no time."""
    sides = [f"{name}: {report.kept} of {len(report.traces)} kept" for name, report in (("A", before), ("B", after)) if report.kept]
    return f" ({', '.join(sides)})" if sides else ""


def _cost_pair(before: EvalReport, after: EvalReport, name: str) -> tuple[float | None, float | None]:
    return before.costs.get(name), after.costs.get(name)
