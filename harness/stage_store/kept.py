"""Tells a retrieval that a part of it, deep within, came from the stage store, so that its time is not taken for a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[list[str] | None] = ContextVar("kept", default=None)  # of one retrieval, in whatever thread its parts run


@contextmanager
def noting_kept() -> Iterator[list[str]]:
    """The stages of which something was kept and used while the block ran."""
    noted: list[str] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def note_kept(stage: str) -> None:
    """Note that something of a stage was kept."""
    noted = _NOTED.get()
    if noted is not None:
        noted.append(stage)
