"""Repeated events: the first of a kind is logged at once, the others as one count a minute, so that an attack cannot fill a disk."""

import asyncio
import logging
import threading
from typing import Final

from structlog.typing import FilteringBoundLogger

INTERVAL_S: Final = 60.0
MOST_KINDS: Final = 100  # told apart; whatever comes beyond is one kind
OTHERS: Final = "others"


class RepeatedEvents:
    """Counts events by kind; safe under several threads."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def first(self, kind: str) -> bool:
        """Whether an event is the first of its kind since `due` last forgot it; every other one is counted."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MOST_KINDS:
                kind = OTHERS
            if kind not in self._counts:
                self._counts[kind] = 0
                return True
            self._counts[kind] += 1
            return False

    def due(self) -> dict[str, int]:
        """How often each kind was counted since the last call; a kind that was not is forgotten."""
        with self._lock:
            counted = {kind: count for kind, count in self._counts.items() if count}
            self._counts = dict.fromkeys(counted, 0)
            return counted

    async def report(self, log: FilteringBoundLogger) -> None:
        """Log the counts once a minute until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.log(log)

    def log(self, log: FilteringBoundLogger) -> None:
        """Log the counts now."""
        for kind, count in self.due().items():
            log.warning("repeated", what=kind, times=count)


class RepeatFilter(logging.Filter):
    """Lets the first warning of a kind through; the kind is the logger and the unformatted message's first line."""

    def __init__(self, repeats: RepeatedEvents) -> None:
        super().__init__()
        self._repeats = repeats

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record."""
        if record.levelno < logging.WARNING:
            return True
        return self._repeats.first(f"{record.name}: {str(record.msg).strip().partition(chr(10))[0][:120]}")
