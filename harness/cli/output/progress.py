"""Progress: a live line on a terminal, a plain line now and then elsewhere; always on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from harness.cli.output.clean import clean

PLAIN_EVERY_S = 10.0


class ProgressLine(Protocol):
    """Shows the progress of long work."""

    def update(self, what: str, done: int, total: int) -> None: ...

    def say(self, message: str) -> None: ...


class PlainProgress:
    """A line every few seconds, for logs."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def update(self, what: str, done: int, total: int) -> None:
        """Print when some seconds have passed."""
        if time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            self.say(f"{what}: {done}/{total}")

    def say(self, message: str) -> None:
        """Print a line."""
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


@contextmanager
def progress_line(*, quiet: bool = False) -> Iterator[ProgressLine]:
    """The line that fits where standard error goes."""
    if quiet or not sys.stderr.isatty():
        yield PlainProgress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from harness.cli.output.console import terminal_console

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal_console(stderr=True, wrap=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        class Live:
            """The bar behind the two words."""

            def update(self, what: str, done: int, total: int) -> None:
                """Move the bar."""
                bar.update(task, description=clean(what), completed=done, total=total)

            def say(self, message: str) -> None:
                """Print above the bar."""
                bar.console.print(message)

        yield Live()
