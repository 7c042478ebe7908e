"""The reliability curve as an SVG that needs no script."""

from collections.abc import Iterator

from harness.calibrate.reliability import Reliability

SIZE, LEFT, BOTTOM, TOP = 360, 52, 48, 16
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#5c6470}.axis{stroke:#8792a0}.true{stroke:#8792a0;stroke-dasharray:5 4}"
    ".reach{stroke:#3f83d6;stroke-width:2;opacity:.5}.at{fill:#3f83d6}.line{fill:none;stroke:#3f83d6;stroke-width:2}"
)


def curve_svg(figures: Reliability) -> str:
    """What was said of answers against what share of them was right; the broken line is where they would be equal."""
    width, height = LEFT + SIZE + 28, TOP + SIZE + BOTTOM
    title = f"Reliability of {figures.right.count} answers: said probability across, share that was right up"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">',
            f"<title>{title}</title><style>{STYLE}</style>",
            *_axes(),
            *_points(figures),
            "</svg>\n",
        ]
    )


def _axes() -> Iterator[str]:
    yield f'<line class="true" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
    yield f'<path class="axis" fill="none" d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}"/>'
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield f'<text x="{_x(tick)}" y="{_y(0) + 20}" text-anchor="middle">{tick:.0%}</text>'
        yield f'<text x="{_x(0) - 8}" y="{_y(tick) + 4}" text-anchor="end">{tick:.0%}</text>'
    yield f'<text x="{_x(0.5)}" y="{_y(0) + 40}" text-anchor="middle">confidence</text>'
    yield f'<text x="{_x(0) + 8}" y="{_y(1) + 12}">answers that were right</text>'


def _points(figures: Reliability) -> Iterator[str]:
    shown = [(one.said, one.right) for one in figures.bins if one.right.mean is not None]
    yield f'<polyline class="line" points="{" ".join(f"{_x(said)},{_y(right.mean or 0.0)}" for said, right in shown)}"/>'
    for said, right in shown:
        if right.low is not None and right.high is not None:
            yield f'<line class="reach" x1="{_x(said)}" y1="{_y(right.low)}" x2="{_x(said)}" y2="{_y(right.high)}"/>'
        yield f'<circle class="at" cx="{_x(said)}" cy="{_y(right.mean or 0.0)}" r="4"/>'


def _x(share: float) -> float:
    return round(LEFT + share * SIZE, 1)


def _y(share: float) -> float:
    return round(TOP + (1 - share) * SIZE, 1)
