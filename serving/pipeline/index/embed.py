"""From texts to unit vectors, with whatever embedding model is given."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from serving.pipeline.errors import InfrastructureError, ModelError
from serving.pipeline.index.base import Vectors


async def embed(embeddings: Embeddings, texts: Sequence[str]) -> Vectors:
    """One unit vector for each text, as float32; runs beside the event loop.

    A model with a `vectors(texts)` method hands over an array; any other is asked through LangChain's own interface.
    """
    if not texts:
        return np.empty((0, 0), dtype=np.float32)
    vectors_method: Callable[[list[str]], Vectors] | None = getattr(embeddings, "vectors", None)
    try:
        rows = await asyncio.to_thread(vectors_method or embeddings.embed_documents, list(texts))
    except InfrastructureError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"The embedding model {type(embeddings).__name__} failed on {len(texts)} texts: {error}") from error
    return unit(rows, len(texts))


def unit(rows: object, expected: int) -> Vectors:
    """The rows as float32 of length 1, or a `ModelError` that says which row is no direction."""
    try:
        vectors = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The embedding model gave vectors of different lengths or of no numbers: {error}") from error
    if vectors.ndim != 2 or vectors.shape[0] != expected or vectors.shape[1] == 0:
        raise ModelError(f"The embedding model gave an array of shape {vectors.shape} for {expected} texts; one row each is needed.")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0.0))
    if bad.size:
        raise ModelError(f"The embedding model gave a vector of length {lengths[bad[0], 0]} for text {int(bad[0])} of {expected}.")
    scaled: Vectors = (vectors / lengths).astype(np.float32)
    return scaled
