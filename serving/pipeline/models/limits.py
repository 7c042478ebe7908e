"""Patience with hosted models: a timeout, tries with backoff, so many calls at a time, and our own errors."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

from serving.pipeline.errors import ModelError
from serving.pipeline.models.diagnose import diagnose
from serving.pipeline.models.threads import each_in_thread, in_thread, run_blocking
from serving.pipeline.settings import PipelineSettings

T = TypeVar("T")
FIRST_PAUSE_S = 1.0  # the longest pause after the first failure; each further one may be twice as long
LONGEST_PAUSE_S = 30.0


class Patience:
    """How one hosted model is waited for; `sleep` and `chance` are there for tests."""

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.timeout_s = settings.model_timeout_s
        self._attempts = settings.model_attempts
        self._concurrency = settings.model_concurrency
        self._sleep = sleep
        self._chance = chance
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, made until it succeeds or patience ends."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self.slot(), asyncio.timeout(self.timeout_s):
                    return await call()
            except Exception as error:  # noqa: BLE001  # raised again, as one of ours, when patience ends
                await self.again(error, tries)

    def slot(self) -> asyncio.Semaphore:
        """Entered while a call is made: so many at a time in one event loop."""
        return self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._concurrency))

    async def again(self, error: Exception, tries: int) -> None:
        """Pause before the next try, or raise one of our errors when another try is not worth it."""
        diagnosis = diagnose(error, self.name)
        if tries >= min(self._attempts, diagnosis.tries):
            if diagnosis.error is error:
                raise error
            raise diagnosis.error from error
        # a random share of the pause: callers throttled together do not come back together
        await self._sleep(self._chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)))


class PatientChat(BaseChatModel):
    """A chat model asked with patience; a stream that breaks before its first words is begun again, after them it fails."""

    inner: BaseChatModel
    patience: Patience
    max_tokens: int | None = None  # handed to models that have a field of this name; others keep their own limit

    @property
    def _llm_type(self) -> str:
        return f"patient-{self.inner._llm_type}"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """The tools as the inner model wants them."""
        bound = self.inner.bind_tools(tools, **kwargs)
        return self.bind(**getattr(bound, "kwargs", {}))

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return run_blocking(self._agenerate(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._model()
        if self._blocks("_agenerate"):
            message = await self.patience.run(lambda: in_thread(lambda: model.invoke(messages, stop=stop, **kwargs)))
        else:
            message = await self.patience.run(lambda: model.ainvoke(messages, stop=stop, **kwargs))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        tries = 0
        while True:
            tries += 1
            held: list[AIMessageChunk] = []  # empty chunks before the first words, kept back while a new try is possible
            begun = False
            try:
                async with self.patience.slot(), aclosing(self._chunks(messages, stop, kwargs)) as chunks:
                    async for chunk in chunks:
                        held.append(chunk)
                        begun = begun or bool(chunk.content or chunk.tool_call_chunks)
                        while begun and held:
                            yield ChatGenerationChunk(message=held.pop(0))
            except Exception as error:
                if begun:
                    raise ModelError(f"{self.patience.name} broke off in the middle of its answer. {error}") from error
                await self.patience.again(error, tries)
            else:
                for chunk in held:
                    yield ChatGenerationChunk(message=chunk)
                return

    async def _chunks(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Any:
        """The inner model's chunks; `TimeoutError` when it is silent for too long."""
        model, silence_s = self._model(), self.patience.timeout_s
        if self._blocks("_astream"):
            async with aclosing(each_in_thread(lambda: model.stream(messages, stop=stop, **kwargs), silence_s=silence_s)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        stream = aiter(model.astream(messages, stop=stop, **kwargs))
        while True:
            try:
                yield await asyncio.wait_for(anext(stream), silence_s)
            except StopAsyncIteration:
                return

    def _blocks(self, method: str) -> bool:
        """Whether the inner model has no asynchronous way of its own."""
        return getattr(type(self.inner), method) is getattr(BaseChatModel, method)

    def _model(self) -> BaseChatModel:
        if self.max_tokens is None or "max_tokens" not in type(self.inner).model_fields:
            return self.inner
        return self.inner.model_copy(update={"max_tokens": self.max_tokens})


def patient_chat(model: BaseChatModel, patience: Patience) -> PatientChat:
    """The model, asked with patience; its own output limit stays in force."""
    return PatientChat(inner=model, patience=patience, max_tokens=getattr(model, "max_tokens", None))


class PatientEmbeddings(Embeddings):
    """An embedding model asked with patience, a batch per call, several calls at a time; the vectors keep the texts' order."""

    def __init__(self, inner: Embeddings, patience: Patience, *, batch: int) -> None:
        self._inner = inner
        self._patience = patience
        self._batch = batch

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return run_blocking(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return run_blocking(self.aembed_query(text))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text; the first batch that fails for good ends the others."""
        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        tasks = [asyncio.create_task(self._patience.run(self._call(batch))) for batch in batches]
        try:
            return [vector for vectors in await asyncio.gather(*tasks) for vector in vectors]
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return await self._patience.run(lambda: in_thread(lambda: self._inner.embed_query(text)))

    def _call(self, batch: list[str]) -> Callable[[], Awaitable[list[list[float]]]]:
        async def call() -> list[list[float]]:
            vectors = await in_thread(lambda: self._inner.embed_documents(batch))
            if len(vectors) != len(batch):
                raise ModelError(f"{self._patience.name} gave {len(vectors)} vectors for {len(batch)} texts.")
            return vectors

        return call
