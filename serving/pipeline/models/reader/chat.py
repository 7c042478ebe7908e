"""The reader as a LangChain chat model: it reads the rendered prompt alone, and streams word by word."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from serving.pipeline.models.reader.prompt_task import read_task
from serving.pipeline.models.reader.reader import Reader


class ReaderChat(BaseChatModel):
    """Picks the sentences of the passages that answer; the same messages give the same answer, always."""

    size: str
    max_tokens: int | None = None
    _open: Callable[[], Reader] = PrivateAttr()

    def __init__(self, open_reader: Callable[[], Reader], **fields: Any) -> None:
        super().__init__(**fields)
        self._open = open_reader

    @property
    def _llm_type(self) -> str:
        return f"reader-{self.size}"

    @property
    def model_name(self) -> str:
        """What tracing calls it."""
        return self._llm_type

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        text, reason = self._text(messages, stop, kwargs.get("max_tokens"))
        facts = {"finish_reason": reason, "model_name": self._llm_type}
        message = AIMessage(text, usage_metadata=_usage(messages, text), response_metadata=facts)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        text, reason = self._text(messages, stop, kwargs.get("max_tokens"))
        for word in re.findall(r"\S+\s*|\s+", text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        facts = {"finish_reason": reason, "model_name": self._llm_type}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=_usage(messages, text), response_metadata=facts, chunk_position="last")
        )

    def _text(self, messages: list[BaseMessage], stop: list[str] | None, most: int | None) -> tuple[str, str]:
        """The answer and why it ends."""
        text = self._open().answer(read_task(messages))
        for word in stop or ():
            text = text.split(word, 1)[0]
        limits = [limit for limit in (most, self.max_tokens) if limit is not None]
        room = min(limits) * 4 if limits else len(text)
        if len(text) <= room:
            return text, "stop"
        return text[: text.rfind(" ", 0, room + 1)] if " " in text[: room + 1] else text[:room], "length"


def _usage(messages: list[BaseMessage], text: str) -> UsageMetadata:
    """Tokens by the estimate that packing uses: one per four characters."""
    read = sum(_tokens(str(message.text)) for message in messages)
    return UsageMetadata(input_tokens=read, output_tokens=_tokens(text), total_tokens=read + _tokens(text))


def _tokens(text: str) -> int:
    return -(-len(text) // 4)
