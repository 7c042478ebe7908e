"""Records the stages of one query as a trace."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from serving.pipeline.cache.base import CacheLookup
from serving.pipeline.clock import Clock
from serving.pipeline.digest import digest_of
from serving.pipeline.guard.chain import GuardResult
from serving.pipeline.observer import Observer, Observers
from serving.pipeline.parts import Digests
from serving.pipeline.types import CacheRecord, GuardVerdict, Query, StageRecord, Trace, Usage


class TraceRecorder:
    """Records one query, notifies an observer, and builds the `Trace`."""

    def __init__(self, query: Query, observer: Observer | None, *, clock: Clock, digests: Digests, index_version: str) -> None:
        self._clock = clock
        self._observer = observer if observer is None or isinstance(observer, Observers) else Observers([observer])
        self._started_s = clock.seconds()
        self._cached_ms = 0.0
        self._stages: list[StageRecord] = []
        self._verdicts: list[GuardVerdict] = []
        self._guard_usage: list[Usage] = []
        self._spent: list[Usage] = []
        self._late_usage: list[Usage] = []  # of calls that were given up and tried again
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._cache: CacheRecord | None = None
        started = clock.now().isoformat(timespec="milliseconds")
        self._told = query  # the query as observers know it
        self._trace = Trace(
            id=digest_of([digests.config, query.id, query.text, query.principal.id, started]),
            query=query,
            config_digest=digests.config,
            index_digest=digests.index,
            release_digest=digests.release,
            index_version=index_version,
            started_at=started,
        )

    @property
    def trace_id(self) -> str:
        """The id that the trace will have."""
        return self._trace.id

    def question(self, query: Query) -> None:
        """Keep the query as the checks of the input left it: what they masked is in no trace."""
        self._trace = replace(self._trace, query=query)

    @contextmanager
    def stage(self, name: str, inputs: object) -> Iterator[dict[str, Any]]:
        """Time one stage; the yielded dict becomes its detail. A `kept_ms` in it, the original time of a cached result, is added."""
        if self._observer is not None:
            self._observer.stage_started(self._told, name)
        start, detail = self._clock.seconds(), dict[str, Any]()
        yield detail
        elapsed = (self._clock.seconds() - start) * 1000 + detail.get("kept_ms", 0.0)
        self._cached_ms += detail.get("kept_ms", 0.0)
        record = StageRecord(name, digest_of(inputs), round(elapsed, 3), detail)
        self._stages.append(record)
        if self._observer is not None:
            self._observer.stage_finished(self._told, record)

    def add_verdicts(self, result: GuardResult) -> None:
        """Add the verdicts and usage of one side."""
        self._verdicts += result.verdicts
        self._guard_usage += result.usage

    def add_usage(self, *usage: Usage) -> None:
        """Add what a stage cost."""
        self._spent += usage

    def add_late_usage(self, usage: Usage) -> None:
        """Add what a call cost that nobody waited for; from any thread, at any time."""
        with suppress(RuntimeError):  # the loop was closed: the process ends
            self._loop.call_soon_threadsafe(self._add_late_usage, usage)

    def _add_late_usage(self, usage: Usage) -> None:
        if not self._ended:
            self._late_usage.append(usage)
        elif self._observer is not None:
            self._observer.spent(self._told, usage)

    def add_cache_lookup(self, lookup: CacheLookup) -> None:
        """Add the result of the cache lookup."""
        self._cache = lookup.record

    def finish(self, **outcome: Any) -> Trace:
        """The trace of the finished query."""
        elapsed = (self._clock.seconds() - self._started_s) * 1000 + self._cached_ms
        trace = replace(
            self._trace,
            stages=tuple(self._stages),
            guard=tuple(self._verdicts),
            cache=self._cache,
            usage=(*self._spent, *self._late_usage, *self._guard_usage),
            milliseconds=round(elapsed, 3),
            **outcome,
        )
        self._ended = True
        if self._observer is not None:
            self._observer.answered(trace)
        return trace

    def failed(self, error: BaseException) -> None:
        """Notify the observer that the query failed."""
        self._ended = True
        if self._observer is not None:
            self._observer.failed(self._told, error)
            for usage in (*self._spent, *self._late_usage, *self._guard_usage):
                self._observer.spent(self._told, usage)
