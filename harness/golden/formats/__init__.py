"""Formats that golden sets come in: the table, and which of them a file or a folder looks like."""

from pathlib import Path

from harness.golden.formats.base import GoldenFormat, first_row, refuse_unreadable
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Registry, Spec

FORMATS = Registry[GoldenFormat](
    "golden format",
    {
        "cases": "harness.golden.formats.cases:CasesFormat",
        "ids": "harness.golden.formats.ids:IdsFormat",
        "spans": "harness.golden.formats.spans:SpansFormat",
        "beir": "harness.golden.formats.beir:BeirFormat",
        "squad": "harness.golden.formats.squad:SquadFormat",
    },
)


def format_of(source: Path, name: str = "") -> str:
    """The named format; without a name, the one that the source's shape fits, or a `ConfigError` that says what to name."""
    known = ", ".join(FORMATS.names())
    if name:
        FORMATS.load(name)
        return name
    if not source.exists():
        more = f" Name a source too: import {source} SOURCE." if str(source) in FORMATS.names() else ""
        raise ConfigError(f"No file or folder {str(source)!r}.{more}")
    fitting = [known_name for known_name in FORMATS.names() if FORMATS.build(Spec(name=known_name)).fits(source)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        refuse_unreadable(source)
    problem = f"fits {' and '.join(fitting)}" if fitting else "has the shape of no known format"
    raise ConfigError(f"{source}: {problem}. Name the format: import FORMAT SOURCE. Known: {known}.{'' if fitting else _hint(source)}")


def _hint(source: Path) -> str:
    """What the first line has, and what a case of our own has."""
    fields = ", ".join(first_row(source))
    case = '{"id": …, "question": …, "answers": […], "evidence": [{"document": …, "quote": …}]}'
    return f" Its first line has {fields}; a line of cases is {case}." if fields else ""
