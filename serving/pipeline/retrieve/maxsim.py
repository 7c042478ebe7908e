"""Compares question and passage token by token: late interaction."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.base import Vectors
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.vector_cache import VectorCache
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.minmax import minmax
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.types import Chunk, Hit, Query

CACHE_BYTES = 128 * 1024 * 1024  # about 900 chunks of 190 tokens


@runtime_checkable
class TokenEmbeddings(Protocol):
    """An embedding model that also returns a vector for every token."""

    def token_vectors(self, text: str) -> Vectors: ...


class MaxSimReranker:
    """The score is the mean, over the question's tokens, of the cosine to the nearest token of the passage."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """How much the tokens count and how far down they are asked."""

        weight: float = Field(default=0.5, ge=0.0, le=1.0, description="share of the token score; the rest is the search's score")
        depth: int = Field(default=20, ge=1, le=200, description="hits compared; those after them keep their order")

    def __init__(self, params: Params, parts: Parts) -> None:
        embeddings: object = parts.embeddings
        if not isinstance(embeddings, TokenEmbeddings):
            raise ConfigError(
                f"Reranker 'maxsim' compares tokens, and {type(embeddings).__name__} gives vectors of whole texts only. "
                f"Set index.embedder.name to {' or '.join(map(repr, _models_with_token_vectors()))}, or retrieve.reranker.name to another."
            )
        self._params = params
        self._embeddings = embeddings
        self._cache = VectorCache[NDArray[np.float16]](CACHE_BYTES, size=lambda tokens: tokens.nbytes)

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The k best by both scores, each min–max normalised over the hits compared."""
        head, tail = list(hits[: self._params.depth]), hits[self._params.depth :]
        text = search_text(query)
        if not head or not text:
            return list(hits[:k])
        question = _unit(await asyncio.to_thread(self._embeddings.token_vectors, text))
        passages = await asyncio.gather(*(self._tokens(hit.chunk) for hit in head))
        token_scores = minmax([round(_score(question, passage), 6) for passage in passages])  # rounded: equal on every machine
        search_scores = _on_scale_of(head, hits)
        weight = self._params.weight
        scored = [
            replace(hit, score=weight * token + (1 - weight) * search)
            for hit, token, search in zip(head, token_scores, search_scores, strict=False)
        ]
        scored.sort(key=lambda hit: (-hit.score, hit.chunk.id))
        remaining = [replace(hit, score=(1 - weight) * search) for hit, search in zip(tail, search_scores[len(head) :], strict=True)]
        return [*scored, *remaining][:k]

    async def _tokens(self, chunk: Chunk) -> NDArray[np.float16]:
        tokens = self._cache.get(chunk.id)
        if tokens is None:
            text = f"{chunk.heading or chunk.title}\n{chunk.text}".strip()
            tokens = _unit(await asyncio.to_thread(self._embeddings.token_vectors, text)).astype(np.float16)
            self._cache.put(chunk.id, tokens)
        return tokens


def _models_with_token_vectors() -> list[str]:
    """The embedding models by name whose `connect` promises an object with token vectors."""
    names = [name for name in EMBEDDINGS.own_names() if not name.endswith("*")]
    kinds = {name: get_type_hints(EMBEDDINGS.load(name).connect).get("return") for name in names}  # type: ignore[attr-defined]  # every source has it
    return [name for name, kind in kinds.items() if hasattr(kind, "token_vectors")]


def _unit(tokens: Vectors) -> Vectors:
    lengths = np.linalg.norm(tokens, axis=1, keepdims=True)
    return np.asarray(tokens / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _score(question: Vectors, passage: NDArray[np.float16]) -> float:
    if not len(question) or not len(passage):
        return 0.0
    return float((question @ passage.astype(np.float32).T).max(axis=1).mean())


def _on_scale_of(head: Sequence[Hit], hits: Sequence[Hit]) -> list[float]:
    """The search's scores where 0..1 is the range of the head; what comes after it is 0 or less and so stays after it."""
    low, high = min(hit.score for hit in head), max(hit.score for hit in head)
    return [(hit.score - low) / (high - low) if high > low else 1.0 - (hit.score < low) for hit in hits]
