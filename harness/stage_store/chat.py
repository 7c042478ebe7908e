"""Chat models whose answers are kept: the same prompt to the same model with the same parameters is asked once."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from harness.stage_store.base import StageStore, key_of, packed, unpacked
from harness.stage_store.endpoint import endpoints_of
from serving.pipeline.answer.answerer import KEPT_MS
from serving.pipeline.errors import DataError
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.cassette import KeyedChat, chunks_of, message_of, plain_answer
from serving.pipeline.models.chat import ChatCall
from serving.pipeline.models.connect import LOCAL, ConnectedChat, connect_chat
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

STAGE = "answer"
FORMAT = 2  # with 1, silence was kept as well, and the first value of a key stays


class CachedChat(KeyedChat):
    """Asks the model only what it never answered before, and connects it then; neither a call that fails nor silence is kept."""

    stages: Any  # a StageStore; pydantic cannot check a protocol's methods
    model: str
    connect: Callable[[], BaseChatModel]
    replay_only: bool = False

    async def _answer(self, call: ChatCall) -> AIMessage:
        key = self._key(call)
        known = self._known(key)
        if known is not None:
            return message_of(known)
        begin = time.perf_counter()
        message = await self._ask(call)
        self._keep(key, message, begin)
        return message

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        key = self._key(call)
        known = self._known(key)
        if known is not None:
            for chunk in chunks_of(known):
                yield chunk
            return
        whole: AIMessageChunk | None = None
        begin = time.perf_counter()
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            async for chunk in chunks:
                whole = chunk if whole is None else whole + chunk
                yield chunk
        if whole is not None:
            self._keep(key, whole, begin)

    def _key(self, call: ChatCall) -> str:
        return key_of(FORMAT, self.model, self.request(call))

    def _known(self, key: str) -> dict[str, Any] | None:
        value = self.stages.get(STAGE, key)
        return None if value is None else unpacked(value)

    def _keep(self, key: str, message: AIMessage, begin: float) -> None:
        answer = plain_answer(message)
        if _silent(answer):  # a failure of the model, which every later run would read again
            return
        answer["metadata"][KEPT_MS] = round((time.perf_counter() - begin) * 1000, 3)
        self.stages.put(STAGE, key, packed(answer))

    def _limited_inner(self) -> BaseChatModel:
        if self.replay_only:
            raise DataError(f"No kept answer of {self.model.split('|')[0]} to this prompt. Run once without --replay-only.")
        if self.inner is None:
            self.inner = self.connect()
        return super()._limited_inner()


def _silent(answer: Mapping[str, Any]) -> bool:
    return not answer["text"].strip() and not answer["tool_calls"]


def cached_chat(spec: Spec, settings: PipelineSettings, stages: StageStore, *, replay_only: bool = False) -> ConnectedChat:
    """The chat model of a spec, its answers kept; a model with a script of its own is left alone."""
    source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
    if getattr(source, "stateful", False):
        return connect_chat(spec, settings)
    whole = CHAT_MODELS.complete(spec)
    model = CachedChat(
        stages=stages,
        model="|".join([spec.name, CHAT_MODELS.version(spec), key_of(whole.params, *endpoints_of(spec.name, settings))]),
        connect=cache(lambda: connect_chat(spec, settings).model),  # copies with another limit ask the same one
        replay_only=replay_only and not spec.name.startswith(LOCAL),
        max_tokens=whole.params.get("max_tokens"),
    )
    return ConnectedChat(model, source, spec.name)
