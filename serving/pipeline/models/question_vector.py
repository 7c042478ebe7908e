"""The vector of a question: computed once per query and shared by cache, search and router."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from langchain_core.embeddings import Embeddings

from serving.pipeline.errors import ModelError
from serving.pipeline.index.base import Vectors
from serving.pipeline.types import Usage

_Vectors = dict[tuple[int, str], "asyncio.Task[Vectors | None]"]  # by the model and the text
_OF_QUERY: ContextVar[_Vectors | None] = ContextVar("question_vectors", default=None)
_PAID: ContextVar[dict[tuple[str, str], Usage] | None] = ContextVar("vector_usage", default=None)


@contextmanager
def shared_question_vectors() -> Iterator[None]:
    """Within the block, equal texts are embedded once."""
    made: _Vectors = {}
    token, paid = _OF_QUERY.set(made), _PAID.set({})
    try:
        yield
    finally:
        _OF_QUERY.reset(token)
        _PAID.reset(paid)
        for task in made.values():
            if not task.cancel() and not task.cancelled():
                task.exception()  # the caller that awaited it has raised it


def vector_usage() -> dict[tuple[str, str], Usage]:
    """The usage of this query's vectors by model name and text; it is recorded already and must not be recorded again."""
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
