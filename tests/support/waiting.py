"""Waiting for what another process does."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0  # a machine may be slow; what is waited for comes


def until(done: Callable[[], object], within_s: float) -> None:
    """Ask again and again until it is so; fail when it does not come to be."""
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.05)
