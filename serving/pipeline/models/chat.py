"""Base classes of our chat models: they implement LangChain's methods by one asynchronous answer and one stream.

One call is one run for LangChain's callbacks, however many of our models stand in front of the provider's: the outermost reports
it, and passes its run manager on. If the inner ones were runs of their own, a token counter would count them twice.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from serving.pipeline.models.threads import iterate_blocking, run_blocking


@dataclass(frozen=True, slots=True)
class ChatCall:
    """The arguments of one call of a chat model, and its LangChain run."""

    messages: list[BaseMessage]
    stop: list[str] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    run_manager: AsyncCallbackManagerForLLMRun | None = None


class AsyncChat(BaseChatModel):
    """An asynchronous chat model: a subclass defines `_answer` and `_answer_in_chunks`."""

    @abstractmethod
    async def _answer(self, call: ChatCall) -> AIMessage: ...

    @abstractmethod
    def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]: ...

    @property
    def _llm_type(self) -> str:
        return type(self).__name__

    @property
    def model_name(self) -> str:
        """Its name in LangChain's traces."""
        return self._llm_type

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return run_blocking(self._agenerate(messages, stop, _asynchronous(run_manager), **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await self._answer(ChatCall(messages, stop, kwargs, run_manager))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield from iterate_blocking(self._astream(messages, stop, _asynchronous(run_manager), **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._answer_in_chunks(ChatCall(messages, stop, kwargs, run_manager))) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)


class WrappingChat(AsyncChat):
    """A chat model that calls an inner one, with an output limit of its own."""

    inner: BaseChatModel | None = None
    max_tokens: int | None = None  # handed to models that have a field of this name; others keep their own limit

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """The parameters that LangChain traces: those of the inner model."""
        return self.inner._get_ls_params(stop=stop, **kwargs) if self.inner else super()._get_ls_params(stop=stop, **kwargs)

    def _limited_inner(self) -> BaseChatModel:
        """The inner model with this one's output limit."""
        assert self.inner is not None
        return self.inner if self.max_tokens is None else _with_max_tokens(self.inner, self.max_tokens)

    async def _ask(self, call: ChatCall) -> AIMessage:
        model = self._limited_inner()
        return whole_message(await model._agenerate(call.messages, stop=call.stop, run_manager=call.run_manager, **call.arguments))

    async def _ask_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        """The inner model's chunks; its whole message as one chunk where it cannot stream."""
        model = self._limited_inner()
        if not streams(model, call):
            message = await self._ask(call)
            yield AIMessageChunk(**message.model_dump(exclude={"type"}))
            return
        async for chunk in model._astream(call.messages, stop=call.stop, run_manager=call.run_manager, **call.arguments):
            yield chunk_message(chunk)


def streams(model: BaseChatModel, call: ChatCall) -> bool:
    """Whether a model streams its answer to a call; some cannot while they call tools."""
    off = bool(call.arguments.get("tools")) if model.disable_streaming == "tool_calling" else model.disable_streaming
    return not off and any(has_own(model, method) for method in ("_astream", "_stream"))


def has_own(model: BaseChatModel, method: str) -> bool:
    """Whether a model has a method of its own, not LangChain's stand-in for it."""
    return getattr(type(model), method) is not getattr(BaseChatModel, method)


def whole_message(result: ChatResult) -> AIMessage:
    """The message of a result with the provider's metadata, as `ainvoke` returns it."""
    [generation] = result.generations
    message = generation.message
    assert isinstance(message, AIMessage)
    message.response_metadata = {**(result.llm_output or {}), **(generation.generation_info or {}), **message.response_metadata}
    return message


def chunk_message(chunk: ChatGenerationChunk) -> AIMessageChunk:
    """The message of a chunk with the provider's metadata."""
    message = chunk.message
    assert isinstance(message, AIMessageChunk)
    message.response_metadata = {**(chunk.generation_info or {}), **message.response_metadata}
    return message


def with_output_limit(model: BaseChatModel, most: int) -> BaseChatModel:
    """The model with its output limited to `most` tokens, or to its own limit where that is lower.

    By a field of the model, as the name of the call's argument differs between providers; a model without one is left as it is.
    """
    own = getattr(model, "max_tokens", None)
    return _with_max_tokens(model, most if own is None else min(own, most))


def _with_max_tokens(model: BaseChatModel, tokens: int) -> BaseChatModel:
    return model.model_copy(update={"max_tokens": tokens}) if "max_tokens" in type(model).model_fields else model


def _asynchronous(manager: CallbackManagerForLLMRun | None) -> AsyncCallbackManagerForLLMRun | None:
    """The asynchronous manager of the same run; LangChain converts only the other way."""
    if manager is None:
        return None
    return AsyncCallbackManagerForLLMRun(
        run_id=manager.run_id,
        handlers=manager.handlers,
        inheritable_handlers=manager.inheritable_handlers,
        parent_run_id=manager.parent_run_id,
        tags=manager.tags,
        inheritable_tags=manager.inheritable_tags,
        metadata=manager.metadata,
        inheritable_metadata=manager.inheritable_metadata,
    )
