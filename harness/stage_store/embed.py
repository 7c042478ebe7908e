"""Embedding models whose vectors are kept: a text is embedded once, whatever it is a chunk of."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.stage_store.base import StageStore, key_of
from harness.stage_store.endpoint import endpoints_of
from serving.pipeline.errors import DataError
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.connect import LOCAL, connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve.maxsim import TokenEmbeddings
from serving.pipeline.settings import PipelineSettings

STAGE = "embed"
REMEMBERED_BYTES = 256 * 1024 * 1024  # of token vectors: some 900 passages of 190 tokens
_FLOAT = np.dtype("<f4")


class CachedEmbeddings(Embeddings):
    """Asks the model only for the vectors of texts that it never saw."""

    def __init__(self, model: str, connect: Callable[[], Embeddings], stages: StageStore, *, replay_only: bool = False) -> None:
        self._model = model
        self._connect = connect
        self._stages = stages
        self._replay_only = replay_only

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        rows: list[list[float]] = self.vectors(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        key = key_of(self._model, "query", text)
        known = self._stages.get(STAGE, key)
        if known is None:
            vector = np.asarray(self._inner.embed_query(text), dtype=_FLOAT)
            known = vector.tobytes()
            if np.isfinite(vector).all():  # what is not is the searcher's to refuse
                self._stages.put(STAGE, key, known)
        row: list[float] = np.frombuffer(known, dtype=_FLOAT).tolist()
        return row

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, as an array, as the model gave it."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        keys = [key_of(self._model, "document", text) for text in texts]
        known = self._stages.get_many(STAGE, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = self._computed(list(missing.values()))
            new = {key: row.tobytes() for key, row in zip(missing, rows, strict=True)}
            self._stages.put_many(STAGE, new)
            known |= new
        found: Vectors = np.stack([np.frombuffer(known[key], dtype=_FLOAT) for key in keys]).astype(np.float32)
        return found

    def _computed(self, texts: list[str]) -> Vectors:
        direct: Callable[[list[str]], Any] | None = getattr(self._inner, "vectors", None)
        return _sound((direct or self._inner.embed_documents)(texts), len(texts))

    @cached_property
    def _inner(self) -> Embeddings:
        if self._replay_only:
            raise DataError(f"No kept vector of {self._model.split('|')[0]} for a text. Run once without --replay-only.")
        return self._connect()


class CachedTokenEmbeddings(CachedEmbeddings):
    """The same for a model that also tells the vector of every token: these are remembered, not kept, being two hundred times as large."""

    def __init__(
        self, model: str, connect: Callable[[], Embeddings], stages: StageStore, *, remember_bytes: int = REMEMBERED_BYTES
    ) -> None:
        super().__init__(model, connect, stages)
        self._room = remember_bytes
        self._remembered: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def token_vectors(self, text: str) -> Vectors:
        """A vector for each token; a passage that one configuration compared is not read again for the next."""
        with self._lock:
            if text in self._remembered:
                self._remembered.move_to_end(text)
                return self._remembered[text]
        assert isinstance(self._inner, TokenEmbeddings)
        found = self._inner.token_vectors(text)
        found.setflags(write=False)
        with self._lock:
            if text not in self._remembered:
                self._remembered[text] = found
                self._room -= found.nbytes
            while self._room < 0:
                self._room += self._remembered.popitem(last=False)[1].nbytes
        return found


def _sound(rows: object, expected: int) -> Vectors:
    """The rows as they are, or a `ModelError` where one is no direction: normalising twice would change last bits."""
    unit(rows, expected)
    return np.asarray(rows, dtype=_FLOAT)


def cached_embeddings(spec: Spec, settings: PipelineSettings, stages: StageStore, *, replay_only: bool = False) -> CachedEmbeddings:
    """The embedding model of a spec, its vectors kept; one that tells tokens still does."""
    params = EMBEDDINGS.complete(spec).params
    model = "|".join([spec.name, EMBEDDINGS.version(spec), key_of(params, *endpoints_of(spec.name, settings))])
    if not spec.name.startswith(LOCAL):
        return CachedEmbeddings(model, lambda: connect_embeddings(spec, settings), stages, replay_only=replay_only)
    inner = connect_embeddings(spec, settings)
    kind = CachedTokenEmbeddings if isinstance(inner, TokenEmbeddings) else CachedEmbeddings
    return kind(model, lambda: inner, stages)
