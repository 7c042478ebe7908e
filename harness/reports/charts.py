"""The charts of a sweep's report as Plotly's JSON, in colours for light and dark pages."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

from harness.reports.findings import SweepFindings, state_of, value_of
from harness.reports.plotly import Figure
from harness.reports.values import axis_of, numeric_axis
from harness.stats import Interval
from harness.sweep.trial import Trial

BLUE, ORANGE, GREEN, RED, GREY = "#3f83d6", "#d97b29", "#2a9d6a", "#d5504a", "#8792a0"
RISING = [(0.0, ORANGE), (0.5, "#9a8fa6"), (1.0, BLUE)]  # high is good; of one lightness, so that both ends are seen on either ground
FALLING = [(0.0, BLUE), (0.5, "#9a8fa6"), (1.0, ORANGE)]
SYMBOLS = {"complete": "circle", "pruned": "triangle-down-open", "failed": "x", "beyond a limit": "diamond-open"}
MAX_LINES = 2000  # lines of the parallel coordinates


def figures(findings: SweepFindings) -> dict[str, Figure]:
    """Every chart for which this sweep has data."""
    charts = {"history": history(findings), "tradeoff": tradeoff(findings), "parallel": parallel(findings)}
    if findings.importances:
        charts["importances"] = weights(findings)
    if findings.result and findings.rival:
        charts["gap"] = gap(findings)
        charts["slices"] = slice_chart(findings)
    return {name: charts[name] for name in ("gap", "tradeoff", "importances", "parallel", "history", "slices") if name in charts}


def history(findings: SweepFindings) -> Figure:
    """The goal of every trial in turn, with the best so far."""
    data: list[dict[str, Any]] = []
    best_values = list(_running_best(findings))
    if best_values:
        numbers, values = [number for number, _ in best_values], [value for _, value in best_values]
        line = {"color": BLUE, "width": 2, "shape": "hv"}
        data.append(
            {"type": "scatter", "mode": "lines", "name": "best so far", "x": numbers, "y": values, "line": line, "hoverinfo": "skip"}
        )
    for state, symbol in SYMBOLS.items():
        trials = [trial for trial in findings.trials if state_of(trial) == state and trial.objectives]
        if trials:
            colours = {"complete": BLUE, "pruned": GREY, "failed": RED, "beyond a limit": ORANGE}
            data.append(_points(findings, trials, [trial.number for trial in trials], state, symbol, colours[state]))
    labelled = [trial for trial in findings.trials if trial.label and trial.objective is not None]
    lines = [_reference_line(labelled[-1].objectives[0], labelled[-1].title)] if labelled else []  # the champion, where there is one
    layout = _layout("trial", f"{findings.goal}, tune", legend=_legend(), shapes=lines)
    layout["xaxis"]["dtick"] = max(1, round(len(findings.trials) / 10))  # there is no trial 1.5
    return {"data": data, "layout": layout}


def tradeoff(findings: SweepFindings) -> Figure:
    """The goal against money (or the second objective), coloured by what is read (or the third), and the Pareto front."""
    across, up = findings.axes
    third = _colour_objective(findings)
    data: list[dict[str, Any]] = []
    complete = [trial for trial in findings.trials if trial.state == "complete" and value_of(trial, across) is not None]
    front = sorted((trial for trial in findings.front if trial in complete), key=lambda trial: _scaled(trial, across))
    if len(findings.experiment.objective) <= 2:
        shape = "hv" if findings.sign > 0 else "vh"
        xs, ys = [_scaled(trial, across) for trial in front], [trial.objective for trial in front]
        line = {"color": GREEN, "width": 2, "shape": shape, "dash": "dot"}
        data.append({"type": "scatter", "mode": "lines", "name": "front", "x": xs, "y": ys, "line": line, "hoverinfo": "skip"})
    front_ids = set(map(id, front))
    labelled = (
        findings.rival.trial if findings.rival else findings.best
    )  # beside the base and the champion; finalists often lie on each other
    places = [_scaled(trial, across) for trial in complete]
    centre = (min(places) + max(places)) / 2 if places else 0.0  # names lean inwards
    for name, trials in (("on the front", front), ("beaten", [trial for trial in complete if id(trial) not in front_ids])):
        if trials:
            points = _points(findings, trials, [_scaled(trial, across) for trial in trials], name, "circle", BLUE)
            points["mode"] = "markers+text"
            points["showlegend"] = False
            points["text"] = [_text(_role(findings, trial)) if trial.label or trial is labelled else "" for trial in trials]
            points["textposition"] = ["top right" if _scaled(trial, across) < centre else "top left" for trial in trials]
            points["marker"] = {
                "size": 13 if name == "on the front" else 9,
                "color": [value_of(trial, third) or 0.0 for trial in trials],
                "coloraxis": "coloraxis",
                "line": {"width": 3 if name == "on the front" else 0, "color": GREEN},
            }
            data.append(points)
    bar = {"title": {"text": _label(third), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    colours = {"colorscale": RISING if findings.experiment.direction(third) == "higher" else FALLING, "colorbar": bar}
    return {"data": data, "layout": _layout(_label(across), f"{up}, tune", coloraxis=colours, legend=_legend())}


def weights(findings: SweepFindings) -> Figure:
    """How much each knob mattered, and what chance alone would show."""
    importances = list(reversed(findings.importances))
    names = [_text(importance.path) for importance in importances]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "importance",
        "y": names,
        "x": [importance.share for importance in importances],
        "marker": {"color": [BLUE if importance.beyond_chance else GREY for importance in importances]},
        "hovertemplate": "%{x:.0%}<extra></extra>",
    }
    chance = {
        "type": "scatter",
        "mode": "markers",
        "name": "chance alone stays left of this, 19 times of 20",
        "y": names,
        "x": [importance.chance for importance in importances],
        "marker": {"symbol": "line-ns-open", "size": 22, "color": ORANGE, "line": {"width": 3}},
        "hovertemplate": "chance: %{x:.0%}<extra></extra>",
    }
    layout = _layout("share of all knobs' importance", "", legend=_legend(), height=120 + 34 * len(importances))
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, 1.02]}
    layout["yaxis"]["gridcolor"] = "rgba(0,0,0,0)"
    return {"data": [bars, chance], "layout": layout}


def parallel(findings: SweepFindings) -> Figure:
    """Every trial as a line through its knobs' values, coloured by the goal; a trial that crashed has no goal to colour it by."""
    trials = [trial for trial in reversed(findings.ranked) if trial.state != "failed"][-MAX_LINES:]
    axes = [axis_of([findings.value_at(trial, knob.path) for trial in trials], _short(knob.path)) for knob in findings.experiment.knobs]
    scores = [trial.objectives[0] for trial in trials]
    goal = numeric_axis(scores, _text(findings.goal))
    complete_scores = [
        trial.objectives[0] for trial in trials if trial.state == "complete"
    ] or scores  # a few cases of a poor trial must not stretch it
    line = {
        "color": scores,
        "colorscale": RISING if findings.sign > 0 else FALLING,
        "cmin": min(complete_scores),
        "cmax": max(complete_scores),
        "showscale": False,
    }
    data = {"type": "parcoords", "dimensions": [*axes, goal], "line": line, "labelangle": -18, "labelside": "top"}
    return {"data": [data], "layout": {"height": 360, "margin": {"l": 110, "r": 50, "t": 80, "b": 16}}}


