"""The values of one build: its workers, its context, and its corpus in parts."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from harness.index_build.plan import CorpusPlan
from harness.progress import TaskProgress
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.index.reading import SkippedFile
from serving.storage.base import Storage

STORE = "lancedb"  # the one store that several writers may append to


class Workers(Protocol):
    """Workers that carry out orders, several at a time."""

    workers: int

    def run(self, orders: Iterable[str]) -> AsyncGenerator[tuple[int, str], None]:
        """The replies as they come, with the places of their orders."""
        ...


@dataclass(frozen=True, slots=True)
class RowsPart:
    """The documents of a part by what they hold, wherever they were read from."""

    key: str
    source: str  # the part of the corpus that holds them
    documents: int


@dataclass
class LoadedCorpus:
    """A corpus whose documents lie in parts: here are only their ids and digests."""

    name: str
    digest: str = ""
    documents: int = 0
    public: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)
    unused_rules: tuple[str, ...] = ()
    parts: list[RowsPart] = field(default_factory=list)

    @property
    def plan(self) -> str:
        """The digest of how the documents are divided: rows that were stored under another division are of no use."""
        return digest_of([part.key for part in self.parts])


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What one build works with."""

    config: RagConfig
    corpus: CorpusPlan
    settings: HarnessSettings
    order_settings: dict[str, Any]  # those that workers receive with each order
    storage: Storage
    workers: Workers
    progress: TaskProgress
    now: Callable[[], datetime]
