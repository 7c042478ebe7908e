"""Writes the dashboards as JSON, from pages.py: `python -m infra.observability.grafana.make`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, GridPos, VariableRefresh

from infra.observability.grafana.pages import PAGES, PageSpec, PanelSpec

FOLDER = Path(__file__).with_name("dashboards")
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
COLUMNS = 24  # of Grafana's grid
SIZES = {"line": (8, 8), "number": (6, 4)}  # width, height


def document(page: PageSpec) -> str:
    """The JSON of a dashboard; the same page gives the same bytes."""
    built = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.about)
        .tags(["touchstone"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("Touchstone").tags(["touchstone"]).as_dropdown(True).keep_time(True).include_vars(True))
        .with_variable(
            dashboard.QueryVariable("environment")
            .label("environment")
            .datasource(SOURCE)
            .query("label_values(touchstone_ready, environment)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    number, top = 0, 0
    for row in page.rows:
        number += 1
        built.with_row(dashboard.Row(row.title).id(number).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=top)))
        top, left, high = top + 1, 0, 0
        for spec in row.panels:
            width, height = SIZES[spec.kind]
            if left + width > COLUMNS or (high and height != high):
                top, left, high = top + high, 0, 0
            number += 1
            built.with_panel(_panel(spec).id(number).grid_pos(GridPos(h=height, w=width, x=left, y=top)))
            left, high = left + width, max(high, height)
        top += high
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(spec: PanelSpec) -> Any:
    panel: Any = stat.Panel() if spec.kind == "number" else timeseries.Panel()
    panel.title(spec.title).datasource(SOURCE).unit(spec.unit)
    if spec.kind == "line":
        panel.min(0).fill_opacity(10).legend(
            VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
        )
    if spec.about:
        panel.description(spec.about)
    for place, (legend, ask) in enumerate(spec.asks.items()):
        panel.with_target(prometheus.Dataquery().ref_id(chr(ord("A") + place)).expr(ask).legend_format(legend or spec.title))
    return panel


def differing(there: Mapping[str, str]) -> list[str]:
    """The names of the dashboards that are not what the pages make."""
    wanted = _wanted()
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def _wanted() -> dict[str, str]:
    return {f"{page.uid.removeprefix('touchstone-')}.json": document(page) for page in PAGES}


def main() -> int:
    """Write every dashboard; one that no page makes is removed."""
    wanted = _wanted()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
