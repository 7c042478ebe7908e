"""Patience with hosted models: a timeout, tries with backoff, the provider's pace, and our own errors."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

from serving.pipeline.errors import ModelError, ThrottledError
from serving.pipeline.models.chat import ChatCall, OuterChat, chunk_message, has_own, streams, whole_message
from serving.pipeline.models.diagnose import diagnose
from serving.pipeline.models.pace import CallSlot, Limits, Pace, pace_of
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
        pace: Pace | None = None,
    ) -> None:
        self.name = name
        self.timeout_s = settings.model_timeout_s
        self._attempts = settings.model_attempts
        self._sleep = sleep
        self._chance = chance
        self._pace = pace or pace_of(Limits.of(name, settings))

    async def run(self, call: Callable[[], Awaitable[T]], *, tokens: float = 0.0, used: Callable[[T], float | None] | None = None) -> T:
        """The result of a call, made until it succeeds or patience ends; `tokens` it may take, `used` says how many it took."""
        tries = 0
        while True:
            tries += 1
            turn = await self.enter(tokens)
            try:
                async with asyncio.timeout(self.timeout_s):
                    result = await call()
            except Exception as error:  # noqa: BLE001  # raised again, as one of ours, when patience ends
                self.leave(turn, error)
                await self.again(error, tries)
            except BaseException:  # cancelled
                self.leave(turn, None, succeeded=False)
                raise
            else:
                self.leave(turn, None, tokens=used(result) if used else None)
                return result

    async def enter(self, tokens: float = 0.0) -> CallSlot:
        """Wait for the provider's pace; every turn is given back with `leave`."""
        return await self._pace.enter(tokens, self._sleep)

    def leave(self, turn: CallSlot, error: Exception | None, *, succeeded: bool = True, tokens: float | None = None) -> None:
        """Give a turn back, and tell the pace how the call ended."""
        if error is not None and isinstance(diagnose(error, self.name).error, ThrottledError):
            self._pace.throttled(turn)
        self._pace.leave(turn, succeeded=succeeded and error is None, tokens=tokens)

    async def again(self, error: Exception, tries: int) -> None:
        """Pause before the next try, or raise one of our errors when another try is not worth it."""
        diagnosis = diagnose(error, self.name)
        if tries >= min(self._attempts, diagnosis.tries):
            if diagnosis.error is error:
                raise error
            raise diagnosis.error from error
        # a random share of the pause: callers throttled together do not come back together
        await self._sleep(self._chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)))


class PatientChat(OuterChat):
    """A chat model asked with patience; a stream that breaks before its first words is begun again, after them it fails."""

    inner: BaseChatModel
    patience: Patience

    @property
    def _llm_type(self) -> str:
        return f"patient-{self.inner._llm_type}"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """The tools as the inner model wants them."""
        bound = self.inner.bind_tools(tools, **kwargs)
        return self.bind(**getattr(bound, "kwargs", {}))

    async def _answer(self, call: ChatCall) -> AIMessage:
        ask = self._ask if has_own(self.inner, "_agenerate") else self._ask_in_thread
        return await self.patience.run(lambda: ask(call), tokens=_asked_tokens(call.messages), used=_used_tokens)

    async def _ask_in_thread(self, call: ChatCall) -> AIMessage:
        """For a model that has no asynchronous way of its own."""
        model, manager = self._limited_inner(), call.run_manager.get_sync() if call.run_manager else None
        asked = lambda: model._generate(call.messages, stop=call.stop, run_manager=manager, **call.arguments)  # noqa: E731
        return whole_message(await in_thread(asked))

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        tries = 0
        while True:
            tries += 1
            held: list[AIMessageChunk] = []  # empty chunks before the first words, kept back while a new try is possible
            begun = False
            used: float | None = None
            turn = await self.patience.enter(_asked_tokens(call.messages))
            try:
                async with aclosing(self._chunks(call)) as chunks:
                    async for chunk in chunks:
                        used = used if chunk.usage_metadata is None else _used_tokens(chunk)
                        held.append(chunk)
                        begun = begun or bool(chunk.content or chunk.tool_call_chunks)
                        while begun and held:
                            yield held.pop(0)
            except Exception as error:
                self.patience.leave(turn, error)
                if begun:
                    raise ModelError(f"{self.patience.name} broke off in the middle of its answer. {error}") from error
                await self.patience.again(error, tries)
            except BaseException:  # cancelled, or nobody listens any more
                self.patience.leave(turn, None, succeeded=False)
                raise
            else:
                self.patience.leave(turn, None, tokens=used)
                for chunk in held:
                    yield chunk
                return

    async def _chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        """The inner model's chunks; `TimeoutError` when it is silent for too long."""
        model, silence_s = self._limited_inner(), self.patience.timeout_s
        if streams(model) and not has_own(model, "_astream"):
            begin = lambda: model._stream(call.messages, stop=call.stop, **call.arguments)  # noqa: E731
            async with aclosing(each_in_thread(begin, silence_s=silence_s)) as pieces:
                async for piece in pieces:
                    yield chunk_message(piece)
            return
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            while True:
                try:
                    yield await asyncio.wait_for(anext(chunks), silence_s)
                except StopAsyncIteration:
                    return


def _asked_tokens(messages: Sequence[BaseMessage]) -> float:
    """About as many tokens as the messages have: enough to keep a pace by."""
    return sum(len(str(message.text)) for message in messages) / 4


def _used_tokens(message: AIMessage) -> float | None:
    """As many as the model counted, where it did."""
    return message.usage_metadata["total_tokens"] if message.usage_metadata else None


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
        tasks = [asyncio.create_task(self._patience.run(self._call(batch), tokens=sum(map(len, batch)) / 4)) for batch in batches]
        try:
            return [vector for vectors in await asyncio.gather(*tasks) for vector in vectors]
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return await self._patience.run(lambda: in_thread(lambda: self._inner.embed_query(text)), tokens=len(text) / 4)

    def _call(self, batch: list[str]) -> Callable[[], Awaitable[list[list[float]]]]:
        async def call() -> list[list[float]]:
            vectors = await in_thread(lambda: self._inner.embed_documents(batch))
            if len(vectors) != len(batch):
                raise ModelError(f"{self._patience.name} gave {len(vectors)} vectors for {len(batch)} texts.")
            return vectors

        return call
