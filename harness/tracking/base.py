"""The tracker protocol, and what is read back of a run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from harness.golden.sets import Split


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run that was logged before, as far as a promotion needs it."""

    id: str
    name: str
    tags: Mapping[str, str]
    config: str  # the text of its config.yaml; "": it has none
    winner: str  # of its winner.json, where it is a sweep


class Run(Protocol):
    """One run being logged."""

    id: str
    url: str  # how a person finds it

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters by dotted path."""
        ...

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Numbers; a `None` is left out."""
        ...

    def history(self, name: str, values: Sequence[float | None]) -> None:
        """A number per step, from 0; a `None` is left out."""
        ...

    def tags(self, values: Mapping[str, str]) -> None:
        """Digests, states and reasons."""
        ...

    def dataset(self, split: Split) -> None:
        """The split that was scored."""
        ...

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """A table that the UI shows."""
        ...

    def text(self, name: str, content: str) -> None:
        """A file."""
        ...

    def child(self, name: str) -> "AbstractContextManager[Run]":
        """A run below this one; ended as finished, or as failed when an exception leaves the block."""
        ...

    def forget(self, keep: Collection[str]) -> None:
        """Remove the runs below this one that are not among these: leftovers of a process that was killed."""
        ...


class Tracker(Protocol):
    """Opens runs."""

    def run(self, name: str, resume_id: str = "") -> AbstractContextManager[Run]:
        """Open a run, or resume the one of this id."""
        ...
