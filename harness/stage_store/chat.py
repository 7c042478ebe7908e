"""Chat models with stored answers: the same prompt to the same model with the same parameters is asked once."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from harness.stage_store.base import StageStore, key_of, pack, unpack
from harness.stage_store.endpoint import endpoints_of
from serving.pipeline.answer.answerer import KEPT_MS
from serving.pipeline.errors import DataError
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.cassette import KeyedChat, chunks_of, message_of, plain_answer
from serving.pipeline.models.chat import ChatCall
from serving.pipeline.models.connect import LOCAL, ConnectedChat, connect_chat
from serving.pipeline.models.prices import price_list
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

STAGE = "answer"
FORMAT = 2  # in format 1, empty answers were stored as well


class CachedChat(KeyedChat):
    """Answers from the stage store, else connects and asks the model; failed calls and empty answers are not stored."""

    store: Any  # a StageStore; pydantic cannot check a protocol's methods
    model: str
    connect: Callable[[], BaseChatModel]
    replay_only: bool = False

    async def _answer(self, call: ChatCall) -> AIMessage:
        key = self._key(call)
        cached = self._cached(key)
        if cached is not None:
            return message_of(cached)
        start_s = time.perf_counter()
        message = await self._ask(call)
        self._put(key, message, start_s)
        return message

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        key = self._key(call)
        cached = self._cached(key)
        if cached is not None:
            for chunk in chunks_of(cached):
                yield chunk
            return
        joined: AIMessageChunk | None = None
        start_s = time.perf_counter()
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            async for chunk in chunks:
                joined = chunk if joined is None else joined + chunk
                yield chunk
        if joined is not None:
            self._put(key, joined, start_s)

    def _key(self, call: ChatCall) -> str:
        return key_of(FORMAT, self.model, self.request(call))

    def _cached(self, key: str) -> dict[str, Any] | None:
        value = self.store.get(STAGE, key)
        return None if value is None else unpack(value)

    def _put(self, key: str, message: AIMessage, start_s: float) -> None:
        answer = plain_answer(message)
        if _is_empty(answer):  # a failure of the model, not an answer to use again
            return
        answer["metadata"][KEPT_MS] = round((time.perf_counter() - start_s) * 1000, 3)
        self.store.put(STAGE, key, pack(answer))

    def _limited_inner(self) -> BaseChatModel:
        if self.replay_only:
            raise DataError(f"No kept answer of {self.model.split('|')[0]} to this prompt. Run once without --replay-only.")
        if self.inner is None:
            self.inner = self.connect()
        return super()._limited_inner()


def _is_empty(answer: Mapping[str, Any]) -> bool:
    return not answer["text"].strip() and not answer["tool_calls"]


def cached_chat(spec: Spec, settings: PipelineSettings, store: StageStore, *, replay_only: bool = False) -> ConnectedChat:
    """The chat model of a spec behind the stage store; a stateful model is never cached."""
    source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
    if getattr(source, "stateful", False):
        return connect_chat(spec, settings)
    complete = CHAT_MODELS.complete(spec)
    model = CachedChat(
        store=store,
        model="|".join([spec.name, CHAT_MODELS.version(spec), key_of(complete.params, *endpoints_of(spec.name, settings))]),
        connect=cache(lambda: connect_chat(spec, settings).model),  # copies with another output limit share one model
        replay_only=replay_only and not spec.name.startswith(LOCAL),
        max_tokens=complete.params.get("max_tokens"),
    )
    return ConnectedChat(model, source, spec.name, price_list(settings))
