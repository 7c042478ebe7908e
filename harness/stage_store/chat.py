"""Chat models whose answers are kept: the same prompt to the same model with the same parameters is asked once."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from harness.stage_store.base import StageStore, key_of, packed, unpacked
from harness.stage_store.endpoint import endpoints_of
from serving.pipeline.answer.answerer import KEPT_MS
from serving.pipeline.errors import DataError
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.cassette import AskedChat, chunks_of, message_of, plain_answer
from serving.pipeline.models.connect import LOCAL, ConnectedChat, connect_chat
from serving.pipeline.models.limits import UNHEARD
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

STAGE = "answer"
FORMAT = 2  # with 1, silence was kept as well, and the first value of a key stays


class CachedChat(AskedChat):
    """Asks the model only what it never answered before; neither a call that fails nor silence is kept."""

    stages: Any  # Kept; pydantic cannot check a protocol's methods
    model: str
    connect: Callable[[], BaseChatModel]
    replay_only: bool = False
    inner: BaseChatModel | None = None  # connected at the first question that is not answered yet

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._key(messages, stop, kwargs)
        known = self._known(key)
        if known is not None:
            return ChatResult(generations=[ChatGeneration(message=message_of(known))])
        begin = time.perf_counter()
        message = await self._asked_now().ainvoke(messages, UNHEARD, stop=stop, **kwargs)
        self._keep(key, message, begin)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        key = self._key(messages, stop, kwargs)
        known = self._known(key)
        if known is not None:
            for chunk in chunks_of(known):
                yield ChatGenerationChunk(message=chunk)
            return
        whole: AIMessageChunk | None = None
        begin = time.perf_counter()
        async for chunk in self._asked_now().astream(messages, UNHEARD, stop=stop, **kwargs):
            whole = chunk if whole is None else whole + chunk
            yield ChatGenerationChunk(message=chunk)
        if whole is not None:
            self._keep(key, whole, begin)

    def _key(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> str:
        return key_of(FORMAT, self.model, self.asked(messages, stop, kwargs))

    def _known(self, key: str) -> dict[str, Any] | None:
        value = self.stages.get(STAGE, key)
        return None if value is None else unpacked(value)

    def _keep(self, key: str, message: AIMessage, begin: float) -> None:
        answer = plain_answer(message)
        if _silent(answer):  # a failure of the model, which every later run would read again
            return
        answer["metadata"][KEPT_MS] = round((time.perf_counter() - begin) * 1000, 3)
        self.stages.put(STAGE, key, packed(answer))

    def _asked_now(self) -> BaseChatModel:
        if self.replay_only:
            raise DataError(f"No kept answer of {self.model.split('|')[0]} to this prompt. Run once without --replay-only.")
        if self.inner is None:
            self.inner = self.connect()
        if self.max_tokens is None or "max_tokens" not in type(self.inner).model_fields:
            return self.inner
        return self.inner.model_copy(update={"max_tokens": self.max_tokens})


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
