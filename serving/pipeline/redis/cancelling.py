"""Cancellations that a command of Redis loses.

The client sends by `asyncio.wait_for`. Up to Python 3.11 that returns a result which comes at the same moment, and the cancelled task
goes on.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raise a cancellation that came meanwhile, and that nobody raised."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
