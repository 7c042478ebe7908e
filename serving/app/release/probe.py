"""Asks the store of the release being served whether it can be read, seldom and with little patience."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from serving.pipeline.errors import TouchstoneError
from serving.pipeline.pipeline import RagPipeline

TIMEOUT_S: Final = 2.0
FRESH_S: Final = 3.0  # how long an answer is good for: probes come from every balancer and kubelet


class StoreProbe:
    """The last answer of a pipeline's store, asked again when it is old."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked: RagPipeline | None = None
        self._asked_at = 0.0
        self.failure = ""  # why the store cannot be read; empty: it can

    async def check(self, pipeline: RagPipeline) -> str:
        """Why a pipeline's store cannot be read, or nothing."""
        async with self._lock:
            if self._asked is not pipeline or self._clock() - self._asked_at >= self._fresh_s:
                self.failure = await self._ask(pipeline)
                self._asked, self._asked_at = pipeline, self._clock()
            return self.failure

    async def _ask(self, pipeline: RagPipeline) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await probe(pipeline)
        except TimeoutError:
            return f"The index did not answer within {self._timeout_s:g} s."
        except TouchstoneError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 — whatever a question would fail by
            return f"The index cannot be read: {type(error).__name__}: {error}"
        return ""


async def probe(pipeline: RagPipeline) -> None:
    """Read something from a pipeline's index, from where it lies."""
    await pipeline.index.probe()
