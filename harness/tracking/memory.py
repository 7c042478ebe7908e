"""A run that keeps everything in lists, for tests."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.golden.sets import Split
from harness.tracking.base import Run


class MemoryRun:
    """A run as plain attributes."""

    def __init__(self, name: str, ident: str) -> None:
        self.name = name
        self.id = ident
        self.url = ""
        self.state = "running"
        self.logged_params: dict[str, Any] = {}
        self.logged_metrics: dict[str, float] = {}
        self.logged_histories: dict[str, list[float | None]] = {}
        self.logged_tags: dict[str, str] = {}
        self.logged_tables: dict[str, list[Mapping[str, Any]]] = {}
        self.logged_texts: dict[str, str] = {}
        self.datasets: list[Split] = []
        self.children: list[MemoryRun] = []

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep parameters."""
        self.logged_params |= values

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Keep numbers."""
        self.logged_metrics |= {name: value for name, value in values.items() if value is not None}

    def history(self, name: str, values: Sequence[float | None]) -> None:
        """Keep a number step by step."""
        self.logged_histories[name] = list(values)

    def tags(self, values: Mapping[str, str]) -> None:
        """Keep tags."""
        self.logged_tags |= values

    def dataset(self, split: Split) -> None:
        """Keep a split."""
        self.datasets.append(split)

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep a table."""
        self.logged_tables[name] = list(rows)

    def text(self, name: str, content: str) -> None:
        """Keep a file's content."""
        self.logged_texts[name] = content

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        """Keep a run below this one."""
        run = MemoryRun(name, f"{self.id}.{len(self.children)}")
        self.children.append(run)
        with _ending(run):
            yield run

    def forget(self, keep: Collection[str]) -> None:
        """Drop the runs below this one that are not to be kept."""
        self.children = [child for child in self.children if child.id in keep]


@contextmanager
def _ending(run: MemoryRun) -> Iterator[None]:
    try:
        yield
    except BaseException:
        run.state = "failed"
        raise
    run.state = "finished"
