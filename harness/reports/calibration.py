"""A calibration as files that one can open: HTML, Markdown and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from harness.calibrate.artefact import StoredThreshold
from harness.calibrate.baselines import baseline_curves
from harness.calibrate.calibrate import CurvePoint, ThresholdCalibration, percent
from harness.calibrate.families import FamilyRow, family_rows
from harness.calibrate.labelled import LabelledDecisions
from harness.reports.calibration_charts import calibration_figures
from harness.reports.page import markdown_table, one_line, render
from harness.reports.plotly import Charts
from serving.storage.files import write_text

TABLE_ROWS = 14


def write_calibration(
    calibration: ThresholdCalibration, labelled: LabelledDecisions, kept: StoredThreshold | None, folder: Path, *, title: str, date: str
) -> Path:
    """Write `report.html`, `report.md` and `calibration.json`; returns the HTML's path."""
    curves = baseline_curves(labelled.examples, calibration.limit, labelled.baselines)
    threshold = calibration.threshold
    families = family_rows(labelled.examples, calibration.limit, threshold) if threshold is not None else []
    charts = calibration_figures(calibration, curves, labelled.wording)
    page = render(
        "calibration.html.j2",
        title=title,
        date=date,
        calibration=calibration,
        labelled=labelled,
        verdict=verdict_text(calibration, labelled),
        facts=fact_rows(calibration, labelled),
        charts=Charts(charts) if charts else None,
        rows=_table_points(calibration),
        families=families,
        baselines=baseline_rows(calibration, curves),
        kept=kept,
        config=config_text(kept) if kept else "",
        percent=percent,
    )
    write_text(folder / "calibration.json", json.dumps(calibration_json(calibration, labelled, kept), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "report.md", "\n".join(_markdown(calibration, labelled, kept, families, curves, title, date)) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def verdict_text(calibration: ThresholdCalibration, labelled: LabelledDecisions) -> str:
    """The outcome in a sentence."""
    if calibration.point is None or calibration.bound is None:
        return f"No safe threshold. {calibration.reason}"
    return f"Threshold {calibration.threshold:.6g}: {risk_text(calibration, labelled)}."


def risk_text(calibration: ThresholdCalibration, labelled: LabelledDecisions) -> str:
    """What was proven, and of what."""
    assert calibration.point is not None
    assert calibration.bound is not None
    limit, wording = calibration.limit, labelled.wording
    among = wording.action if limit.kind == "per_action" else wording.decision
    bound, confidence = percent(calibration.bound), percent(1 - (calibration.tested_at or limit.error))
    return f"{percent(calibration.point.risk)} of the {among} {wording.loss} as seen, at most {bound} with {confidence} confidence"


def fact_rows(calibration: ThresholdCalibration, labelled: LabelledDecisions) -> list[tuple[str, str]]:
    """What else is known, by name."""
    limit, point = calibration.limit, calibration.point
    among = "those that act" if limit.kind == "per_action" else f"all {labelled.wording.decision}"
    rows = [
        ("asked for", f"risk below {percent(limit.level)} of {among}, with {percent(limit.confidence)} confidence"),
        ("labels", _labels_text(calibration, labelled)),
        ("scored by", labelled.scorer),
    ]
    if point is not None:
        oracle = f", {percent(point.oracle_share)} of an oracle's" if point.oracle_share is not None else ""
        rows.append(("acts", f"on {percent(point.action_rate)} ({point.actions:,})"))
        rows.append((labelled.wording.benefit, f"{point.benefit:.4g} per decision{oracle}"))
    return rows


def calibration_json(calibration: ThresholdCalibration, labelled: LabelledDecisions, kept: StoredThreshold | None) -> dict[str, Any]:
    """The calibration as plain data for JSON."""
    plain = asdict(calibration)
    return {
        "stage": labelled.stage,
        "outcome": "threshold" if calibration.threshold is not None else "no safe threshold",
        **plain,
        "scorer": labelled.scorer,
        "data": dict(labelled.data),
        "fitted_on": labelled.fit_count,
        "artefact": kept.digest if kept else None,
        "config": dict(kept.config) if kept else None,
        "source_notes": list(labelled.notes),
    }


def config_text(kept: StoredThreshold) -> str:
    """The values that use an artefact, as they stand in a configuration file."""
    nested: dict[str, Any] = {}
    for path, value in kept.config.items():
        node = nested
        *parents, last = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return yaml.safe_dump(nested, sort_keys=False, allow_unicode=True)


def baseline_rows(calibration: ThresholdCalibration, curves: Mapping[str, tuple[CurvePoint, ...]]) -> list[tuple[str, CurvePoint | None]]:
    """Where each score's risk as seen is still below the level: what it reaches at best, without a bound."""
    level = calibration.limit.level
    named = {"this score": calibration.curve, **curves}
    return [
        (name, max((point for point in points if point.risk <= level), key=lambda point: point.benefit, default=None))
        for name, points in named.items()
    ]


def _labels_text(calibration: ThresholdCalibration, labelled: LabelledDecisions) -> str:
    groups = f" in {calibration.groups:,} groups, each counts once" if calibration.groups < calibration.examples else ""
    if calibration.limit.kind == "per_decision" and calibration.deciding < calibration.groups:
        groups += f", {calibration.deciding:,} of them {labelled.wording.decision}"
    fitted = f"; {labelled.fit_count:,} others were used for fitting" if labelled.fit_count else ""
    return f"{calibration.examples:,}{groups}{fitted}"


def _table_points(calibration: ThresholdCalibration) -> list[CurvePoint]:
    """Some points of the curve, the chosen one among them."""
    curve = calibration.curve
    step = max(1, len(curve) // TABLE_ROWS)
    return [point for number, point in enumerate(curve) if number % step == 0 or point == calibration.point or number == len(curve) - 1]


def _markdown(
    calibration: ThresholdCalibration,
    labelled: LabelledDecisions,
    kept: StoredThreshold | None,
    families: list[FamilyRow],
    curves: Mapping[str, tuple[CurvePoint, ...]],
    title: str,
    date: str,
) -> list[str]:
    lines = [f"# {one_line(title)}", "", f"{labelled.stage}, {date}", "", f"**{one_line(verdict_text(calibration, labelled))}**", ""]
    lines += [f"- {name}: {one_line(value)}" for name, value in fact_rows(calibration, labelled)]
    lines += [f"- {one_line(note)}" for note in (*calibration.notes, *labelled.notes)]
    head = ["threshold", "act", "risk seen", "at most", "share of the oracle's benefit"]
    rows = [
        [f"{point.threshold:.4g}", percent(point.action_rate), percent(point.risk), percent(point.upper), _share(point.oracle_share)]
        for point in _table_points(calibration)
    ]
    lines += ["", *markdown_table(head, rows)]
    best = [
        [name, percent(point.action_rate) if point else "–", _share(point.oracle_share) if point else "–"]
        for name, point in baseline_rows(calibration, curves)
    ]
    lines += ["", "Where the risk as seen, without a bound, is still below the level:", ""]
    lines += markdown_table(["score", "act", "share of the oracle's benefit"], best)
    if families:
        cells = [
            [row.family, f"{row.examples}", f"{row.actions}", "–" if row.risk is None else percent(row.risk), _share(row.oracle_share)]
            for row in families
        ]
        lines += ["", *markdown_table(["family", "labels", "act", "risk seen", "share of the oracle's benefit"], cells)]
    if kept:
        lines += ["", f"Artefact `{kept.digest}`:", "", "```yaml", config_text(kept).rstrip(), "```"]
    return lines


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)
