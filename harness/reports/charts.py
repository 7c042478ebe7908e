"""The figures of a sweep's report, as Plotly's JSON: colours that read on white and on black, texts escaped."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

from harness.reports.findings import SweepFindings, state_of, value_of
from harness.reports.plotly import Figure
from harness.reports.values import axis_of, measured
from harness.stats import Interval
from harness.sweep.trial import Trial

BLUE, ORANGE, GREEN, RED, GREY = "#3f83d6", "#d97b29", "#2a9d6a", "#d5504a", "#8792a0"
RISING = [(0.0, ORANGE), (0.5, "#9a8fa6"), (1.0, BLUE)]  # high is good; of one lightness, so that both ends are seen on either ground
FALLING = [(0.0, BLUE), (0.5, "#9a8fa6"), (1.0, ORANGE)]
SYMBOLS = {"complete": "circle", "pruned": "triangle-down-open", "failed": "x", "beyond a limit": "diamond-open"}
MOST = 2000  # lines of the parallel coordinates


def figures(findings: SweepFindings) -> dict[str, Figure]:
    """Every chart that this sweep has something to show in."""
    made = {"history": history(findings), "tradeoff": tradeoff(findings), "parallel": parallel(findings)}
    if findings.importances:
        made["importances"] = weights(findings)
    if findings.result and findings.rival:
        made["gap"] = gap(findings)
        made["slices"] = slice_chart(findings)
    return {name: made[name] for name in ("gap", "tradeoff", "importances", "parallel", "history", "slices") if name in made}


def history(findings: SweepFindings) -> Figure:
    """The goal of every trial in turn, with the best so far."""
    data: list[dict[str, Any]] = []
    steps = list(_running_best(findings))
    if steps:
        numbers, values = [number for number, _ in steps], [value for _, value in steps]
        line = {"color": BLUE, "width": 2, "shape": "hv"}
        data.append(
            {"type": "scatter", "mode": "lines", "name": "best so far", "x": numbers, "y": values, "line": line, "hoverinfo": "skip"}
        )
    for state, symbol in SYMBOLS.items():
        some = [one for one in findings.trials if state_of(one) == state and one.objectives]
        if some:
            colours = {"complete": BLUE, "pruned": GREY, "failed": RED, "beyond a limit": ORANGE}
            data.append(_points(findings, some, [one.number for one in some], state, symbol, colours[state]))
    given = [one for one in findings.trials if one.label and one.objective is not None]
    marks = [_mark(given[-1].objectives[0], given[-1].title)] if given else []  # the champion, where there is one
    layout = _layout("trial", f"{findings.goal}, tune", legend=_legend(), shapes=marks)
    layout["xaxis"]["dtick"] = max(1, round(len(findings.trials) / 10))  # there is no trial 1.5
    return {"data": data, "layout": layout}


def tradeoff(findings: SweepFindings) -> Figure:
    """The goal against money (or the second objective), coloured by time (or the third), and the front that no other trial beats."""
    across, up = findings.axes
    third = _third(findings)
    data: list[dict[str, Any]] = []
    drawn = [one for one in findings.trials if one.state == "complete" and value_of(one, across) is not None]
    front = sorted((one for one in findings.front if one in drawn), key=lambda one: _scaled(one, across))
    if len(findings.experiment.objective) <= 2:
        shape = "hv" if findings.sign > 0 else "vh"
        xs, ys = [_scaled(one, across) for one in front], [one.objective for one in front]
        line = {"color": GREEN, "width": 2, "shape": shape, "dash": "dot"}
        data.append({"type": "scatter", "mode": "lines", "name": "front", "x": xs, "y": ys, "line": line, "hoverinfo": "skip"})
    ringed = set(map(id, front))
    named = findings.rival.trial if findings.rival else findings.best  # beside the base and the champion; finalists often lie on each other
    places = [_scaled(one, across) for one in drawn]
    middle = (min(places) + max(places)) / 2 if places else 0.0  # names lean inwards
    for name, some in (("on the front", front), ("beaten", [one for one in drawn if id(one) not in ringed])):
        if some:
            points = _points(findings, some, [_scaled(one, across) for one in some], name, "circle", BLUE)
            points["mode"] = "markers+text"
            points["showlegend"] = False
            points["text"] = [_text(_role(findings, one)) if one.label or one is named else "" for one in some]
            points["textposition"] = ["top right" if _scaled(one, across) < middle else "top left" for one in some]
            points["marker"] = {
                "size": 13 if name == "on the front" else 9,
                "color": [value_of(one, third) or 0.0 for one in some],
                "coloraxis": "coloraxis",
                "line": {"width": 3 if name == "on the front" else 0, "color": GREEN},
            }
            data.append(points)
    bar = {"title": {"text": _label(third), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    colours = {"colorscale": RISING if findings.experiment.direction(third) == "higher" else FALLING, "colorbar": bar}
    return {"data": data, "layout": _layout(_label(across), f"{up}, tune", coloraxis=colours, legend=_legend())}


def weights(findings: SweepFindings) -> Figure:
    """How much each knob mattered, and what chance alone would show."""
    listed = list(reversed(findings.importances))
    names = [_text(one.path) for one in listed]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "importance",
        "y": names,
        "x": [one.share for one in listed],
        "marker": {"color": [BLUE if one.beyond_chance else GREY for one in listed]},
        "hovertemplate": "%{x:.0%}<extra></extra>",
    }
    chance = {
        "type": "scatter",
        "mode": "markers",
        "name": "chance alone stays left of this, 19 times of 20",
        "y": names,
        "x": [one.chance for one in listed],
        "marker": {"symbol": "line-ns-open", "size": 22, "color": ORANGE, "line": {"width": 3}},
        "hovertemplate": "chance: %{x:.0%}<extra></extra>",
    }
    layout = _layout("share of all knobs' importance", "", legend=_legend(), height=120 + 34 * len(listed))
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, 1.02]}
    layout["yaxis"]["gridcolor"] = "rgba(0,0,0,0)"
    return {"data": [bars, chance], "layout": layout}


def parallel(findings: SweepFindings) -> Figure:
    """Every trial as a line through its knobs' values, coloured by the goal; a trial that crashed has no goal to colour it by."""
    drawn = [one for one in reversed(findings.ranked) if one.state != "failed"][-MOST:]
    axes = [axis_of([findings.value_at(one, knob.path) for one in drawn], _short(knob.path)) for knob in findings.experiment.knobs]
    scores = [one.objectives[0] for one in drawn]
    goal = measured(scores, _text(findings.goal))
    whole = [one.objectives[0] for one in drawn if one.state == "complete"] or scores  # a few cases of a poor trial must not stretch it
    line = {
        "color": scores,
        "colorscale": RISING if findings.sign > 0 else FALLING,
        "cmin": min(whole),
        "cmax": max(whole),
        "showscale": False,
    }
    data = {"type": "parcoords", "dimensions": [*axes, goal], "line": line, "labelangle": -18, "labelside": "top"}
    return {"data": [data], "layout": {"height": 360, "margin": {"l": 110, "r": 50, "t": 80, "b": 16}}}


