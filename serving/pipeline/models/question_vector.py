"""The vector of a question: made once for a query, however many parts ask for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from langchain_core.embeddings import Embeddings

from serving.pipeline.errors import ModelError
from serving.pipeline.index.base import Vectors
from serving.pipeline.types import Usage

_Made = dict[tuple[int, str], "asyncio.Task[Vectors | None]"]  # by the model and the text
_OF_QUERY: ContextVar[_Made | None] = ContextVar("the vectors of the query that is being answered", default=None)
_PAID: ContextVar[dict[tuple[str, str], Usage] | None] = ContextVar("what those vectors cost", default=None)


@contextmanager
def one_query() -> Iterator[None]:
    """Within it, equal texts are embedded once."""
    made: _Made = {}
    token, paid = _OF_QUERY.set(made), _PAID.set({})
    try:
        yield
    finally:
        _OF_QUERY.reset(token)
        _PAID.reset(paid)
        for task in made.values():
            if not task.cancel() and not task.cancelled():
                task.exception()  # whoever asked has seen it


def paid_vectors() -> dict[tuple[str, str], Usage]:
    """What the vectors cost that were made for this query, by the model's name and the text: told already, and to be told once."""
    paid = _PAID.get()
    return {} if paid is None else paid


class QuestionVectors:
    """Embeds questions; what is calibrated on vectors (a cache, a router) and what searches by them share one."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    async def vector(self, text: str) -> Vectors | None:
        """The question's direction, of length 1; None where the model sees no meaning in it, as in a blank one."""
        if not text:
            return None
        made = _OF_QUERY.get()
        if made is None:
            return await self._embed(text)
        key = id(self._embeddings), text
        if key not in made:
            made[key] = asyncio.ensure_future(self._embed(text))
        return await asyncio.shield(made[key])

    async def _embed(self, text: str) -> Vectors | None:
        # LangChain's own method, since hosted models embed questions and passages differently.
        vector = np.asarray(await self._embeddings.aembed_query(text), dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length):  # a broken model: finding nothing would read as a refusal, and be scored
            raise ModelError(f"The embedding model {type(self._embeddings).__name__} gave a vector that is not finite.")
        return vector / np.float32(length) if length else None