def gap(findings: SweepFindings) -> Figure:
    """The finalists' means on both splits with their intervals."""
    assert findings.result is not None
    finalists = list(reversed(findings.result.finalists))
    names = [_text(_role(findings, finalist.trial)) for finalist in finalists]
    data: list[dict[str, Any]] = []
    for split, shift, colour, fill in (("tune: the best of many", 0.12, GREY, "circle-open"), ("holdout", -0.12, BLUE, "circle")):
        reports = [finalist.trial.report if split.startswith("tune") else finalist.holdout for finalist in finalists]
        data.append(_interval_points([report.summary[findings.goal] for report in reports], names, split, shift, colour, fill))
    layout = _layout(findings.goal, "", legend=_legend(), height=140 + 58 * len(names))
    layout["yaxis"] |= {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
    return {"data": data, "layout": layout}


def slice_chart(findings: SweepFindings) -> Figure:
    """Incumbent and rival on the holdout, by kind of question and by domain."""
    assert findings.result is not None
    assert findings.rival is not None
    both = (findings.result.incumbent, findings.rival)
    names: list[str] = []
    parts: tuple[list[Interval], list[Interval]] = ([], [])
    for by in ("domain", "kind"):
        incumbent_slices, rival_slices = (finalist.holdout.slices(by, findings.goal) for finalist in both)
        for name in reversed([name for name in incumbent_slices if incumbent_slices[name].count and name in rival_slices]):
            names.append(f"{_text(name)} ({incumbent_slices[name].count})")
            parts[0].append(incumbent_slices[name])
            parts[1].append(rival_slices[name])
    data = [
        _interval_points(intervals, names, _text(_role(findings, finalist.trial)), shift, colour, "circle")
        for finalist, intervals, shift, colour in zip(both, parts, (0.15, -0.15), (GREY, BLUE), strict=True)
    ]
    layout = _layout(f"{findings.goal}, holdout", "", legend=_legend(), height=140 + 42 * len(names))
    layout["yaxis"] |= {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
    return {"data": data, "layout": layout}


def _interval_points(
    intervals: Sequence[Interval], names: Sequence[str], name: str, shift: float, colour: str, symbol: str
) -> dict[str, Any]:
    """Means with their intervals, a row each."""
    means = [interval.mean for interval in intervals]
    above = [(interval.high or 0.0) - (interval.mean or 0.0) for interval in intervals]
    below = [(interval.mean or 0.0) - (interval.low or 0.0) for interval in intervals]
    hover_texts = [f"{row}<br>{name}: {_interval_text(interval)}" for row, interval in zip(names, intervals, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": means,
        "y": [place + shift for place in range(len(intervals))],
        "error_x": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour, "thickness": 2, "width": 0},
        "marker": {"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2, "color": colour}},
        "hovertext": hover_texts,
        "hoverinfo": "text",
    }


def _points(findings: SweepFindings, trials: Sequence[Trial], xs: Sequence[float], name: str, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(xs),
        "y": [trial.objective for trial in trials],
        "marker": {"symbol": symbol, "size": 9, "color": colour},
        "hovertext": [_hover(findings, trial) for trial in trials],
        "hoverinfo": "text",
    }


def _hover(findings: SweepFindings, trial: Trial) -> str:
    """The hover text of a trial: its score and a line for each knob."""
    usd = value_of(trial, "cost.usd")
    head = [f"{trial.label or 'trial'} {trial.number}: {findings.goal} {trial.score_text(findings.cases)}, {state_of(trial)}"]
    head += [f"${usd:.6f} a query"] if usd is not None else []
    return "<br>".join(_text(line) for line in [*head, *(f"{path} = {value}" for path, value in trial.values.items())])


def _running_best(findings: SweepFindings) -> Iterator[tuple[int, float]]:
    best: float | None = None
    for trial in sorted(findings.trials, key=lambda trial: trial.number):
        if trial.usable and trial.objective is not None and (best is None or trial.merit(findings.sign) > findings.sign * best):
            best = trial.objective
        if best is not None:
            yield trial.number, best


def _colour_objective(findings: SweepFindings) -> str:
    """The objective that colours the trade-off chart."""
    return findings.experiment.objective[2] if len(findings.experiment.objective) > 2 else "cost.input_tokens"


def _scaled(trial: Trial, name: str) -> float:
    """A number in the unit of its label: dollars are shown for a thousand queries."""
    return (value_of(trial, name) or 0.0) * (1000.0 if name == "cost.usd" else 1.0)


def _label(name: str) -> str:
    labels = {"cost.usd": "$ per 1,000 queries", "ms.total.p95": "ms, p95", "cost.input_tokens": "tokens read"}
    return _text(labels.get(name, name))


def _role(findings: SweepFindings, trial: Trial) -> str:
    """The name of a trial in a chart."""
    name = trial.label or f"trial {trial.number}"
    if findings.result is None:
        return f"{name}, best so far" if trial is findings.best else name
    if trial is not findings.result.winner.trial:
        return name
    return f"{name}, stays" if findings.result.winner is findings.result.incumbent else f"{name}, winner"


def _interval_text(interval: Interval) -> str:
    return "–" if interval.mean is None or interval.low is None else f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _reference_line(value: float, name: str) -> dict[str, Any]:
    """A dashed line across a chart, named in its legend: beside the line its name would lie on points."""
    line = {"color": GREY, "width": 1, "dash": "dash"}
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value}
    return {"type": "line", "line": line, "name": _text(name), "showlegend": True, **across}


def _layout(across: str, up: str, **more: Any) -> dict[str, Any]:
    return {
        "height": 380,
        "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
        "xaxis": {"title": {"text": across}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": up}, "automargin": True, "zeroline": False},
        **more,
    }


def _legend() -> dict[str, Any]:
    return {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}


def _short(path: str) -> str:
    return _text(".".join(path.split(".")[-2:]))


def _text(value: object, most: int = 80) -> str:
    """A text with HTML escaped, since Plotly would interpret it."""
    text = str(value)
    return html.escape(text if len(text) <= most else text[: most - 1] + "…", quote=False)
