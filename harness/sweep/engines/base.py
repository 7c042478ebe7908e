"""What an engine promises: it scores cases of one configuration somewhere, and decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.golden.sets import Split
from harness.results.report import EvalReport
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import TouchstoneError

StoreCounts = Mapping[str, Mapping[str, int]]  # hits and misses of the stage store, by stage


@dataclass(frozen=True, slots=True)
class ScoredBlock:
    """The report of a block of cases, and what the stage store and the judges had to do with it."""

    report: EvalReport
    counts: StoreCounts = field(default_factory=dict)  # hits and misses for this block
    judge_usd: float = 0.0  # paid to judges since the worker last answered; what the answers cost stands in their traces


class WorkerDied(Exception):
    """A worker died over its work and was replaced, so that the work may be sent again; the message says what it may be due to."""


class PipelineNotBuilt(Exception):
    """No pipeline can be built for a configuration, so that nothing was asked and nothing is paid."""

    def __init__(self, reason: TouchstoneError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Engine(Protocol):
    """Scores blocks of cases, several configurations at a time."""

    workers: int

    async def start(self) -> None:
        """Get ready."""
        ...

    async def index(self, config: RagConfig) -> StoreCounts:
        """Build the index of a configuration, so that workers only open it; nothing is counted for one that is there."""
        ...

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        """Score a configuration on some cases.

        Raises `PipelineNotBuilt`, and `WorkerDied` where a worker ends over it; `index` raises that too.
        """
        ...

    async def stop(self) -> None:
        """End every worker."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What every worker needs to know, as plain data; all else it reads from the settings, which are the same for all."""

    corpus: str
    metrics: tuple[str, ...]
    judge: str = ""
    concurrency: int = 4
    store: bool = True
    replay_only: bool = False
    computed: bool = False  # no stored answer is used, since its time counts
    began_s: float = 0.0  # when the sweep was opened, in seconds of the epoch: what is kept since then is its own
    limit_shares: int = 1  # processes that share what a provider may be asked for in a minute
    settings: Mapping[str, Any] = field(default_factory=dict)  # those that the environment does not give, or gives otherwise
