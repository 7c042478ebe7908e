"""How a result shows itself where it is looked at: a few lines in a terminal, a small table in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

LINES = 16  # of a table
WIDTH = 60  # characters of a cell
NOTE = 240  # of a sentence beside it
MOST = 1_900  # of all


@dataclass(frozen=True, slots=True)
class Display:
    """A title, a table, and what must be known beside it."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """As plain lines, under 2,000 characters whatever is in it."""
        shown = [[_cut(cell, WIDTH) for cell in row] for row in [self.columns, *self.rows[:LINES]]] if self.columns else []
        widths = [max(len(row[place]) for row in shown) for place in range(len(self.columns))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
        more = [f"… and {len(self.rows) - LINES} more"] if len(self.rows) > LINES else []
        lines = [_cut(self.title, NOTE), *table, *more, *(_cut(note, NOTE) for note in self.notes)]
        text = "\n".join(line for line in lines if line)
        return text if len(text) <= MOST else text[: MOST - 1] + "…"

    @property
    def html(self) -> str:
        """As a table without colours of its own, so that light and dark pages read alike."""
        head = "".join(_cell("th", one) for one in self.columns)
        rows = "".join(f"<tr>{''.join(_cell('td', _cut(cell, 2 * WIDTH)) for cell in row)}</tr>" for row in self.rows[: 2 * LINES])
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if self.columns else ""
        left = len(self.rows) - 2 * LINES
        notes = [*([f"… and {left} more"] if left > 0 else []), *(_cut(note, NOTE) for note in self.notes if note)]
        told = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
        return f"<div><strong>{html.escape(_cut(self.title, NOTE))}</strong>{table}{told}</div>"


def number_words(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def range_words(low: float | None, high: float | None) -> str:
    """Both ends of an interval."""
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _cell(tag: str, text: str) -> str:
    return f'<{tag} style="text-align: left">{html.escape(text)}</{tag}>'


def _cut(text: str, width: int) -> str:
    """On one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