def gap(findings: SweepFindings) -> Figure:
    """The finalists' means on both splits with their intervals."""
    assert findings.result is not None
    finalists = list(reversed(findings.result.finalists))
    names = [_text(_role(findings, one.trial)) for one in finalists]
    data: list[dict[str, Any]] = []
    for split, shift, colour, fill in (("tune: the best of many", 0.12, GREY, "circle-open"), ("holdout", -0.12, BLUE, "circle")):
        reports = [one.trial.report if split.startswith("tune") else one.holdout for one in finalists]
        data.append(_ranged([one.summary[findings.goal] for one in reports], names, split, shift, colour, fill))
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
        mine, theirs = (one.holdout.slices(by, findings.goal) for one in both)
        for name in reversed([name for name in mine if mine[name].count and name in theirs]):
            names.append(f"{_text(name)} ({mine[name].count})")
            parts[0].append(mine[name])
            parts[1].append(theirs[name])
    data = [
        _ranged(some, names, _text(_role(findings, one.trial)), shift, colour, "circle")
        for one, some, shift, colour in zip(both, parts, (0.15, -0.15), (GREY, BLUE), strict=True)
    ]
    layout = _layout(f"{findings.goal}, holdout", "", legend=_legend(), height=140 + 42 * len(names))
    layout["yaxis"] |= {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
    return {"data": data, "layout": layout}


def _ranged(some: Sequence[Interval], names: Sequence[str], name: str, shift: float, colour: str, symbol: str) -> dict[str, Any]:
    """Means with their intervals, a row each."""
    means = [one.mean for one in some]
    above = [(one.high or 0.0) - (one.mean or 0.0) for one in some]
    below = [(one.mean or 0.0) - (one.low or 0.0) for one in some]
    words = [f"{row}<br>{name}: {_ends(one)}" for row, one in zip(names, some, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": means,
        "y": [place + shift for place in range(len(some))],
        "error_x": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour, "thickness": 2, "width": 0},
        "marker": {"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2, "color": colour}},
        "hovertext": words,
        "hoverinfo": "text",
    }


def _points(findings: SweepFindings, some: Sequence[Trial], xs: Sequence[float], name: str, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(xs),
        "y": [one.objective for one in some],
        "marker": {"symbol": symbol, "size": 9, "color": colour},
        "hovertext": [_hover(findings, one) for one in some],
        "hoverinfo": "text",
    }


def _hover(findings: SweepFindings, one: Trial) -> str:
    """What one trial was, a line for each knob."""
    usd = value_of(one, "cost.usd")
    head = [f"{one.label or 'trial'} {one.number}: {findings.goal} {one.objective:.3f}, {state_of(one)}"]
    head += [f"${usd:.6f} a query"] if usd is not None else []
    return "<br>".join(_text(line) for line in [*head, *(f"{path} = {value}" for path, value in one.values.items())])


def _running_best(findings: SweepFindings) -> Iterator[tuple[int, float]]:
    best: float | None = None
    for one in sorted(findings.trials, key=lambda one: one.number):
        if one.usable and one.objective is not None and (best is None or one.merit(findings.sign) > findings.sign * best):
            best = one.objective
        if best is not None:
            yield one.number, best


def _third(findings: SweepFindings) -> str:
    """What the trade-off is coloured by."""
    return findings.experiment.objective[2] if len(findings.experiment.objective) > 2 else "ms.total.p95"


def _scaled(one: Trial, name: str) -> float:
    """A number in the unit of its label: dollars are shown for a thousand queries."""
    return (value_of(one, name) or 0.0) * (1000.0 if name == "cost.usd" else 1.0)


def _label(name: str) -> str:
    words = {"cost.usd": "$ per 1,000 queries", "ms.total.p95": "ms, p95"}
    return _text(words.get(name, name))


def _role(findings: SweepFindings, one: Trial) -> str:
    """How a trial is called in a chart."""
    called = one.label or f"trial {one.number}"
    if findings.result is None:
        return f"{called}, best so far" if one is findings.best else called
    if one is not findings.result.winner.trial:
        return called
    return f"{called}, stays" if findings.result.winner is findings.result.incumbent else f"{called}, winner"


def _ends(one: Interval) -> str:
    return "–" if one.mean is None or one.low is None else f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _mark(value: float, words: str) -> dict[str, Any]:
    """A dashed line across a chart, named in its legend: beside the line its name would lie on points."""
    line = {"color": GREY, "width": 1, "dash": "dash"}
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value}
    return {"type": "line", "line": line, "name": _text(words), "showlegend": True, **across}


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
    """A text as Plotly shows it as it is: what looks like a tag or an entity would otherwise be one."""
    words = str(value)
    return html.escape(words if len(words) <= most else words[: most - 1] + "…", quote=False)
