"""What other processes do to a queue in tests; a module of its own, so that they start quickly."""

import signal
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from harness.golden.candidate import Candidate, Proposal, Provenance
from harness.golden.queue import Queue
from tests.support.waiting import WITHIN_S


def write_many(folder: Path, writer: int, ready: Barrier) -> None:
    """Add ten candidates, one by one, when all writers are ready."""
    queue = Queue(folder)
    ready.wait(WITHIN_S)
    for number in range(10):
        proposal = Proposal(question=f"Question {writer}.{number}?")
        queue.add([Candidate.of(proposal, Provenance(source="hand", made_at="2026-11-01T10:00:00+00:00"))])


def hold(folder: Path, held: Event) -> None:
    """Take the lock, say so, and never give it back."""
    with Queue(folder).locked():
        held.set()
        signal.pause()
