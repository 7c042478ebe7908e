"""Which answers of a chat model are kept, and which are asked for again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from harness.stage_store.chat import CachedChat
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.errors import ModelError

CALL = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
BREAK = "(the line breaks)"


class Playing(BaseChatModel):
    """Says one message after the other; a stream comes in words, and may break in the middle."""

    script: list[Any]
    asked: int = 0

    @property
    def _llm_type(self) -> str:
        return "playing"

    def _generate(self, messages: list[BaseMessage], stop: list[str] | None = None, *_: Any, **kwargs: Any) -> ChatResult:
        self.asked += 1
        return ChatResult(generations=[ChatGeneration(message=self.script.pop(0))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked += 1
        for word in str(self.script.pop(0).text).split(" "):
            if word == "BREAK":
                raise ModelError(BREAK)
            yield ChatGenerationChunk(message=AIMessageChunk(word))


def kept(script: Sequence[AIMessage], stages: SqliteStageStore, **changes: Any) -> tuple[CachedChat, Playing]:
    model = Playing(script=list(script))
    return CachedChat(store=stages, model="m|1|", connect=lambda: model, **changes), model


async def streamed(chat: CachedChat) -> str:
    return "".join([str(chunk.text) async for chunk in chat.astream("Why?")])


@pytest.mark.parametrize("silence", ["", " \n"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_silence_is_not_kept_and_asked_about_again(tmp_path: Path, silence: str, stream: bool) -> None:
    stages = SqliteStageStore(tmp_path)
    chat, model = kept([AIMessage(silence), AIMessage("Because."), AIMessage("No more.")], stages)
    said = [asyncio.run(streamed(chat)) if stream else chat.invoke("Why?").text for _ in range(3)]
    assert [text.strip() for text in said] == ["", "Because.", "Because."]
    assert model.asked == 2


def test_a_call_of_a_tool_without_a_word_is_an_answer(tmp_path: Path) -> None:
    chat, model = kept([AIMessage("", tool_calls=[CALL])], SqliteStageStore(tmp_path))
    found = [chat.invoke("Why?").tool_calls for _ in range(2)]  # type: ignore[attr-defined]
    assert found[0] == found[1] == [CALL]
    assert model.asked == 1


def test_half_an_answer_is_not_kept(tmp_path: Path) -> None:
    chat, model = kept([AIMessage("Because BREAK"), AIMessage("Because it is.")], SqliteStageStore(tmp_path))
    with pytest.raises(ModelError, match="line breaks"):
        asyncio.run(streamed(chat))
    assert chat.invoke("Why?").text == "Because it is."

    async def left(chat: CachedChat) -> None:
        stream = chat.astream("Why?")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    other, model = kept([AIMessage("One two three"), AIMessage("Whole.")], SqliteStageStore(tmp_path / "other"))
    asyncio.run(left(other))
    assert other.invoke("Why?").text == "Whole."
    assert model.asked == 2
