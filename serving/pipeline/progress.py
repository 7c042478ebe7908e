"""The callback by which long work reports its progress."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # done, in all; of files, chunks, cases, …
