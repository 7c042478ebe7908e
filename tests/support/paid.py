"""Chat models of a provider that is paid per call and counts how many run at once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from tests.support.waiting import WITHIN_S

SAYS = "Everyone has 28 days of paid leave a year [1]."
USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}


class Till:
    """What the provider sees."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.go = threading.Event()
        self.running = self.most = self.begun = self.ended = self.cancelled = 0

    def begin(self) -> None:
        with self.lock:
            self.running += 1
            self.begun += 1
            self.most = max(self.most, self.running)
            self.lock.notify_all()

    def end(self, *, cancelled: bool = False) -> None:
        with self.lock:
            self.running -= 1
            self.ended += 1
            self.cancelled += cancelled
            self.lock.notify_all()

    async def until(self, name: str, number: int) -> None:
        """Wait until a number is reached."""

        def wait() -> bool:
            with self.lock:
                return self.lock.wait_for(lambda: getattr(self, name) >= number, timeout=WITHIN_S)

        assert await asyncio.to_thread(wait), (name, number, vars(self))


TILL = Till()


def new_till() -> Till:
    global TILL
    TILL = Till()
    return TILL


class BlockingChat(BaseChatModel):
    """Cannot be stopped: it blocks its thread until the till says go."""

    @property
    def _llm_type(self) -> str:
        return "blocking"

    def _generate(self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        till = TILL
        till.begin()
        try:
            assert till.go.wait(2 * WITHIN_S)
        finally:
            till.end()
        return ChatResult(generations=[ChatGeneration(message=AIMessage(SAYS, usage_metadata=USAGE))])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        till = TILL
        till.begin()
        try:
            yield ChatGenerationChunk(message=AIMessageChunk("Everyone "))
            assert till.go.wait(2 * WITHIN_S)
            yield ChatGenerationChunk(message=AIMessageChunk("has 28 days [1].", usage_metadata=USAGE))
        finally:
            till.end()


class AsynchronousChat(BlockingChat):
    """Can be stopped: it awaits."""

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        till = TILL
        till.begin()
        try:
            await asyncio.Event().wait()
            raise AssertionError
        except asyncio.CancelledError:
            till.end(cancelled=True)
            raise

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await self._agenerate(messages)
        yield ChatGenerationChunk(message=AIMessageChunk(""))
