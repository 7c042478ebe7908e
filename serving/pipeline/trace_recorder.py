"""Records the stages of one query as a trace."""

import asyncio
import threading
from collections.abc import Callable, Iterator
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
        self._usage: list[Usage] = []
        self._ended = False
        self._usage_receiver: Callable[[Usage], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._cache: CacheRecord | None = None
        started = clock.now().isoformat(timespec="milliseconds")
        self._observed = replace(query, text="", history=())  # what observers may see before the guard has run
        self._facts = [digests.config, query.id, query.principal.tenant, query.principal.id, started]
        self._trace = Trace(
            id=digest_of(self._facts),
            query=self._observed,
            config_digest=digests.config,
            index_digest=digests.index,
            release_digest=digests.release,
            index_version=index_version,
            started_at=started,
        )

    @property
    def trace_id(self) -> str:
        """The trace's id, which is final once the question was checked."""
        return self._trace.id

    @property
    def verdicts(self) -> tuple[GuardVerdict, ...]:
        """The verdicts so far."""
        return tuple(self._verdicts)

    @property
    def usage(self) -> tuple[Usage, ...]:
        """The usage so far, the answer's calls first."""
        return tuple(sorted(self._usage, key=lambda use: use.stage != "answer"))

    @property
    def query(self) -> Query:
        """The query as it may be stored: without its text until the guard has checked it."""
        return self._trace.query

    def set_query(self, query: Query) -> None:
        """Set the query as the input checks left it: what they masked is in no trace, not even as part of a digest."""
        self._trace = replace(self._trace, query=query, id=digest_of([*self._facts, query.text]))

    @property
    def question_text(self) -> str:
        """The question that is answered, as it may be stored."""
        return self._trace.question or self._trace.query.text

    def set_question(self, question: str) -> None:
        """Set the standalone question that is answered in place of a follow-up, as the checks left it."""
        self._trace = replace(self._trace, question=question)

    @contextmanager
    def stage(self, name: str, inputs: object | Callable[[], object]) -> Iterator[dict[str, Any]]:
        """Time one stage; the yielded dict becomes its detail. A `kept_ms` in it, the original time of a cached result, is added.

        A function for `inputs` is called when the stage has ended.
        """
        if self._observer is not None:
            self._observer.stage_started(self._observed, name)
        start, detail = self._clock.seconds(), dict[str, Any]()
        yield detail
        elapsed = (self._clock.seconds() - start) * 1000 + detail.get("kept_ms", 0.0)
        self._cached_ms += detail.get("kept_ms", 0.0)
        record = StageRecord(name, digest_of(inputs() if callable(inputs) else inputs), round(elapsed, 3), detail)
        self._stages.append(record)
        if self._observer is not None:
            self._observer.stage_finished(self._observed, record)

    def add_verdicts(self, result: GuardResult) -> None:
        """Add the verdicts of one side; the usage of its checks was recorded when they ran."""
        self._verdicts += result.verdicts

    def add_usage(self, usage: Usage) -> None:
        """Add usage, from any thread; once the trace is finished, only the observer is notified."""
        if threading.get_ident() != self._thread:
            self.add_late_usage(usage)
        elif not self._ended:
            self._usage.append(usage)
        elif self._usage_receiver is not None:
            self._usage_receiver(usage)
        elif self._observer is not None:
            self._observer.spent(self._observed, usage)

    def discard(self, receiver: Callable[[Usage], None]) -> None:
        """End without a trace; `receiver` gets the usage so far and what is added later."""
        self._ended, self._usage_receiver = True, receiver
        for usage in self.usage:
            receiver(usage)

    def add_late_usage(self, usage: Usage) -> None:
        """Add the usage of an abandoned call; from any thread, at any time."""
        with suppress(RuntimeError):  # the loop was closed: the process ends
            self._loop.call_soon_threadsafe(self.add_usage, usage)

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
            usage=self.usage,
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
            self._observer.failed(self._observed, error)
            for usage in self.usage:
                self._observer.spent(self._observed, usage)


def cached_time(milliseconds: float | None) -> dict[str, float]:
    """The detail of a stage with a cached result: how long the original computation took."""
    return {} if milliseconds is None else {"kept_ms": milliseconds}
