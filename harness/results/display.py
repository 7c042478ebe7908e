"""How a result is displayed: a few lines in a terminal, a small table in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

ROWS = 16
CELL_WIDTH = 60
NOTE_WIDTH = 240
TEXT_LENGTH = 1_900


@dataclass(frozen=True, slots=True)
class Display:
    """A title, a table, and notes below it."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """As plain lines, always under 2,000 characters."""
        table_rows = [[_truncated(cell, CELL_WIDTH) for cell in row] for row in [self.columns, *self.rows[:ROWS]]] if self.columns else []
        widths = [max(len(row[column]) for row in table_rows) for column in range(len(self.columns))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table_rows]
        more = [f"… and {len(self.rows) - ROWS} more"] if len(self.rows) > ROWS else []
        lines = [_truncated(self.title, NOTE_WIDTH), *table, *more, *(_truncated(note, NOTE_WIDTH) for note in self.notes)]
        text = "\n".join(line for line in lines if line)
        return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"

    @property
    def html(self) -> str:
        """As an HTML table without colours, so that it reads on light and dark pages."""
        head = "".join(_cell("th", column) for column in self.columns)
        rows = "".join(
            f"<tr>{''.join(_cell('td', _truncated(cell, 2 * CELL_WIDTH)) for cell in row)}</tr>" for row in self.rows[: 2 * ROWS]
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if self.columns else ""
        hidden = len(self.rows) - 2 * ROWS
        notes = [*([f"… and {hidden} more"] if hidden > 0 else []), *(_truncated(note, NOTE_WIDTH) for note in self.notes if note)]
        note_lines = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
        return f"<div><strong>{html.escape(_truncated(self.title, NOTE_WIDTH))}</strong>{table}{note_lines}</div>"


def _cell(tag: str, text: str) -> str:
    return f'<{tag} style="text-align: left">{html.escape(text)}</{tag}>'


def _truncated(text: str, width: int) -> str:
    """The text on one line, truncated to a width."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
