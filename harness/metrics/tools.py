"""What metrics may need beside the trace and the case: an embedding model, a judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.judges.base import Judge
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

EMBEDDER = Spec(name="local:minilm")


@dataclass(frozen=True)
class Tools:
    """Handed to the metrics that ask for it; nothing is loaded before it is used."""

    settings: PipelineSettings
    embedder: Spec = EMBEDDER
    judge: Judge | None = None
    connected: Embeddings | None = None  # in the place of the embedder's own model

    @cached_property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        return self.connected or connect_embeddings(self.embedder, self.settings)

    @property
    def embedder_id(self) -> str:
        """The embedding model with its version: part of the version of every metric that uses it."""
        return f"{self.embedder.name}:{EMBEDDINGS.version(self.embedder)}"

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A unit vector for each text."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        return unit(self.embeddings.embed_documents(list(texts)), len(texts))

    def asked(self, metric: str) -> Judge:
        """The judge, or a `ConfigError` that says how to name one."""
        if self.judge is None:
            raise ConfigError(f"Metric {metric!r} needs a judge. Name one: --judge local, or --judge llm:<provider>:<model>")
        return self.judge
