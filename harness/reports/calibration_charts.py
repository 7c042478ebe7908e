"""The charts of a calibration as Plotly's JSON."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from harness.calibrate.calibrate import CurvePoint, ThresholdCalibration, percent
from harness.calibrate.labelled import DecisionTerms
from harness.reports.charts import BLUE, GREEN, GREY, ORANGE, RED
from harness.reports.plotly import Figure

FEW = 15  # points
BAND = "rgba(63, 131, 214, 0.18)"
OTHERS = (ORANGE, GREEN, "#8a63c9", "#b58a2c")


def calibration_figures(
    calibration: ThresholdCalibration, baselines: Mapping[str, Sequence[CurvePoint]], wording: DecisionTerms
) -> dict[str, Figure]:
    """Risk against benefit, and both against the threshold."""
    if not calibration.curve:
        return {}
    return {"tradeoff": _tradeoff(calibration, baselines, wording), "thresholds": _thresholds(calibration, wording)}


def _tradeoff(calibration: ThresholdCalibration, baselines: Mapping[str, Sequence[CurvePoint]], wording: DecisionTerms) -> Figure:
    """The risk of every threshold, with its bound, against the share of the benefit that is reached."""
    curve, top = calibration.curve, _top(calibration)
    xs = [_reached(point) for point in curve]
    data = _band(xs, calibration)
    for number, (name, points) in enumerate(baselines.items()):
        chance = name == "chance"
        line = {"color": GREY if chance else OTHERS[number % len(OTHERS)], "width": 2, "dash": "dot" if chance else "dash"}
        data.append(_line([_reached(point) for point in points], [point.risk for point in points], _text(name), line))
    if calibration.point is not None:
        data.append(_chosen(_reached(calibration.point), calibration))
    oracle = any(point.oracle_share is not None for point in curve)
    across = f"{wording.benefit}, share of what an oracle reaches" if oracle else f"share of the {wording.decision} that act"
    return {"data": data, "layout": _layout(across, _risk_title(wording, calibration), top, calibration.limit.level)}


def _thresholds(calibration: ThresholdCalibration, wording: DecisionTerms) -> Figure:
    """Risk, bound and the share that acts against the threshold."""
    xs = [point.threshold for point in calibration.curve]
    data = _band(xs, calibration)
    rates = _line(
        xs, [point.action_rate for point in calibration.curve], "share that acts (right)", {"color": GREEN, "width": 2, "dash": "dot"}
    )
    data.append(rates | {"yaxis": "y2"})
    if calibration.point is not None:
        data.append(_chosen(calibration.point.threshold, calibration))
    layout = _layout("threshold", _risk_title(wording, calibration), _top(calibration), calibration.limit.level)
    layout["xaxis"] |= {"tickformat": "", "rangemode": "normal"}
    right = {
        "overlaying": "y",
        "side": "right",
        "range": [-0.02, 1],
        "tickvals": [0, 0.25, 0.5, 0.75, 1],
        "tickformat": ".0%",
        "showgrid": False,
        "automargin": True,
    }
    return {"data": data, "layout": layout | {"yaxis2": right | {"title": {"text": "share that acts"}}}}


def _band(xs: Sequence[float], calibration: ThresholdCalibration) -> list[dict[str, Any]]:
    """The risk seen, and the area up to its bound."""
    curve = calibration.curve
    hover = [
        f"threshold {point.threshold:.4g}<br>{point.actions:,} act ({percent(point.action_rate)})<br>risk {percent(point.risk)}, "
        f"at most {percent(point.upper)}"
        for point in curve
    ]
    confidence = percent(calibration.limit.confidence)
    risk = _line(xs, [point.risk for point in curve], "risk seen", {"color": BLUE, "width": 2.5}) | {
        "hovertext": hover,
        "hoverinfo": "text",
    }
    upper = _line(xs, [point.upper for point in curve], f"at most, with {confidence} confidence", {"color": BLUE, "width": 1})
    return [risk, upper | {"fill": "tonexty", "fillcolor": BAND, "hoverinfo": "skip"}]


def _line(xs: Sequence[float], ys: Sequence[float], name: str, line: Mapping[str, Any]) -> dict[str, Any]:
    mode = "lines" if len(xs) > FEW else "lines+markers"  # between few thresholds a line says nothing
    return {"type": "scatter", "mode": mode, "name": name, "x": list(xs), "y": list(ys), "line": dict(line)}


def _chosen(x: float, calibration: ThresholdCalibration) -> dict[str, Any]:
    assert calibration.point is not None
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"chosen: {calibration.point.threshold:.4g}",
        "x": [x],
        "y": [calibration.point.risk],
        "marker": {"color": BLUE, "size": 13, "line": {"width": 2, "color": GREEN}},
    }


def _layout(across: str, up: str, top: float, level: float) -> dict[str, Any]:
    dashed = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": level,
        "y1": level,
        "line": {"color": RED, "width": 2, "dash": "dash"},
    }
    label = {"text": f"level {percent(level)}", "font": {"color": RED}, "xanchor": "left", "textposition": "start"}
    return {
        "height": 400,
        "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
        "xaxis": {
            "title": {"text": _text(across)},
            "automargin": True,
            "zeroline": False,
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        "yaxis": {
            "title": {"text": up},
            "automargin": True,
            "tickformat": ".1%",
            "range": [min(0.0, -0.02 * top), top],
        },
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "shapes": [dashed | {"label": label}],
    }


def _top(calibration: ThresholdCalibration) -> float:
    """How far up the risk is drawn: some levels, or all that was seen where that is less."""
    seen = max(point.risk for point in calibration.curve)
    return min(calibration.limit.high, max(4 * calibration.limit.level, min(1.3 * seen, 12 * calibration.limit.level)))


def _risk_title(wording: DecisionTerms, calibration: ThresholdCalibration) -> str:
    among = wording.action if calibration.limit.kind == "per_action" else wording.decision
    return f"{_text(wording.loss)}<br>of {_text(among)}"


def _reached(point: CurvePoint) -> float:
    return point.action_rate if point.oracle_share is None else point.oracle_share


def _text(value: str) -> str:
    return html.escape(value[:60], quote=False)
