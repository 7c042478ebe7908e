"""Serves the release of a channel: polls, loads, retries, swaps."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from structlog.typing import FilteringBoundLogger

from serving.app.release import loaded
from serving.app.release.interleave import interleaved
from serving.app.release.loaded import LoadedRelease
from serving.app.release.probe import StoreProbe
from serving.app.release.trial import Assignment, LoadedCandidate, assign
from serving.app.settings import AppSettings
from serving.pipeline.errors import DataError, InfrastructureError, IntegrityError, NotProven, TouchstoneError
from serving.pipeline.pipeline import RagPipeline
from serving.release.bundle import open_releases
from serving.release.channel import CandidateRelease, Channel, check_not_replayed, check_proven, read_channel

Sleep = Callable[[float], Awaitable[None]]
State = Literal["current", "loading", "nothing-promoted", "unproven", "damaged", "unreachable", "slow", "failed", "index-unreadable"]


def state_of(error: Exception) -> State:
    """The state that names why a release cannot be served."""
    match error:
        case DataError():
            return "nothing-promoted"
        case NotProven():
            return "unproven"
        case IntegrityError():
            return "damaged"
        case InfrastructureError():
            return "unreachable"
        case TimeoutError():
            return "slow"
        case _:
            return "failed"


class ReleaseLoader(Protocol):
    """Loads a release into memory."""

    async def __call__(
        self, settings: AppSettings, digest: str, before: LoadedRelease | None = None, *, evidence: str | None = None
    ) -> LoadedRelease: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """The served and the promoted release, and the reason if they differ."""

    channel: str
    promoted: str  # digest that the channel points at; empty: not known
    loaded: str  # digest recomputed from what is in memory; empty: nothing
    index: str  # digest of the index it stands on
    state: State
    candidate: str  # digest of the release that is tried beside it; empty: none
    candidate_broken: bool  # whether the channel has a candidate that cannot be tried
    reason: str  # the whole reason, with places and names: for the log, and for those who have a key
    readable: bool = True  # whether the index could be read when it was last tried
    candidate_mode: str = ""  # how the candidate is tried; empty: none
    index_created_s: float = 0.0  # seconds since 1970 when the index was built; 0: not known

    @property
    def ready(self) -> bool:
        """Whether questions are answered. A release that cannot be loaded does not take its proven predecessor out of service."""
        return bool(self.loaded) and self.readable

    @property
    def current(self) -> bool:
        """Whether what is served is what is promoted."""
        return self.ready and self.loaded == self.promoted


class ReleaseManager:
    """Holds the release being served. A new one is loaded beside the old and swapped in when warm; queries keep the one they began with."""

    def __init__(
        self,
        settings: AppSettings,
        log: FilteringBoundLogger,
        *,
        load: ReleaseLoader = loaded.load,
        sleep: Sleep = asyncio.sleep,
        probe: StoreProbe | None = None,
        after_swap: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._releases = open_releases(settings.releases, settings)
        self._log = log
        self._load = load
        self._sleep = sleep
        self._probe = probe or StoreProbe()
        self._after_swap = after_swap
        self._lock = asyncio.Lock()
        self._promoted = ""
        self._state: State = "loading"
        self._reason = "The release is being loaded."
        self._seen: Channel | None = None  # the newest document of the channel
        self._previous: LoadedRelease | None = None  # kept loaded for an instant rollback
        self._broken = ""  # why the channel's candidate is not tried
        self.serving: LoadedRelease | None = None
        self.candidate: LoadedCandidate | None = None

    @property
    def readiness(self) -> Readiness:
        """The state as far as it is known."""
        current = self.serving
        failure = self._probe.failure if current else ""
        return Readiness(
            channel=self._settings.channel,
            promoted=self._promoted,
            loaded=current.digest if current else "",
            index=current.pipeline.index.digest if current else "",
            state="index-unreadable" if failure else self._state,
            candidate=self.candidate.loaded.digest if self.candidate else "",
            candidate_broken=bool(self._broken),
            reason=failure or self._reason,
            readable=not failure,
            candidate_mode=self.candidate.trial.mode if self.candidate else "",
            index_created_s=_seconds(current.release.index.created_at) if current else 0.0,
        )

    async def probed_readiness(self) -> Readiness:
        """The state, after trying whether the index can be read."""
        if self.serving is not None:
            before = self._probe.failure
            failure = await self._probe.check(self.serving.pipeline)
            if failure and not before:
                self._log.error("index unreadable", channel=self._settings.channel, release=self.serving.digest, reason=failure)
            elif before and not failure:
                self._log.info("index readable again", channel=self._settings.channel, release=self.serving.digest)
        return self.readiness

    async def run(self) -> None:
        """Poll the channel until cancelled."""
        while True:
            await self.refresh()
            await self._sleep(self._settings.poll_s)

    async def refresh(self) -> None:
        """Serve what the channel promotes; a failure becomes the reason, and the next poll tries again."""
        async with self._lock:
            try:
                channel = await self._channel()
                self._seen, self._promoted = channel, channel.stable
                if self.serving is None or self.serving.digest != channel.stable:
                    await self._swap(channel)
                elif self.serving.evidence != channel.evidence:
                    self.serving = await self._with_evidence(self.serving, channel)
                self._state, self._reason = "current", ""
                await self._try(channel)
            except TouchstoneError as error:
                self._fail(error, str(error))
            except TimeoutError as error:
                timeout_s = self._settings.request_timeout_s
                self._fail(error, f"The release {self._promoted} took more than {timeout_s:g} s to answer its first question.")
            except Exception as error:  # noqa: BLE001 — the process must survive any failure, to report it and to try again
                self._log.exception("load crashed", release=self._promoted)
                self._fail(error, f"Loading the release {self._promoted} crashed with {type(error).__name__}; the log has the details.")

    async def aclose(self) -> None:
        """Close what the loaded releases hold open."""
        tried = self.candidate.loaded if self.candidate else None
        for release in (self.serving, self._previous, tried):
            if release is not None:
                await release.pipeline.aclose()

    async def _channel(self) -> Channel:
        """The channel's document; while it cannot be read, the promoted release is unknown."""
        try:
            channel = await asyncio.to_thread(read_channel, self._releases, self._settings.channel)
            if self._seen is not None:
                check_not_replayed(channel, self._seen)
        except BaseException:
            self._promoted = ""
            raise
        return channel

    async def _try(self, channel: Channel) -> None:
        """Load the channel's candidate beside the stable release, or release the last one; a broken candidate changes nothing else."""
        trial = channel.candidate
        current = self.candidate
        if current is not None and current.trial == trial:
            return
        same = current is not None and trial is not None and _named(current.trial) == _named(trial)
        known = current.loaded if current is not None and same else None
        self.candidate = None
        if current is not None and known is None and not self._keeps(current.loaded.pipeline):
            await current.loaded.pipeline.aclose()
        if trial is None:
            self._broken = ""
            return
        try:
            fresh = known or await self._load(self._settings, trial.release, self.serving, evidence=trial.evidence)
            check_proven(channel.name, fresh.release.evidence[trial.evidence])
            mixed = interleaved(self.serving, fresh, self._settings) if self.serving and trial.mode == "interleave" else None
        except (TouchstoneError, TimeoutError) as error:
            self._candidate_failed(trial, str(error) or "It took too long to answer its first question.")
        except Exception as error:  # noqa: BLE001 — as for the stable release
            self._log.exception("candidate crashed", release=trial.release)
            self._candidate_failed(trial, f"Loading it crashed with {type(error).__name__}; the log has the details.")
        else:
            self.candidate, self._broken = LoadedCandidate(fresh, trial, mixed), ""
            self._log.info("candidate tried", release=trial.release, channel=channel.name, mode=trial.mode, weight=trial.weight)

    def _candidate_failed(self, trial: CandidateRelease, reason: str) -> None:
        if reason != self._broken:
            self._log.error("candidate not tried", channel=self._settings.channel, release=trial.release, reason=reason)
        self._broken = reason

    @property
    def in_memory(self) -> list[LoadedRelease]:
        """Every loaded release: what is served, what is tried, and what a rollback would bring back."""
        tried = self.candidate.loaded if self.candidate else None
        found = {id(release): release for release in (self.serving, tried, self._previous) if release is not None}
        return list(found.values())

    def assigned(self, key: str) -> Assignment | None:
        """The release that answers the holder of this key; `None` while there is none."""
        return None if self.serving is None else assign(self.serving, self.candidate, key)

    async def _swap(self, channel: Channel) -> None:
        tried = self.candidate.loaded if self.candidate else None
        at_hand = next((one for one in (self._previous, tried) if one is not None and one.digest == channel.stable), None)
        if at_hand is not None:
            next_release = at_hand
            if next_release.evidence != channel.evidence:
                next_release = await self._with_evidence(next_release, channel)
        else:
            next_release = await self._load(self._settings, channel.stable, self.serving, evidence=channel.evidence)
            _check(next_release, channel)
        given_up = self._previous
        self._previous, self.serving = self.serving, next_release
        if given_up is not None and not self._keeps(given_up.pipeline):
            await given_up.pipeline.aclose()
        previous = self._previous.digest if self._previous else None
        self._after_swap()
        self._log.info("release served", release=channel.stable, channel=self._settings.channel, before=previous, evidence=channel.evidence)

    def _keeps(self, pipeline: RagPipeline) -> bool:
        """Whether a pipeline is that of the release being served, or of the one before; other evidence makes another release of it."""
        return any(release is not None and release.pipeline is pipeline for release in (self.serving, self._previous))

    async def _with_evidence(self, current: LoadedRelease, channel: Channel) -> LoadedRelease:
        """The loaded release with other evidence."""
        proven = replace(current, release=await loaded.load_verified(self._settings, channel.stable, channel.evidence))
        _check(proven, channel)
        return proven

    def _fail(self, error: Exception, reason: str) -> None:
        if reason != self._reason:  # a repeated reason is logged once
            self._log.warning("release not served", channel=self._settings.channel, release=self._promoted, reason=reason)
        self._state, self._reason = state_of(error), reason


def _check(fresh: LoadedRelease, channel: Channel) -> None:
    """Raise unless a release may be served on a channel by the evidence that was loaded with it."""
    check_proven(channel.name, fresh.release.evidence[channel.evidence])


def _seconds(created_at: str) -> float:
    """A moment in ISO 8601 as seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(created_at).timestamp()
    except ValueError:
        return 0.0


def _named(trial: CandidateRelease) -> tuple[str, str]:
    return trial.release, trial.evidence
