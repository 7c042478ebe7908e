"""Connects the model that a configuration names: plug-in table, retry policy, cassette."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from serving.pipeline.models import CHAT_MODELS, EMBEDDINGS
from serving.pipeline.models.base import ChatSource
from serving.pipeline.models.cassette import with_cassette, with_embeddings_cassette
from serving.pipeline.models.prices import PACKAGE, PriceList, price_list
from serving.pipeline.models.retry import RetryingEmbeddings, RetryPolicy, retrying_chat
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

LOCAL = ("local:", "llamacpp:")  # models of this process: no throttling, no timeout, no cost


@dataclass(frozen=True, slots=True)
class ConnectedChat:
    """A connected chat model, and the source that knows its price."""

    model: BaseChatModel
    source: ChatSource
    name: str
    prices: PriceList = PACKAGE


@runtime_checkable
class Batching(Protocol):
    """An embedding source that knows how many texts go into one call."""

    batch: int


def connect_chat(spec: Spec, settings: PipelineSettings, retry: RetryPolicy | None = None) -> ConnectedChat:
    """The chat model of a spec; a hosted one has retries and, if the settings say so, is recorded or replayed."""
    source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
    if spec.name.startswith(LOCAL):
        return ConnectedChat(source.connect(), source, spec.name, price_list(settings))
    policy = retry or RetryPolicy(spec.name, settings)
    params = CHAT_MODELS.complete(spec).params
    model = with_cassette(lambda: retrying_chat(source.connect(), policy), settings, name=spec.name, params=params)
    return ConnectedChat(model, source, spec.name, price_list(settings))


def connect_embeddings(spec: Spec, settings: PipelineSettings, retry: RetryPolicy | None = None) -> Embeddings:
    """The embedding model of a spec, likewise; texts go out in batches, several calls at a time."""
    source = EMBEDDINGS.build(spec, name=spec.name, settings=settings)
    if spec.name.startswith(LOCAL):
        return source.connect()
    policy = retry or RetryPolicy(spec.name, settings)
    batch = source.batch if isinstance(source, Batching) else 1
    params = EMBEDDINGS.complete(spec).params
    return with_embeddings_cassette(
        lambda: RetryingEmbeddings(source.connect(), policy, batch=batch), settings, name=spec.name, params=params
    )
