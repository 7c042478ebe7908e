"""The shadow audit: a sample of hits is answered again, and too many disagreements lower the cache's reach."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from serving.pipeline.cache.agreement import disagreement_of
from serving.pipeline.cache.alarm import alarms
from serving.pipeline.cache.backend import CacheBackend
from serving.pipeline.cache.base import CacheHit
from serving.pipeline.models.question_vector import QuestionVectors
from serving.pipeline.types import Answer

log = logging.getLogger(__name__)
Fresh = Callable[[], Awaitable[Answer | None]]

ALPHA: Final = 0.05  # chance of a false alarm at one step of the reach, ever
_AT_A_TIME: Final = 1
_HOUR_S: Final = 3600.0
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """The share of hits that is audited, and the share of disagreements that is tolerated."""

    share: float  # of the hits
    per_hour: int  # at most, of this process
    tolerated: float  # share of the audited hits that may disagree


@dataclass(slots=True)
class AuditCounts:
    """What this process audited."""

    agreed: int = 0
    disagreed: int = 0
    unjudged: int = 0  # no fresh answer that could be compared


class ShadowAudit:
    """Answers sampled hits again, beside the query and for its own principal, and lowers the reach by a step when the alarm goes off."""

    def __init__(
        self,
        backend: CacheBackend,
        release: str,
        ladder: Sequence[str],
        policy: AuditPolicy,
        *,
        vectors: QuestionVectors | None,
        chance: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._release = release
        self._ladder = ladder
        self._policy = policy
        self._vectors = vectors
        self._chance = chance
        self._seconds = seconds
        self._started: deque[float] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts = AuditCounts()

    def reach(self) -> str:
        """How far the cache reaches now: a word of its ladder."""
        return self._reach_at(self._backend.reach(self._release))

    async def offer(self, hit: CacheHit, fresh: Fresh) -> "asyncio.Task[None] | None":
        """Audit a hit in the background, if its kind is the one that the reach audits, it is sampled, and no other audit runs."""
        step = self._backend.reach(self._release)
        if hit.kind != audited_kind(self._reach_at(step)) or not self._sampled():
            return None
        task = asyncio.get_running_loop().create_task(self._audit(step, hit, fresh))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _sampled(self) -> bool:
        if self._policy.share <= 0 or self._chance() >= self._policy.share:
            return False
        now_s = self._seconds()
        while self._started and self._started[0] <= now_s - _HOUR_S:
            self._started.popleft()
        running = [task for task in self._tasks if not task.get_loop().is_closed()]
        if len(self._started) >= self._policy.per_hour or len(running) >= _AT_A_TIME:
            return False
        self._started.append(now_s)
        return True

    async def _audit(self, step: int, hit: CacheHit, fresh: Fresh) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await fresh()
            if answer is None:
                self.counts.unjudged += 1
                return
            why = disagreement_of(hit.entry.answer, answer, await self._similarity(hit.entry.answer, answer))
        except Exception as error:  # noqa: BLE001 — it runs in the background; the next sample tries again
            self.counts.unjudged += 1
            log.info("An audit of the cache failed: %s", type(error).__name__)
            return
        await self.judged(step, bool(why), why, writer=hit.entry.writer)

    async def judged(self, step: int, disagreed: bool, why: str = "", *, writer: str = "") -> None:
        """Count what came of an audit, and lower the reach where that is one too many."""
        self.counts.disagreed += disagreed
        self.counts.agreed += not disagreed
        if disagreed:
            log.info("A cached answer (of trace %s) and a fresh one disagree: %s.", writer or "?", why)
        audits, bad = await self._backend.audited(self._release, f"step{step}", disagreed)
        if alarms(audits, bad, tolerated=self._policy.tolerated, alpha=ALPHA) and step + 1 < len(self._ladder):
            await self._backend.lower(self._release, step)
            reason = f"{bad} of {audits} audited hits disagree with a fresh answer, more than the {self._policy.tolerated:.1%} tolerated"
            log.warning("The cache reaches less far: %s, was %s. %s.", self._reach_at(step + 1), self._reach_at(step), reason)

    async def _similarity(self, kept: Answer, fresh: Answer) -> float | None:
        if self._vectors is None:
            return None
        one, two = await self._vectors.vector(kept.text), await self._vectors.vector(fresh.text)
        return None if one is None or two is None else float(one @ two)

    async def aclose(self) -> None:
        """Cancel the running audits."""
        tasks: list[asyncio.Task[Any]] = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reach_at(self, step: int) -> str:
        return self._ladder[min(step, len(self._ladder) - 1)]


def audited_kind(reach: str) -> str:
    """Which hits are audited: the furthest that the cache reaches."""
    return {"full": "semantic", "raised": "semantic", "exact": "exact"}.get(reach, "")


@runtime_checkable
class Audited(Protocol):
    """A cache that audits its hits: a sample is answered again and compared."""

    @property
    def audit(self) -> ShadowAudit: ...
