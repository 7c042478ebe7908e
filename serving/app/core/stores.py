"""Calls of stores in threads of their own: a store that hangs takes no thread from questions, probes and other stores."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from serving.app.core.limits import ConcurrencyLimit
from serving.app.core.problems import too_busy
from serving.pipeline.models.threads import run_in_thread

T = TypeVar("T")
RUNNING: Final = 8  # calls to one store at a time
WAITING: Final = 1000  # that wait for their turn; about as many as there are connections
TIMEOUT_S: Final = 10.0  # of waiting for a turn


class StoreCalls:
    """Blocking calls to one store for whoever asks; the loop's own threads are few, and everything else stands on them."""

    def __init__(self, of: str, running: int = RUNNING, *, timeout_s: float = TIMEOUT_S) -> None:
        self._of = of
        self._limit = ConcurrencyLimit(running, WAITING, of)
        self._timeout_s = timeout_s

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """The result of a call, when it is its turn; a 503 where that does not come, so that nobody waits for all who asked before."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await stack.enter_async_context(self._limit.slot())
            except TimeoutError:
                raise too_busy(self._of) from None
            return await run_in_thread(partial(call, *arguments))


@dataclass(frozen=True, slots=True)
class Stores:
    """The calls of each store."""

    traces: StoreCalls = field(default_factory=lambda: StoreCalls("requests for traces"))
    audit: StoreCalls = field(default_factory=lambda: StoreCalls("requests for the audit trail"))
    channels: StoreCalls = field(default_factory=lambda: StoreCalls("requests for channels"))
    documents: StoreCalls = field(default_factory=lambda: StoreCalls("requests for documents"))
