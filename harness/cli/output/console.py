"""A rich console for the command line: as wide as the terminal, with cleaned texts."""

import sys

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

from harness.cli.output.clean import clean

FILE_WIDTH = 400  # of a pipe or a file: wider than any table, so that none is cut or folded there


def terminal_console(*, stderr: bool = False, width: int = FILE_WIDTH, wrap: bool = False) -> Console:
    """A console that adds its own codes to cleaned texts; `width` is that of what is no terminal, `wrap` breaks lines between words.

    Square brackets are printed as they stand: rich would read "[too few cases]" as markup, and leave it out.
    """
    stream = sys.stderr if stderr else sys.stdout
    console = Console(stderr=stderr, width=None if stream.isatty() else width, soft_wrap=not wrap, markup=False, highlight=False)
    console.push_render_hook(_Cleaning())
    return console


class _Cleaning(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(renderable) for renderable in renderables]


class _Cleaned:
    """A renderable whose texts are cleaned, and whose control codes are the console's."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)
