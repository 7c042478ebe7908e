"""A comparison as files that one can open: HTML, Markdown and JSON."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.comparison.values import CaseFlip, CostDifference, MetricDifference, ReportComparison
from harness.gate.summary import markdown_literal
from harness.golden.case import Case
from harness.reports import render
from harness.results.restricted import row_for_everyone
from harness.results.times import timing_text
from harness.stats import Comparison
from harness.stats.text import DETECTABLE, difference_text, number_text, p_value_text
from serving.pipeline.types import Hit
from serving.storage.files import write_text

MAX_FLIPS = 40  # flipped cases of each way in the HTML; the JSON has all
FLIP_TITLES = {"lost": "Lost by B", "gained": "Gained by B", "mixed": "Gained by one metric, lost by another"}


def write_comparison(comparison: ReportComparison, labels: tuple[str, str], folder: Path) -> Path:
    """Write `report.html`, `report.md` and `compare.json`, without the words of restricted passages; returns the HTML's path."""
    comparison = replace(comparison, flips=tuple(_flip_for_everyone(flip) for flip in comparison.flips))
    ends = [abs(end) for difference in comparison.metrics for end in (difference.comparison.low, difference.comparison.high)]
    page = render(
        "compare.html.j2",
        title=f"{labels[0]} against {labels[1]}",
        comparison=comparison,
        labels=labels,
        scale=max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0,
        moved=[difference for difference in comparison.slices if difference.moved],
        flip_titles=FLIP_TITLES,
        max_flips=MAX_FLIPS,
        p_value_text=p_value_text,
        difference_text=difference_text,
        detectable_text=detectable_text,
        detectable_means=DETECTABLE,
        holds_evidence=holds_evidence,
        cost_text=cost_text,
        cost_difference_text=cost_difference_text,
    )
    write_text(folder / "compare.json", json.dumps(comparison_json(comparison, labels), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "report.md", "\n".join(_markdown(comparison, labels)) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def comparison_json(comparison: ReportComparison, labels: tuple[str, str]) -> dict[str, Any]:
    """The comparison as plain data for JSON, without the traces."""
    head = comparison.after.header
    return {
        "a": {"label": labels[0], "config_digest": comparison.before.header.config_digest, "cases": len(comparison.before.rows)},
        "b": {"label": labels[1], "config_digest": head.config_digest, "cases": len(comparison.after.rows)},
        "golden": head.golden,
        "golden_digest": head.golden_digest,
        "split": head.split,
        "cases": comparison.cases,
        "verdict": comparison.verdict,
        "margin": comparison.margin,
        "notes": list(comparison.notes),
        "metrics": [
            {
                "metric": difference.metric,
                "direction": difference.direction,
                "a": asdict(difference.before),
                "b": asdict(difference.after),
                **_comparison(difference.comparison),
                "unscored_by_one": difference.unpaired,
            }
            for difference in comparison.metrics
        ],
        "slices": [
            {"by": difference.by, "slice": difference.name, "metric": difference.metric, **_comparison(difference.comparison)}
            for difference in comparison.slices
        ],
        "spending": [
            {"name": difference.name, "unit": difference.unit, "a": difference.before, "b": difference.after}
            | ({"difference": _comparison(difference.comparison)} if difference.comparison else {})
            | ({"timing": asdict(difference.timing)} if difference.timing else {})
            | ({"note": difference.note} if difference.note else {})
            for difference in comparison.costs
        ],
        "changes": [asdict(change) for change in comparison.changes],
        "flips": [_flip(flip) for flip in comparison.flips],
    }


def detectable_text(comparison: Comparison) -> str:
    """The smallest difference that could be seen at the spread seen here; a dash where none could."""
    most = 1.0 if comparison.bounded else math.inf
    return f"{comparison.detectable:.3f}" if 0.0 < comparison.detectable < most else "–"


def cost_text(value: float | None, unit: str) -> str:
    """A cost, a time or a share as one reads it."""
    if value is None:
        return "kept" if unit == "ms" else "unknown"  # no answer was computed, so none was timed
    if "$" in unit:
        return f"${value:.6f}"
    return f"{value:.1%}" if unit == "share" else f"{value:.0f} {unit}"


def cost_difference_text(difference: CostDifference) -> str:
    """What is known of a difference in cost or time: its interval, its measured ratio, or why there is neither."""
    if difference.timing:
        return f"{timing_text(difference.timing)} ({difference.timing.count} cases)"
    return difference_text(difference.comparison, 6 if "$" in difference.unit else 1) if difference.comparison else difference.note


def holds_evidence(hit: Hit, case: Case) -> bool:
    """Whether a hit shows any of the words, or the document, that hold the answer."""
    if case.evidence:
        return any(piece.span.overlap(hit.chunk.span) for piece in case.evidence)
    return hit.chunk.document_id in case.documents


def _comparison(comparison: Comparison) -> dict[str, Any]:
    plain = asdict(comparison)
    plain |= {name: value if math.isfinite(value := plain[name]) else None for name in ("low", "high", "detectable")}
    return plain | {"p_uncorrected": plain.pop("raw_p")}


def _flip_for_everyone(flip: CaseFlip) -> CaseFlip:
    """A flip marked on both sides where one of them is restricted."""
    before, after = row_for_everyone(flip.before), row_for_everyone(flip.after)
    return flip if (before, after) == (flip.before, flip.after) else replace(flip, before=before, after=after)


def _flip(flip: CaseFlip) -> dict[str, Any]:
    case, a, b = flip.after.case, flip.before.trace, flip.after.trace
    return {
        "case": case.id,
        "question": case.question,
        "way": flip.outcome,
        "moves": [asdict(move) for move in flip.moves],
        "answers": [trace.answer.text if trace else None for trace in (a, b)],
        "hits": [[hit.chunk.id for hit in trace.hits] if trace else None for trace in (a, b)],
    }


def _markdown(comparison: ReportComparison, labels: tuple[str, str]) -> list[str]:
    head, (a, b) = comparison.after.header, map(markdown_literal, labels)
    lines = [
        f"# {comparison.verdict}",
        "",
        f"A: {a}, B: {b}. {head.golden} {head.split}, {comparison.cases} cases. Differences are B − A.",
        "",
        comparison.explanation,
        *("\n" + f"**Note:** {markdown_literal(note, 400)}" for note in comparison.notes),
        "",
        "| metric | A | B | difference, interval | p | verdict | detectable | cases |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(difference) for difference in comparison.metrics),
        "",
        f"Detectable: {DETECTABLE}.",
        "",
        f"Cases that flipped: {len(comparison.flipped('gained'))} gained by B, {len(comparison.flipped('lost'))} lost"
        + (f", {len(mixed)} by one metric gained and by another lost." if (mixed := comparison.flipped("mixed")) else "."),
    ]
    if moved := [difference for difference in comparison.slices if difference.moved]:
        lines += ["", f"Slices that moved, corrected for the {len(comparison.slices)} looked at:", ""]
        lines += [
            f"- {part.by} {markdown_literal(part.name)}: {part.metric} {difference_text(part.comparison)}, {part.comparison.outcome}"
            for part in moved
        ]
    lines += ["", "| | A | B | B − A |", "|---|---|---|---|"]
    for difference in comparison.costs:
        name = f"{difference.name} (simulated)" if difference.unit.startswith("simulated") else difference.name
        cells = (cost_text(difference.before, difference.unit), cost_text(difference.after, difference.unit))
        lines.append(f"| {name} | {' | '.join(cells)} | {cost_difference_text(difference)} |")
    if comparison.changes:
        lines += ["", "| configuration | A | B |", "|---|---|---|"]
        lines += [f"| {change.path} | `{_cell(change.before)}` | `{_cell(change.after)}` |" for change in comparison.changes]
    return lines


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("`", "'").replace("\n", " ")


def _row(difference: MetricDifference) -> str:
    comparison = difference.comparison
    cells = [
        difference.metric,
        number_text(difference.before.mean),
        number_text(difference.after.mean),
        difference_text(comparison),
        p_value_text(comparison.p_value),
    ]
    return "| " + " | ".join([*cells, comparison.outcome, detectable_text(comparison), str(comparison.count)]) + " |"
