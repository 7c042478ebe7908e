"""Asks a candidate the questions that the stable release has answered, unseen by the caller."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from serving.app.release.trial import LoadedCandidate, RoleObserver, chosen, drawn
from serving.pipeline.cache.agreement import disagreement_of
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.observer import Observer
from serving.pipeline.types import Draw, Query, StageRecord, Trace, Usage

HOUR_S = 3600.0


class ShadowRuns:
    """Runs beside the answers, at most so many at a time and for so much money an hour; a question beyond either is left out and counted.

    First turns only: later ones were asked because of what the stable release had answered. Traces are told with the role "shadow" and
    the id of the trace that its caller was shown, so that both can be compared as a pair.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        *,
        most: int,
        usd_per_hour: float,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        compared: Callable[[bool | None], None] = lambda agree: None,
        failed: Callable[[Query, Draw, str], None] = lambda query, draw, pair: None,
    ) -> None:
        self._log = log
        self._compared = compared
        self._failed = failed
        self._most = most
        self._usd_per_hour = usd_per_hour
        self._timeout_s = timeout_s
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._spent: deque[tuple[float, float]] = deque()  # when, dollars; of the last hour
        self.left_out = 0

    @property
    def running(self) -> int:
        """How many are being answered."""
        return len(self._tasks)

    def offer(self, candidate: LoadedCandidate | None, query: Query, shown: Trace, key: str, observer: Observer) -> bool:
        """Ask the candidate too, if it is a shadow and this question is of its share; whether it will be asked."""
        if candidate is None or candidate.trial.mode != "shadow" or query.history or not chosen(candidate.trial, key):
            return False
        if len(self._tasks) >= self._most or self._usd_last_hour() >= self._usd_per_hour:
            self.left_out += 1
            return False
        task = asyncio.create_task(self._ask(candidate, query, shown, drawn(candidate.trial, key), observer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, candidate: LoadedCandidate, query: Query, shown: Trace, draw: Draw, observer: Observer) -> None:
        marked = RoleObserver(observer, "shadow", shown.id, draw)
        try:
            async with asyncio.timeout(self._timeout_s):
                trace = await candidate.loaded.pipeline.answer(query, observer=_WithoutAnswer(marked, self._count))
        except (TouchstoneError, TimeoutError) as error:  # the observer has counted it
            self._compared(None)
            self._log.warning("shadow failed", release=candidate.loaded.digest, error=type(error).__name__)
            self._failed(query, draw, shown.id)
        except Exception:  # noqa: BLE001 — nobody waits for it
            self._compared(None)
            self._log.exception("shadow crashed", release=candidate.loaded.digest)
            self._failed(query, draw, shown.id)
        else:
            self._count(trace.usd)
            await self._compare(candidate, shown, trace, marked)

    async def _compare(self, candidate: LoadedCandidate, shown: Trace, trace: Trace, observer: RoleObserver) -> None:
        disagreement: str | None = None
        try:
            disagreement = await asyncio.to_thread(disagreement_of, shown.answer, trace.answer)
            self._compared(not disagreement)
        except Exception:  # noqa: BLE001 — as above
            self._compared(None)
            self._log.exception("shadow not compared", release=candidate.loaded.digest)
        finally:
            observer.answered(replace(trace, disagreement=disagreement))

    def _count(self, usd: float) -> None:
        self._spent.append((self._clock(), usd))

    def _usd_last_hour(self) -> float:
        while self._spent and self._spent[0][0] < self._clock() - HOUR_S:
            self._spent.popleft()
        return sum(usd for _, usd in self._spent)


class _WithoutAnswer:
    """Passes all events but the answer on to an observer; the answer follows once it was compared. Usage that is in no trace is counted."""

    def __init__(self, inner: Observer, count: Callable[[float], None]) -> None:
        self._inner = inner
        self._count = count

    def stage_started(self, query: Query, stage: str) -> None:
        """Passed on as it is."""
        self._inner.stage_started(query, stage)

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Passed on as it is."""
        self._inner.stage_finished(query, record)

    def answered(self, trace: Trace) -> None:
        """Nothing yet."""

    def failed(self, query: Query, error: BaseException) -> None:
        """Passed on as it is."""
        self._inner.failed(query, error)

    def spent(self, query: Query, usage: Usage) -> None:
        """Passed on, and counted: of a query that failed, or that had ended."""
        self._count(usage.usd)
        self._inner.spent(query, usage)
