"""What an engine promises: cases of one configuration scored somewhere, and nothing decided there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.golden.sets import Split
from harness.results.report import EvalReport
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import TouchstoneError

Counted = Mapping[str, Mapping[str, int]]  # hits and misses of the stage store, by stage


@dataclass(frozen=True, slots=True)
class Scored:
    """What came back: the report of a block of cases, and how often the stage store had what was needed."""

    report: EvalReport
    counts: Counted = field(default_factory=dict)
    judge_usd: float = 0.0  # paid to judges since the worker last answered; what the answers cost stands in their traces


class WorkerDied(Exception):
    """A worker died over what it was sent, and is replaced; whoever pays may send it again. Says what the death may be due to."""


class NotBegun(Exception):
    """No pipeline can be built for a configuration, so that nothing was asked and nothing is paid."""

    def __init__(self, why: TouchstoneError) -> None:
        super().__init__(str(why))
        self.why = why


class Engine(Protocol):
    """Scores blocks of cases, several configurations at a time."""

    workers: int

    async def start(self) -> None:
        """Get ready."""
        ...

    async def index(self, config: RagConfig) -> Counted:
        """Build the index of a configuration, so that workers only open it; nothing is counted for one that is there."""
        ...

    async def score(self, config: RagConfig, cases: Split) -> Scored:
        """Score a configuration on some cases; may raise `NotBegun`. A worker that dies, here or over an index, is a `WorkerDied`."""
        ...

    async def stop(self) -> None:
        """End every worker."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker needs to know, as plain data; all else it reads from the settings, which are the same for all."""

    corpus: str
    metrics: tuple[str, ...]
    judge: str = ""
    concurrency: int = 4
    store: bool = True
    replay_only: bool = False
    shares: int = 1  # processes that share what a provider may be asked for in a minute
    settings: Mapping[str, Any] = field(default_factory=dict)  # those that the environment does not give, or gives otherwise
