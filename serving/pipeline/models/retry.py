"""Calls of hosted models: timeout, deadline, retries with backoff, circuit breaker, the provider's rate limit, and errors of our own."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

from serving.pipeline.deadline import current_deadline
from serving.pipeline.errors import ModelError, ThrottledError
from serving.pipeline.models.breakers import ModelBreaker, breaker_of
from serving.pipeline.models.chat import ChatCall, WrappingChat, chunk_message, has_own, streams, whole_message
from serving.pipeline.models.diagnose import diagnose
from serving.pipeline.models.open_calls import OpenCalls, call_was_cut
from serving.pipeline.models.rate_limit import CallSlot, RateLimiter, RateLimits, rate_limiter_of
from serving.pipeline.models.threads import iterate_in_thread, run_blocking, run_in_thread
from serving.pipeline.settings import PipelineSettings

T = TypeVar("T")
FIRST_PAUSE_S = 1.0  # the longest pause after the first failure; each further one may be twice as long
LONGEST_PAUSE_S = 30.0


class RetryPolicy:
    """Timeout, retries, breaker and rate limit of one hosted model; `sleep` and `random_share` are there for tests.

    With a deadline (`deadline.within`), a call has only the time left, no retry begins that cannot end in it, and a model whose breaker is
    open is not called. An evaluation has no deadline: there every call is retried to the end.
    """

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_share: Callable[[], float] = random.random,
        limiter: RateLimiter | None = None,
        breaker: ModelBreaker | None = None,
    ) -> None:
        self.name = name
        self._timeout_s = settings.model_timeout_s
        self._attempts = settings.model_attempts
        self._sleep = sleep
        self._random = random_share
        limits = RateLimits.of(name, settings)
        self._limiter = limiter or rate_limiter_of(limits)
        self._breaker = breaker or (breaker_of(name, limits.place, settings.model_failures) if settings.model_failures else None)

    @property
    def timeout_s(self) -> float:
        """The time-out of one call: that of the settings, or what is left until the deadline."""
        deadline = current_deadline()
        return self._timeout_s if deadline is None else min(self._timeout_s, deadline.left_s)

    async def run(
        self, call: Callable[[], Awaitable[T]], *, tokens: float = 0.0, count_tokens: Callable[[T], float | None] | None = None
    ) -> T:
        """The result of a call, tried until it succeeds or retries end; `count_tokens` reads the actual tokens."""
        tries = 0
        while True:
            tries += 1
            slot, calls = await self.acquire(tokens), OpenCalls()
            try:
                with calls.watch():
                    async with asyncio.timeout(self.timeout_s):
                        result = await call()
            except Exception as error:  # noqa: BLE001  # raised again, as one of ours, when retries end
                if isinstance(error, TimeoutError) and not calls.begun:
                    call_was_cut()
                self.release(slot, error, after=calls)
                await self.pause_or_raise(error, tries)
            except BaseException:  # cancelled
                if not calls.begun:  # a call in a thread reports its usage when it ends
                    call_was_cut()
                self.release(slot, None, succeeded=False, after=calls)
                raise
            else:
                self.release(slot, None, tokens=count_tokens(result) if count_tokens else None)
                return result

    async def acquire(self, tokens: float = 0.0) -> CallSlot:
        """Wait for a slot of the rate limiter; every slot is given back with `release`. `ModelError` where no call may begin in time."""
        deadline = current_deadline()
        if deadline is None:
            return await self._limiter.acquire(tokens, self._sleep, patience_s=self._timeout_s)
        if self._breaker:
            self._breaker.admit()
        try:
            async with asyncio.timeout(deadline.left_s):
                slot = await self._limiter.acquire(tokens, self._sleep, patience_s=self._timeout_s)
        except TimeoutError:
            raise ModelError(f"{self.name} was not asked: its rate limit let no call begin in time.") from None
        slot.began_s = self._breaker.begin() if self._breaker else None
        return slot

    def release(
        self,
        slot: CallSlot,
        error: Exception | None,
        *,
        succeeded: bool = True,
        tokens: float | None = None,
        after: OpenCalls | None = None,
    ) -> None:
        """Give a slot back, once the calls `after` have ended, and report to the rate limiter how the call ended."""
        failure = diagnose(error, self.name).error if error is not None else None
        if isinstance(failure, ThrottledError):
            self._limiter.throttled(slot)
        if self._breaker and slot.began_s is not None and succeeded:  # a call that was given up says nothing of the model
            self._breaker.ended(slot.began_s, failure)
        give_back = partial(self._limiter.release, slot, succeeded=succeeded and error is None, tokens=tokens)
        if after is None or not after.running:
            give_back()
        else:
            self._limiter.abandon(slot)
            after.when_done(give_back)

    async def pause_or_raise(self, error: Exception, tries: int) -> None:
        """Pause before the next try, or raise one of our errors when no try is left."""
        diagnosis = diagnose(error, self.name)
        if tries >= min(self._attempts, diagnosis.tries):
            if diagnosis.error is error:
                raise error
            raise diagnosis.error from error
        # jitter: callers throttled together do not retry together
        pause_s = self._random() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1))
        deadline = current_deadline()
        if deadline is not None and (pause_s >= deadline.left_s or (self._breaker and self._breaker.state == "open")):
            raise diagnosis.error from error
        await self._sleep(pause_s)


class RetryingChat(WrappingChat):
    """A chat model with retries; a stream that breaks before its first words is started again, after them it fails."""

    inner: BaseChatModel
    policy: RetryPolicy

    @property
    def _llm_type(self) -> str:
        return f"patient-{self.inner._llm_type}"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """The model with tools bound in the inner model's form."""
        bound = self.inner.bind_tools(tools, **kwargs)
        return self.bind(**getattr(bound, "kwargs", {}))

    async def _answer(self, call: ChatCall) -> AIMessage:
        return await self.policy.run(lambda: self._ask(call), tokens=_prompt_tokens(call.messages), count_tokens=_total_tokens)

    async def _ask(self, call: ChatCall) -> AIMessage:
        """The inner model's message; in a thread of our own if it has no asynchronous method of its own."""
        if has_own(self.inner, "_agenerate"):
            return await WrappingChat._ask(self, call)
        model, manager = self._limited_inner(), call.run_manager.get_sync() if call.run_manager else None

        def generate() -> AIMessage:
            return whole_message(model._generate(call.messages, stop=call.stop, run_manager=manager, **call.arguments))

        return await run_in_thread(generate)

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        tries = 0
        while True:
            tries += 1
            buffered: list[AIMessageChunk] = []  # empty chunks before the first words, held back while a retry is possible
            started = False
            tokens: float | None = None
            slot, calls = await self.policy.acquire(_prompt_tokens(call.messages)), OpenCalls()
            try:
                async with aclosing(self._chunks(call, calls)) as chunks:
                    async for chunk in chunks:
                        tokens = tokens if chunk.usage_metadata is None else _total_tokens(chunk)
                        buffered.append(chunk)
                        started = started or bool(chunk.content or chunk.tool_call_chunks)
                        while started and buffered:
                            yield buffered.pop(0)
            except Exception as error:
                if started or isinstance(error, TimeoutError):
                    self._cut(call, calls)
                self.policy.release(slot, error, after=calls)
                if started:
                    raise ModelError(f"{self.policy.name} broke off in the middle of its answer. {error}") from error
                await self.policy.pause_or_raise(error, tries)
            except BaseException:  # cancelled, or nobody listens any more
                self._cut(call, calls)
                self.policy.release(slot, None, succeeded=False, after=calls)
                raise
            else:
                self.policy.release(slot, None, tokens=tokens, after=calls)
                for chunk in buffered:
                    yield chunk
                return

    def _cut(self, call: ChatCall, calls: OpenCalls) -> None:
        """Report a cut call: a stream never reports its usage then; a whole answer in a thread does when it ends."""
        if not calls.begun or streams(self._limited_inner(), call):
            call_was_cut()

    async def _chunks(self, call: ChatCall, calls: OpenCalls) -> AsyncGenerator[AIMessageChunk, None]:
        """The inner model's chunks; `TimeoutError` when none comes within the timeout. `calls` watches those in threads."""
        model, silence_s = self._limited_inner(), self.policy.timeout_s
        if not streams(model, call):
            with calls.watch():
                async with asyncio.timeout(silence_s):
                    message = await self._ask(call)
            yield AIMessageChunk(**message.model_dump(exclude={"type"}))
            return
        if not has_own(model, "_astream"):
            stream = lambda: model._stream(call.messages, stop=call.stop, **call.arguments)  # noqa: E731 — bound to this model
            async with aclosing(iterate_in_thread(stream, silence_s=silence_s, calls=calls)) as chunks:
                async for chunk in chunks:
                    yield chunk_message(chunk)
            return
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        answered = await anext(chunks)
                except StopAsyncIteration:
                    return
                yield answered


