"""The progress of several tasks after each other, by name."""

from collections.abc import Callable

TaskProgress = Callable[[str, int, int], None]  # the task, how much of it is done, how much there is


def silent(task: str, done: int, total: int) -> None:
    """Progress that is not shown."""
