"""What happens to one query, on its way to becoming a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from serving.pipeline.cache.base import CacheLookup
from serving.pipeline.clock import Clock
from serving.pipeline.digest import digest_of
from serving.pipeline.guard.chain import GuardResult
from serving.pipeline.observer import Observer, Observers
from serving.pipeline.parts import Digests
from serving.pipeline.types import CacheRecord, GuardVerdict, Query, StageRecord, Trace, Usage


class Notes:
    """Writes down what happens to one query, tells an observer, and makes a `Trace` of it."""

    def __init__(self, query: Query, observer: Observer | None, *, clock: Clock, digests: Digests, index_version: str) -> None:
        self._clock = clock
        self._observer = observer if observer is None or isinstance(observer, Observers) else Observers([observer])
        self._begin = clock.seconds()
        self._kept_ms = 0.0
        self._stages: list[StageRecord] = []
        self._verdicts: list[GuardVerdict] = []
        self._guard_usage: list[Usage] = []
        self._cache: CacheRecord | None = None
        started = clock.now().isoformat(timespec="milliseconds")
        self._base = Trace(
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
        return self._base.id

    @contextmanager
    def stage(self, name: str, inputs: object) -> Iterator[dict[str, Any]]:
        """Time one stage; what is put into the yielded dict is kept as its detail, and a `kept_ms` there is counted as time."""
        if self._observer is not None:
            self._observer.stage_started(self._base.query, name)
        begin, detail = self._clock.seconds(), dict[str, Any]()
        yield detail
        elapsed = (self._clock.seconds() - begin) * 1000 + detail.get("kept_ms", 0.0)
        self._kept_ms += detail.get("kept_ms", 0.0)
        record = StageRecord(name, digest_of(inputs), round(elapsed, 3), detail)
        self._stages.append(record)
        if self._observer is not None:
            self._observer.stage_finished(self._base.query, record)

    def guarded(self, guarded: GuardResult) -> None:
        """Keep the verdicts of a side, and what they cost."""
        self._verdicts += guarded.verdicts
        self._guard_usage += guarded.usage

    def looked_up(self, lookup: CacheLookup) -> None:
        """Keep what the cache said."""
        self._cache = lookup.record

    def finish(self, *, usage: tuple[Usage, ...] = (), **outcome: Any) -> Trace:
        """The trace of the finished query."""
        elapsed = (self._clock.seconds() - self._begin) * 1000 + self._kept_ms
        trace = replace(
            self._base,
            stages=tuple(self._stages),
            guard=tuple(self._verdicts),
            cache=self._cache,
            usage=(*usage, *self._guard_usage),
            milliseconds=round(elapsed, 3),
            **outcome,
        )
        if self._observer is not None:
            self._observer.answered(trace)
        return trace

    def failed(self, error: BaseException) -> None:
        """Tell that there will be no trace."""
        if self._observer is not None:
            self._observer.failed(self._base.query, error)
