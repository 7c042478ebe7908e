"""A promotion as a process of its own makes it; a module of its own, so that one can be killed."""

import asyncio
from typing import Any

from harness.evaluation.factory import PipelineFactory
from harness.promotion.candidate import find_candidate
from harness.promotion.decisions import find_decisions, required_gates
from harness.promotion.promote import Promotion, promote
from harness.settings import HarnessSettings
from harness.tracking.base import LoggedRun
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.storage.base import Storage
from tests.support.killing import DeadlyStorage
from tests.support.releasing import at
from tests.support.waiting import WITHIN_S


def factory(settings: HarnessSettings, kind: type[PipelineFactory] = PipelineFactory, **more: Any) -> PipelineFactory:
    """A factory over the small company's documents."""
    return kind(settings, load_corpus(settings.datasets / "corpora" / "tiny"), PromptLibrary(settings.prompts), **more)


async def ship(storage: Storage, config: str, *, over: PipelineFactory | None = None, channel: str = "dev", **more: Any) -> Promotion:
    """Promote a configuration's file by the decisions that are there."""
    settings = HarnessSettings(_env_file=None)
    given: dict[str, Any] = {
        "gates": required_gates(channel, None, settings),
        "decisions": find_decisions(settings.reports),
        "who": "tests",
        "git_commit": "abc",
    }
    candidate = find_candidate(config, "tiny" if config.endswith(".yaml") else "", settings, no_runs)
    return await promote(candidate, factory=over or factory(settings), storage=storage, channel=channel, **given | more)


def no_runs(word: str) -> LoggedRun:
    """What finds a run where nothing was logged."""
    raise ConfigError(f"no run {word!r}")


class MeetingFactory(PipelineFactory):
    """Lets promoters who have all read the channel go on together."""

    meeting: asyncio.Barrier

    async def index(self, config: RagConfig) -> OpenIndex:
        """The index, once all are here."""
        async with asyncio.timeout(WITHIN_S):  # one that failed before would keep the others waiting
            await self.meeting.wait()
        return await super().index(config)


def ship_and_die(place: str, write: int) -> None:
    """Promote `two.yaml`, and be killed before a write."""
    asyncio.run(ship(DeadlyStorage(at(place), write), "two.yaml"))
