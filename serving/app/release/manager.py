"""Keeps in memory what the channel promotes: loads, tries again, swaps."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from serving.app.release import loaded
from serving.app.release.loaded import LoadedRelease
from serving.app.settings import AppSettings
from serving.pipeline.errors import TouchstoneError
from serving.release.bundle import open_releases
from serving.release.channel import Channel, check_not_replayed, check_proven, read_channel

Sleep = Callable[[float], Awaitable[None]]


class Load(Protocol):
    """How a release gets into memory."""

    async def __call__(
        self, settings: AppSettings, digest: str, before: LoadedRelease | None = None, *, evidence: str | None = None
    ) -> LoadedRelease: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is served, what should be, and why they differ if they do."""

    channel: str
    promoted: str  # digest that the channel points at; empty: not known
    loaded: str  # digest recomputed from what is in memory; empty: nothing
    index: str  # digest of the index it stands on
    reason: str  # why what is promoted is not served; empty: it is

    @property
    def ready(self) -> bool:
        """Whether questions are answered. A release that cannot be loaded does not take its proven predecessor out of service."""
        return bool(self.loaded)

    @property
    def current(self) -> bool:
        """Whether what is served is what is promoted."""
        return self.ready and self.loaded == self.promoted


class ReleaseManager:
    """Holds the release being served. A new one is loaded beside the old and swapped in when warm; queries keep the one they began with."""

    def __init__(self, settings: AppSettings, log: FilteringBoundLogger, *, load: Load = loaded.load, sleep: Sleep = asyncio.sleep) -> None:
        self._settings = settings
        self._releases = open_releases(settings.releases, settings)
        self._log = log
        self._load = load
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._promoted = ""
        self._reason = "The release is being loaded."
        self._seen: Channel | None = None  # the newest document of the channel
        self._previous: LoadedRelease | None = None  # so that a rollback takes no loading
        self.serving: LoadedRelease | None = None

    @property
    def readiness(self) -> Readiness:
        """The state as /readyz tells it."""
        now = self.serving
        return Readiness(
            channel=self._settings.channel,
            promoted=self._promoted,
            loaded=now.digest if now else "",
            index=now.pipeline.index.digest if now else "",
            reason=self._reason,
        )

    async def run(self) -> None:
        """Look at the channel again and again, until cancelled."""
        while True:
            await self.look()
            await self._sleep(self._settings.poll_s)

    async def look(self) -> None:
        """Make what is served what the channel promotes; a failure becomes the reason, and is for the next look to mend."""
        async with self._lock:
            try:
                channel = await asyncio.to_thread(read_channel, self._releases, self._settings.channel)
                if self._seen is not None:
                    check_not_replayed(channel, self._seen)
                self._seen, self._promoted = channel, channel.stable
                if self.serving is None or self.serving.digest != channel.stable:
                    await self._swap(channel)
                elif self.serving.evidence != channel.evidence:
                    self.serving = await self._proven_anew(self.serving, channel)
                self._reason = ""
            except TouchstoneError as error:
                self._fail(str(error))
            except TimeoutError:
                patience = self._settings.request_timeout_s
                self._fail(f"The release {self._promoted} took more than {patience:g} s to answer its first question.")
            except Exception as error:  # noqa: BLE001 — whatever it is, the process must live to tell it and to try again
                self._log.exception("load crashed", release=self._promoted)
                self._fail(f"Loading the release {self._promoted} crashed with {type(error).__name__}; the log has the details.")

    async def _swap(self, channel: Channel) -> None:
        if self._previous is not None and self._previous.digest == channel.stable:
            fresh = self._previous
            if fresh.evidence != channel.evidence:
                fresh = await self._proven_anew(fresh, channel)
        else:
            fresh = await self._load(self._settings, channel.stable, self.serving, evidence=channel.evidence)
            _check(fresh, channel)
        self._previous, self.serving = self.serving, fresh
        before = self._previous.digest if self._previous else None
        self._log.info("release served", release=channel.stable, channel=self._settings.channel, before=before, evidence=channel.evidence)

    async def _proven_anew(self, held: LoadedRelease, channel: Channel) -> LoadedRelease:
        """What is in memory, by other evidence for the same release."""
        fresh = replace(held, release=await loaded.verified(self._settings, channel.stable, channel.evidence))
        _check(fresh, channel)
        return fresh

    def _fail(self, reason: str) -> None:
        if reason != self._reason:  # the same trouble every few seconds is told once
            self._log.warning("release not served", channel=self._settings.channel, release=self._promoted, reason=reason)
        self._reason = reason


def _check(fresh: LoadedRelease, channel: Channel) -> None:
    """Raise unless a release may be served on a channel by the evidence that was loaded with it."""
    check_proven(channel.name, fresh.release.evidence[channel.evidence])
