"""A hosted embedding model whose calls are paid for: the tokens as the provider tells them, else estimated by the text's length."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.embeddings import Embeddings

from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models.base import EmbeddingSource
from serving.pipeline.models.prices import PriceList, embedding_usage
from serving.pipeline.models.question_vector import paid_vectors
from serving.pipeline.spending import spent, unused_calls
from serving.pipeline.types import Usage

_COUNTED: ContextVar[list[int] | None] = ContextVar("tokens that the provider told", default=None)


@contextmanager
def counting_tokens() -> Iterator[list[int]]:
    """The tokens of every text that is embedded within it, as far as the provider tells them."""
    counted: list[int] = []
    token = _COUNTED.set(counted)
    try:
        yield counted
    finally:
        _COUNTED.reset(token)


def note_tokens(tokens: int) -> None:
    """A provider has told the tokens of a text."""
    if (counted := _COUNTED.get()) is not None:
        counted.append(tokens)


class BilledEmbeddings(Embeddings):
    """Tells the query that is being answered what its vectors cost."""

    def __init__(self, inner: Embeddings, source: EmbeddingSource, name: str, prices: PriceList) -> None:
        self._inner = inner
        self._source = source
        self._name = name
        self._prices = prices

    def usage(self, text: str) -> Usage:
        """What the vector of this question costs: as it was told in this query, else as estimated."""
        return paid_vectors().get((self._name, text)) or self._usage(text, [])

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        with counting_tokens() as counted, unused_calls(self._usage(text, [])).watch():
            vector = await self._inner.aembed_query(text)
        paid_vectors()[self._name, text] = use = self._usage(text, counted)
        spent(use)
        return vector

    def embed_query(self, text: str) -> list[float]:
        """The same for who cannot wait."""
        with counting_tokens() as counted:
            vector = self._inner.embed_query(text)
        spent(self._usage(text, counted))
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        with counting_tokens() as counted:
            vectors = self._inner.embed_documents(texts)
        told = len(counted) == len(texts)
        tokens = sum(counted) if told else sum(map(estimate_tokens, texts))
        spent(embedding_usage(tokens, self._source, self._name, prices=self._prices, calls=len(texts), estimated=not told))
        return vectors

    def _usage(self, text: str, counted: list[int]) -> Usage:
        tokens = counted[-1] if counted else estimate_tokens(text)
        return embedding_usage(tokens, self._source, self._name, prices=self._prices, estimated=not counted)