def _prompt_tokens(messages: Sequence[BaseMessage]) -> float:
    """Estimated tokens of the messages, for the rate limiter."""
    return sum(len(str(message.text)) for message in messages) / 4


def _total_tokens(message: AIMessage) -> float | None:
    """The tokens that the model reported, if it did."""
    return message.usage_metadata["total_tokens"] if message.usage_metadata else None


def retrying_chat(model: BaseChatModel, policy: RetryPolicy) -> RetryingChat:
    """The model with retries; its own output limit stays in force."""
    return RetryingChat(inner=model, policy=policy, max_tokens=getattr(model, "max_tokens", None))


class RetryingEmbeddings(Embeddings):
    """An embedding model with retries, a batch per call, several calls at a time; the vectors keep the texts' order."""

    def __init__(self, inner: Embeddings, policy: RetryPolicy, *, batch: int) -> None:
        self._inner = inner
        self._policy = policy
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
        tasks = [asyncio.create_task(self._policy.run(self._call(batch), tokens=sum(map(len, batch)) / 4)) for batch in batches]
        try:
            return [vector for vectors in await asyncio.gather(*tasks) for vector in vectors]
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return await self._policy.run(lambda: run_in_thread(lambda: self._inner.embed_query(text)), tokens=len(text) / 4)

    def _call(self, batch: list[str]) -> Callable[[], Awaitable[list[list[float]]]]:
        async def call() -> list[list[float]]:
            vectors = await run_in_thread(lambda: self._inner.embed_documents(batch))
            if len(vectors) != len(batch):
                raise ModelError(f"{self._policy.name} gave {len(vectors)} vectors for {len(batch)} texts.")
            return vectors

        return call
