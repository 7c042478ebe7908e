"""From a name in the configuration to a model that can be asked: table, patience, cassette."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from serving.pipeline.models import CHAT_MODELS, EMBEDDINGS
from serving.pipeline.models.base import ChatSource
from serving.pipeline.models.cassette import with_cassette, with_embeddings_cassette
from serving.pipeline.models.limits import Patience, PatientEmbeddings, patient_chat
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

LOCAL = "local:"  # models of this process: they neither throttle nor hang, and cost nothing to ask again


@dataclass(frozen=True, slots=True)
class ConnectedChat:
    """A chat model ready to be asked, and the source that knows its price."""

    model: BaseChatModel
    source: ChatSource
    name: str


@runtime_checkable
class Batching(Protocol):
    """An embedding source that knows how many texts go into one call."""

    batch: int


def connect_chat(spec: Spec, settings: PipelineSettings, patience: Patience | None = None) -> ConnectedChat:
    """The chat model of a spec; a hosted one is asked with patience and, if the settings say so, recorded or replayed."""
    source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
    if spec.name.startswith(LOCAL):
        return ConnectedChat(source.connect(), source, spec.name)
    waits = patience or Patience(spec.name, settings)
    params = CHAT_MODELS.complete(spec).params
    model = with_cassette(lambda: patient_chat(source.connect(), waits), settings, name=spec.name, params=params)
    return ConnectedChat(model, source, spec.name)


def connect_embeddings(spec: Spec, settings: PipelineSettings, patience: Patience | None = None) -> Embeddings:
    """The embedding model of a spec, likewise; texts go out in batches, several calls at a time."""
    source = EMBEDDINGS.build(spec, name=spec.name, settings=settings)
    if spec.name.startswith(LOCAL):
        return source.connect()
    waits = patience or Patience(spec.name, settings)
    batch = source.batch if isinstance(source, Batching) else 1
    params = EMBEDDINGS.complete(spec).params
    return with_embeddings_cassette(
        lambda: PatientEmbeddings(source.connect(), waits, batch=batch), settings, name=spec.name, params=params
    )
