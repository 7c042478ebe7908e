"""A tracker that forgets what it is told at once, for `--no-tracking`: a long sweep must not fill the memory with it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.golden.sets import Split
from harness.tracking.base import Run


class NullRun:
    """A run that is nowhere."""

    id = ""
    url = ""

    def params(self, values: Mapping[str, Any]) -> None:
        """Forget parameters."""

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Forget numbers."""

    def history(self, name: str, values: Sequence[float | None]) -> None:
        """Forget a number step by step."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Forget tags."""

    def dataset(self, split: Split) -> None:
        """Forget a split."""

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Forget a table."""

    def text(self, name: str, content: str) -> None:
        """Forget a file."""

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        """A run below this one, as forgetful."""
        yield NullRun()

    def forget(self, keep: Collection[str]) -> None:
        """There is nothing to remove."""


class NullTracker:
    """Opens runs that are nowhere."""

    @contextmanager
    def run(self, name: str, again: str = "") -> Iterator[Run]:
        """Open a run."""
        yield NullRun()
