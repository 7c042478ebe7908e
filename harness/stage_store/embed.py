"""Embedding models with stored vectors: a text is embedded once, whatever it is a chunk of."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.stage_store.base import StageStore, key_of
from harness.stage_store.endpoint import endpoints_of
from harness.stage_store.reuse import note_reuse
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.billed_embeddings import counting_tokens, note_tokens
from serving.pipeline.models.connect import LOCAL, connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve.maxsim import TokenEmbeddings
from serving.pipeline.retrieve.vector import HasPrecisions
from serving.pipeline.settings import PipelineSettings

STAGE = "embed"
TOKEN_VECTOR_BYTES = 64 * 1024 * 1024  # some 220 passages of 190 tokens: a small corpus whole, and a bound for a large one
_FLOAT = np.dtype("<f4")


class CachedEmbeddings(Embeddings):
    """Asks the model only for vectors that are not stored."""

    def __init__(self, model: str, connect: Callable[[], Embeddings], store: StageStore, *, replay_only: bool = False) -> None:
        self._model = model
        self._billed = not model.startswith(LOCAL)  # so that its tokens are kept beside a question's vector
        self._connect = connect
        self._store = store
        self._replay_only = replay_only

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        rows: list[list[float]] = self.vectors(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        key, tokens_key = key_of(self._model, "query", text), key_of(self._model, "query tokens", text)
        stored = self._store.get(STAGE, key)
        if stored is not None:
            note_reuse(STAGE)
            if self._billed and (tokens := self._store.get(STAGE, tokens_key)) is not None:
                note_tokens(int(tokens))
        else:
            with counting_tokens() as counted:
                vector = np.asarray(self._inner.embed_query(text), dtype=_FLOAT)
            stored = vector.tobytes()
            if np.isfinite(vector).all():  # the searcher refuses any other
                billed_tokens = {tokens_key: str(counted[-1]).encode()} if counted else {}
                self._store.put_many(STAGE, {key: stored, **billed_tokens})
            for count in counted:
                note_tokens(count)
        row: list[float] = np.frombuffer(stored, dtype=_FLOAT).tolist()
        return row

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, as an array, as the model gave it."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        keys = [key_of(self._model, "document", text) for text in texts]
        stored = self._store.get_many(STAGE, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in stored}
        if missing:
            rows = self._compute(list(missing.values()))
            new = {key: row.tobytes() for key, row in zip(missing, rows, strict=True)}
            self._store.put_many(STAGE, new)
            stored |= new
        vectors: Vectors = np.stack([np.frombuffer(stored[key], dtype=_FLOAT) for key in keys]).astype(np.float32)
        return vectors

    @property
    def computing(self) -> Embeddings:
        """The model itself, which computes each vector; where it may not be asked, what it gave before."""
        return self if self._replay_only else self._inner

    def _compute(self, texts: list[str]) -> Vectors:
        direct: Callable[[list[str]], Any] | None = getattr(self._inner, "vectors", None)
        return _checked((direct or self._inner.embed_documents)(texts), len(texts))

    @cached_property
    def _inner(self) -> Embeddings:
        if self._replay_only:
            raise DataError(f"No kept vector of {self._model.split('|')[0]} for a text. Run once without --replay-only.")
        return self._connect()


class CachedTokenEmbeddings(CachedEmbeddings):
    """The same for a model that also gives a vector per token; these stay in memory, being two hundred times as large."""

    def __init__(self, model: str, connect: Callable[[], Embeddings], store: StageStore, *, memory_bytes: int = TOKEN_VECTOR_BYTES) -> None:
        super().__init__(model, connect, store)
        self._free_bytes = memory_bytes
        self._in_memory: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def at_precision(self, precision: Literal["int8"]) -> CachedEmbeddings:
        """The model in another precision, its vectors stored apart."""
        inner = self._inner
        if not isinstance(inner, HasPrecisions):
            raise ConfigError(f"retrieve.search.precision: {type(inner).__name__} has one precision only. Leave it out.")
        return CachedEmbeddings(f"{self._model}|{precision}", lambda: inner.at_precision(precision), self._store)

    def token_vectors(self, text: str) -> Vectors:
        """A vector for each token; a passage is embedded once for all configurations while there is room in memory."""
        with self._lock:
            if text in self._in_memory:
                self._in_memory.move_to_end(text)
                note_reuse(STAGE)
                return self._in_memory[text]
        assert isinstance(self._inner, TokenEmbeddings)
        vectors = self._inner.token_vectors(text)
        vectors.setflags(write=False)
        with self._lock:
            if text not in self._in_memory:
                self._in_memory[text] = vectors
                self._free_bytes -= vectors.nbytes
            while self._free_bytes < 0:
                self._free_bytes += self._in_memory.popitem(last=False)[1].nbytes
        return vectors


def _checked(rows: object, expected: int) -> Vectors:
    """The rows as they are, or a `ModelError` for a row that cannot be normalised; normalising twice would change last bits."""
    unit(rows, expected)
    return np.asarray(rows, dtype=_FLOAT)


def cached_embeddings(spec: Spec, settings: PipelineSettings, store: StageStore, *, replay_only: bool = False) -> CachedEmbeddings:
    """The embedding model of a spec behind the stage store; one with token vectors keeps them."""
    params = EMBEDDINGS.complete(spec).params
    model = "|".join([spec.name, EMBEDDINGS.version(spec), key_of(params, *endpoints_of(spec.name, settings))])
    if not spec.name.startswith(LOCAL):
        return CachedEmbeddings(model, lambda: connect_embeddings(spec, settings), store, replay_only=replay_only)
    inner = connect_embeddings(spec, settings)
    kind = CachedTokenEmbeddings if isinstance(inner, TokenEmbeddings) else CachedEmbeddings
    return kind(model, lambda: inner, store)
