"""A comparison as files that one can open: HTML, Markdown and JSON."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.comparison.values import Flip, MetricDifference, ReportComparison
from harness.gate.summary import markdown_literal
from harness.golden.case import Case
from harness.reports import render
from harness.stats import Comparison
from harness.stats.text import difference_text, number_text, p_value_text
from serving.pipeline.types import Hit
from serving.storage.files import write_text

SHOWN = 40  # flipped cases of each way in the HTML; the JSON has all
WAYS = {"lost": "Lost by B", "gained": "Gained by B", "mixed": "Gained by one metric, lost by another"}


def write_comparison(found: ReportComparison, labels: tuple[str, str], folder: Path) -> Path:
    """Write `report.html`, `report.md` and `compare.json`; returns the HTML's path."""
    reach = [abs(end) for one in found.metrics for end in (one.comparison.low, one.comparison.high)]
    page = render(
        "compare.html.j2",
        title=f"{labels[0]} against {labels[1]}",
        found=found,
        labels=labels,
        scale=max(reach, default=0.0) or 1.0,
        moved=[one for one in found.slices if one.comparison.outcome != "tie"],
        ways=WAYS,
        shown=SHOWN,
        p_value_text=p_value_text,
        holds=holds_evidence,
        value_text=value_text,
    )
    write_text(folder / "compare.json", json.dumps(comparison_json(found, labels), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "report.md", "\n".join(_markdown(found, labels)) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def comparison_json(found: ReportComparison, labels: tuple[str, str]) -> dict[str, Any]:
    """The comparison as plain data for JSON, without the traces."""
    head = found.after.header
    return {
        "a": {"label": labels[0], "config_digest": found.before.header.config_digest, "cases": len(found.before.rows)},
        "b": {"label": labels[1], "config_digest": head.config_digest, "cases": len(found.after.rows)},
        "golden": head.golden,
        "golden_digest": head.golden_digest,
        "split": head.split,
        "cases": found.cases,
        "verdict": found.verdict,
        "notes": list(found.notes),
        "metrics": [
            {
                "metric": one.metric,
                "direction": one.direction,
                "a": asdict(one.before),
                "b": asdict(one.after),
                **_comparison(one.comparison),
                "p_uncorrected": one.raw_p,
                "unscored_by_one": one.unpaired,
            }
            for one in found.metrics
        ],
        "slices": [{"by": one.by, "slice": one.name, "metric": one.metric, **_comparison(one.comparison)} for one in found.slices],
        "spending": [
            {"name": one.name, "unit": one.unit, "a": one.before, "b": one.after}
            | ({"difference": _comparison(one.comparison)} if one.comparison else {})
            for one in found.costs
        ],
        "changes": [asdict(change) for change in found.changes],
        "flips": [_flip(flip) for flip in found.flips],
    }


def detectable_text(one: Comparison) -> str:
    """The smallest difference that could be seen; nothing where nothing moved."""
    return f"{one.detectable:.3f}" if 0.0 < one.detectable < math.inf else "–"


def value_text(value: float | None, unit: str) -> str:
    """A cost, a time or a share as one reads it."""
    if value is None:
        return "unknown"
    if "$" in unit:
        return f"${value:.6f}"
    return f"{value:.1%}" if unit == "share" else f"{value:.0f} {unit}"


def holds_evidence(hit: Hit, case: Case) -> bool:
    """Whether a hit shows any of the words, or the document, that hold the answer."""
    if case.evidence:
        return any(piece.span.overlap(hit.chunk.span) for piece in case.evidence)
    return hit.chunk.document_id in case.documents


def _comparison(one: Comparison) -> dict[str, Any]:
    return asdict(one) | {"detectable": one.detectable if math.isfinite(one.detectable) else None}


def _flip(flip: Flip) -> dict[str, Any]:
    case, a, b = flip.after.case, flip.before.trace, flip.after.trace
    return {
        "case": case.id,
        "question": case.question,
        "way": flip.outcome,
        "moves": [asdict(move) for move in flip.moves],
        "answers": [trace.answer.text if trace else None for trace in (a, b)],
        "hits": [[hit.chunk.id for hit in trace.hits] if trace else None for trace in (a, b)],
    }


def _markdown(found: ReportComparison, labels: tuple[str, str]) -> list[str]:
    head, (a, b) = found.after.header, map(markdown_literal, labels)
    lines = [
        f"# {found.verdict}",
        "",
        f"A: {a}, B: {b}. {head.golden} {head.split}, {found.cases} cases. Differences are B − A; p after Holm.",
        *("\n" + f"**Note:** {markdown_literal(note, 400)}" for note in found.notes),
        "",
        "| metric | A | B | difference, 95 % interval | p (Holm) | verdict | detectable | cases |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(one) for one in found.metrics),
        "",
        f"Cases that flipped: {len(found.flipped('gained'))} gained by B, {len(found.flipped('lost'))} lost"
        + (f", {len(mixed)} by one metric gained and by another lost." if (mixed := found.flipped("mixed")) else "."),
    ]
    if moved := [one for one in found.slices if one.comparison.outcome != "tie"]:
        lines += ["", f"Slices that moved, p after Holm over {len(found.slices)}:", ""]
        lines += [
            f"- {one.by} {markdown_literal(one.name)}: {one.metric} {difference_text(one.comparison)}, {one.comparison.outcome}"
            for one in moved
        ]
    lines += ["", "| | A | B |", "|---|---|---|"]
    for one in found.costs:
        name = f"{one.name} (simulated)" if one.unit.startswith("simulated") else one.name
        lines.append(f"| {name} | {value_text(one.before, one.unit)} | {value_text(one.after, one.unit)} |")
    if found.changes:
        lines += ["", "| configuration | A | B |", "|---|---|---|"]
        lines += [f"| {change.path} | `{_cell(change.before)}` | `{_cell(change.after)}` |" for change in found.changes]
    return lines


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("`", "'").replace("\n", " ")


def _row(one: MetricDifference) -> str:
    held = one.comparison
    cells = [one.metric, number_text(one.before.mean), number_text(one.after.mean), difference_text(held), p_value_text(held.p_value)]
    return "| " + " | ".join([*cells, held.outcome, detectable_text(held), str(held.count)]) + " |"
