"""Notes that a part of a retrieval, deep within, came from the stage store, so that its time is not taken for a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[list[str] | None] = ContextVar("reused", default=None)  # of one retrieval, in whatever thread its parts run


@contextmanager
def noting_reuse() -> Iterator[list[str]]:
    """The stages of which a stored output was used while the block ran."""
    noted: list[str] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def note_reuse(stage: str) -> None:
    """Note that a stored output of a stage was used."""
    noted = _NOTED.get()
    if noted is not None:
        noted.append(stage)
