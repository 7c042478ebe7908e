"""Fake chat models for tests, benches and dry runs: real LangChain models with usage and streaming."""

import itertools
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, Field, PrivateAttr

from serving.pipeline.errors import ModelError, ThrottledError
from serving.pipeline.models.chat import AsyncChat, ChatCall
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings

PIECE = re.compile(r"\s*\S+|\s+$")


class Fault(PlugInParams):
    """A script entry at which the model fails, after the text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: Literal["throttled", "failed", "crashed"]  # crashed: an exception that is none of ours
    text: str = ""


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """The answer of a fake to one prompt, and the error that ends it."""

    text: str
    error: Exception | None = None


class Echo:
    """`local:echo` answers at once: a fixed text, or the end of what it was asked."""

    class Params(PlugInParams):
        """What it says."""

        text: str = ""  # empty: the last human message's end
        tail: int = Field(default=200, ge=1)  # characters of it

    version: ClassVar[str] = "1"
    price_model = "amazon.nova-lite-v1:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:echo", settings: PipelineSettings | None = None) -> None:
        self.name = name
        self._params = params

    def connect(self) -> "EchoChat":
        """The model; there is nothing to load."""
        return EchoChat(text=self._params.text, tail=self._params.tail)


class Scripted:
    """`local:scripted` plays a list of answers, one per call."""

    class Params(PlugInParams):
        """What it says."""

        answers: tuple[str | Fault, ...] = Field(default=("A scripted answer.",), min_length=1)
        after: Literal["repeat", "fail"] = "repeat"  # when all are said: from the first again, or an error

    version: ClassVar[str] = "1"
    stateful: ClassVar[bool] = True  # the same question has another answer the next time, so none is kept
    price_model = "amazon.nova-lite-v1:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:scripted", settings: PipelineSettings | None = None) -> None:
        self.name = name
        self._params = params

    def connect(self) -> "ScriptedChat":
        """The model, at the beginning of its script."""
        return ScriptedChat(answers=self._params.answers, repeat=self._params.after == "repeat")


class ImmediateChat(AsyncChat):
    """A model that answers without waiting: subclasses define `_line`."""

    @abstractmethod
    def _line(self, messages: Sequence[BaseMessage]) -> ScriptLine: ...

    async def _answer(self, call: ChatCall) -> AIMessage:
        line = self._line(call.messages)
        if line.error is not None:
            raise line.error
        return AIMessage(line.text, usage_metadata=usage_between(call.messages, line.text), response_metadata=self._facts())

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        for chunk in self._chunks(call.messages):
            yield chunk

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        return (ChatGenerationChunk(message=chunk) for chunk in self._chunks(messages))

    def _chunks(self, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
        line = self._line(messages)
        for piece in pieces(line.text):
            yield AIMessageChunk(content=piece)
        if line.error is not None:
            raise line.error
        yield AIMessageChunk(content="", usage_metadata=usage_between(messages, line.text), response_metadata=self._facts())

    def _facts(self) -> dict[str, str]:
        return {"stop_reason": "end_turn", "model_name": self._llm_type}


class EchoChat(ImmediateChat):
    """Says a fixed text, or the end of the last human message."""

    text: str = ""
    tail: int = 200

    def _line(self, messages: Sequence[BaseMessage]) -> ScriptLine:
        human = [message for message in messages if isinstance(message, HumanMessage)]
        return ScriptLine(self.text or (str(human[-1].text)[-self.tail :] if human else ""))


class ScriptedChat(ImmediateChat):
    """Says its answers in order; calls at the same time take them in the order they come."""

    answers: tuple[str | Fault, ...]
    repeat: bool = True
    _place: Iterator[int] = PrivateAttr(default_factory=itertools.count)

    def _line(self, messages: Sequence[BaseMessage]) -> ScriptLine:
        place = next(self._place)
        if place >= len(self.answers) and not self.repeat:
            raise ModelError(f"local:scripted was called {place + 1} times, and its script has {len(self.answers)} answers.")
        answer = self.answers[place % len(self.answers)]
        return ScriptLine(answer) if isinstance(answer, str) else ScriptLine(answer.text, _failure(answer, place))


def _failure(fault: Fault, place: int) -> Exception:
    where = f"local:scripted, answer {place + 1}"
    match fault.error:
        case "throttled":
            return ThrottledError(f"{where}: throttled by the script.")
        case "failed":
            return ModelError(f"{where}: failed by the script.")
        case "crashed":
            return RuntimeError(f"{where}: crashed by the script.")


def pieces(text: str) -> list[str]:
    """A text cut as a stream would bring it; joined, they are the text."""
    return PIECE.findall(text)


def usage_between(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    """Tokens, counted as words."""
    read, written = sum(len(str(message.text).split()) for message in messages), len(text.split())
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
