"""A hosted embedding model that records its usage: tokens as the provider reports them, else estimated by the text's length."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.embeddings import Embeddings

from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models.base import EmbeddingSource
from serving.pipeline.models.prices import PriceList, embedding_usage
from serving.pipeline.models.question_vector import vector_usage
from serving.pipeline.types import Usage
from serving.pipeline.usage_meter import metered_calls, record_usage

_COUNTED: ContextVar[list[int] | None] = ContextVar("embedded_tokens", default=None)


@contextmanager
def counting_tokens() -> Iterator[list[int]]:
    """Collects the tokens of every text embedded within the block, as far as the provider reports them."""
    counted: list[int] = []
    token = _COUNTED.set(counted)
    try:
        yield counted
    finally:
        _COUNTED.reset(token)


def note_tokens(tokens: int) -> None:
    """Add the tokens that a provider reported for one text."""
    if (counted := _COUNTED.get()) is not None:
        counted.append(tokens)


class BilledEmbeddings(Embeddings):
    """Records the usage of every vector with the running query."""

    def __init__(self, inner: Embeddings, source: EmbeddingSource, name: str, prices: PriceList) -> None:
        self._inner = inner
        self._source = source
        self._name = name
        self._prices = prices

    def usage(self, text: str) -> Usage:
        """The usage of this question's vector: as recorded in this query, else estimated."""
        return vector_usage().get((self._name, text)) or self._usage(text, [])

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        with counting_tokens() as counted, metered_calls(self._usage(text, [])).watch():
            vector = await self._inner.aembed_query(text)
        vector_usage()[self._name, text] = use = self._usage(text, counted)
        record_usage(use)
        return vector

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question, synchronously."""
        with counting_tokens() as counted:
            vector = self._inner.embed_query(text)
        record_usage(self._usage(text, counted))
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        with counting_tokens() as counted:
            vectors = self._inner.embed_documents(texts)
        reported = len(counted) == len(texts)
        tokens = sum(counted) if reported else sum(map(estimate_tokens, texts))
        record_usage(embedding_usage(tokens, self._source, self._name, prices=self._prices, calls=len(texts), estimated=not reported))
        return vectors

    def _usage(self, text: str, counted: list[int]) -> Usage:
        tokens = counted[-1] if counted else estimate_tokens(text)
        return embedding_usage(tokens, self._source, self._name, prices=self._prices, estimated=not counted)
