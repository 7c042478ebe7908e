"""A tracker that keeps nothing, for `--no-tracking`."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.golden.sets import Split
from harness.tracking.base import Run


class NullRun:
    """A run that logs nothing."""

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
        """A run below this one that logs nothing."""
        yield NullRun()

    def forget(self, keep: Collection[str]) -> None:
        """There is nothing to remove."""


class NullTracker:
    """Opens runs that log nothing."""

    @contextmanager
    def run(self, name: str, resume_id: str = "") -> Iterator[Run]:
        """Open a run."""
        yield NullRun()
