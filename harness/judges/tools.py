"""The tools of metrics beside the trace and the case: an embedding model, a judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from harness.judges.base import Judge
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.base import Vectors
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.connect import LOCAL, connect_chat, connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

EMBEDDER = Spec(name="local:minilm")


@dataclass(frozen=True)
class Tools:
    """An embedding model and a judge, loaded when first used."""

    settings: PipelineSettings
    embedder: Spec = EMBEDDER
    judge: Judge | None = None
    connected: Embeddings | None = None  # replaces the embedder's own model
    connect: Callable[[], Embeddings] | None = None  # another way to connect the embedder's model, such as with stored vectors
    listeners: tuple[BaseCallbackHandler, ...] = ()  # callbacks of the judge's chat model in metrics of libraries
    judge_model: Spec | None = None  # the chat model behind `--judge llm:…`, for metrics of libraries that ask in their own words
    replay_only: bool = False  # that chat model is not asked again

    @cached_property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        if self.connected is not None:
            return self.connected
        return self.connect() if self.connect else connect_embeddings(self.embedder, self.settings)

    @cached_property
    def chat(self) -> BaseChatModel:
        """The chat model of `require_chat_model`, connected."""
        spec = self.require_chat_model("of a library")
        if self.replay_only and not spec.name.startswith(LOCAL):
            raise DataError(f"No kept score by {spec.name} of this answer. Run once without --replay-only.")
        model = connect_chat(spec, self.settings).model
        return model.model_copy(update={"callbacks": list(self.listeners)}) if self.listeners else model

    @property
    def model(self) -> str:
        """The embedding model by name."""
        return self.embedder.name

    @property
    def embedder_id(self) -> str:
        """The embedding model with its version: part of the version of every metric that uses it."""
        return f"{self.embedder.name}:{EMBEDDINGS.version(self.embedder)}"

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A unit vector for each text."""
        if not texts:  # nothing is loaded for nothing
            return np.empty((0, 0), dtype=np.float32)
        return NamedEmbeddings(self.model, self.embeddings).vectors(texts)

    def require_judge(self, metric: str) -> Judge:
        """The judge, or a `ConfigError` that says how to name one."""
        if self.judge is None:
            raise ConfigError(f"Metric {metric!r} needs a judge. Name one: --judge local, or --judge llm:<provider>:<model>")
        return self.judge

    def require_chat_model(self, metric: str) -> Spec:
        """The judge's chat model, at temperature 0, or a `ConfigError` that says how to name one."""
        from harness.judges.llm import at_temperature_zero  # here, as judges know of metrics

        if self.judge_model is None:
            reason = f", and the judge {self.judge.name!r} is none" if self.judge else ""
            raise ConfigError(f"Metric {metric!r} needs a chat model as its judge{reason}. Name one: --judge llm:<provider>:<model>")
        return at_temperature_zero(self.judge_model)
