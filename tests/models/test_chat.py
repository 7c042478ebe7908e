"""The chat models that stand in front of others: one run per call for callbacks, whatever stands in between."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableLambda
from pydantic import Field

from harness.stage_store.chat import CachedChat
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.models.cassette import Cassette, RecordingChat
from serving.pipeline.models.chat import with_output_limit
from serving.pipeline.models.fakes import EchoChat
from serving.pipeline.models.retry import RetryPolicy, retrying_chat
from serving.pipeline.settings import PipelineSettings
from tests.support.waiting import eventually

WORDS = ["In ", "France."]
USAGE = UsageMetadata(input_tokens=3, output_tokens=2, total_tokens=5)


class Provider(BaseChatModel):
    """A hosted model as providers write one: it reports its tokens itself and puts facts in three places."""

    max_tokens: int | None = 256
    limits: list[int | None] = Field(default_factory=list)  # in force at each call; copies share it

    @property
    def _llm_type(self) -> str:
        return "provider"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="acme", ls_model_name="acme-1", ls_model_type="chat")

    def _result(self) -> ChatResult:
        self.limits.append(self.max_tokens)
        message = AIMessage("".join(WORDS), usage_metadata=USAGE, response_metadata={"region": "eu"})
        generation = ChatGeneration(message=message, generation_info={"finish_reason": "stop"})
        return ChatResult(generations=[generation], llm_output={"model_name": "acme-1"})

    def _pieces(self) -> Iterator[ChatGenerationChunk]:
        for word in WORDS:
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=USAGE), generation_info={"finish_reason": "stop"})

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        if run_manager:
            run_manager.on_text("blocking")
        return self._result()


class Waiting(Provider):
    """A model whose pieces come when a test lets them."""

    come: list[asyncio.Future[str]]

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self.come:
            yield ChatGenerationChunk(message=AIMessageChunk(content=await piece))


class Streaming(Provider):
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if run_manager:
            await run_manager.on_text("waiting")
        return self._result()

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces():
            yield piece


class BlockingStream(Provider):
    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from self._pieces()


class Listener(BaseCallbackHandler):
    """Notes every event with its run."""

    def __init__(self) -> None:
        self.events: list[tuple[str, UUID]] = []
        self.parents: dict[UUID, UUID | None] = {}
        self.models: list[str] = []
        self.tokens = 0
        self.said: list[str] = []

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.events.append(("start", run_id))
        self.parents[run_id] = parent_run_id
        self.models.append(kwargs["metadata"]["ls_model_name"])

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.events.append(("chain", run_id))

    def on_llm_new_token(self, token: str, *, run_id: UUID, **kwargs: Any) -> None:
        if token:
            self.said.append(token)

    def on_text(self, text: str, *, run_id: UUID, **kwargs: Any) -> None:
        self.events.append((text, run_id))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self.events.append(("end", run_id))
        self.tokens += response.generations[0][0].message.usage_metadata["total_tokens"]  # type: ignore[union-attr]


@pytest.fixture(params=[Streaming, BlockingStream, Provider])
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> BaseChatModel:
    """A provider's model behind a retry policy, a cassette and the stage store; it streams, or blocks, or cannot stream."""
    patient = retrying_chat(request.param(), RetryPolicy("acme", PipelineSettings(_env_file=None)))
    recording = RecordingChat(cassette=Cassette(tmp_path, "acme", {}), inner=patient)
    return CachedChat(store=SqliteStageStore(tmp_path / "stages.db"), model="m|1|", connect=lambda: recording, inner=recording)


async def test_a_call_is_one_run_and_its_tokens_count_once(wrapped: BaseChatModel) -> None:
    heard = Listener()
    said = await wrapped.ainvoke("Where is Paris?", {"callbacks": [heard]})
    assert said.text == "In France."
    assert heard.tokens == said.usage_metadata["total_tokens"] == 5
    assert [name for name, _ in heard.events] in (["start", "waiting", "end"], ["start", "blocking", "end"])
    assert len({run for _, run in heard.events}) == 1  # what the provider tells belongs to the same run
    assert heard.models == ["acme-1"]


async def test_a_streamed_call_is_one_run_and_each_piece_is_told_once(wrapped: BaseChatModel) -> None:
    heard = Listener()
    pieces = [piece async for piece in wrapped.astream("Where is Paris?", {"callbacks": [heard]})]
    assert "".join(piece.text for piece in pieces) == "".join(heard.said) == "In France."
    assert heard.tokens == 5
    assert [name for name, _ in heard.events if name != "blocking"] in (["start", "end"], ["start", "waiting", "end"])


async def test_a_chain_around_the_model_hands_its_callbacks_down_once(wrapped: BaseChatModel) -> None:
    heard = Listener()

    async def ask(question: str) -> str:
        return (await wrapped.ainvoke(question)).text  # no config: LangChain takes it from the chain around

    assert await RunnableLambda(ask).ainvoke("Where is Paris?", {"callbacks": [heard]}) == "In France."
    [chain] = [run for name, run in heard.events if name == "chain"]
    assert list(heard.parents.values()) == [chain]
    assert heard.tokens == 5


def test_a_caller_who_cannot_await_is_told_the_same(wrapped: BaseChatModel) -> None:
    heard = Listener()
    wrapped.invoke("Where is Paris?", {"callbacks": [heard]})
    assert len({run for _, run in heard.events}) == 1
    assert len(heard.events) == 3
    assert heard.tokens == 5


async def test_what_the_provider_tells_of_an_answer_is_kept(wrapped: BaseChatModel) -> None:
    said = await wrapped.ainvoke("Where is Paris?")
    assert said.response_metadata == {"model_name": "acme-1", "finish_reason": "stop", "region": "eu"}
    chunks = [chunk async for chunk in wrapped.astream("Elsewhere?")]
    assert sum(chunks[1:], chunks[0]).response_metadata["finish_reason"] == "stop"
    again = await wrapped.ainvoke("Elsewhere?")
    assert again.response_metadata["finish_reason"] == "stop"


async def test_a_model_that_cannot_stream_tools_gives_its_call_in_one_piece(tmp_path: Path) -> None:
    patient = retrying_chat(Streaming(disable_streaming="tool_calling"), RetryPolicy("acme", PipelineSettings(_env_file=None)))
    pieces = [piece async for piece in patient.astream("Where is Paris?", tools=[{"name": "look"}])]
    assert [piece.text for piece in pieces if piece.text] == ["In France."]
    pieces = [piece async for piece in patient.astream("Where is Paris?")]
    assert [piece.text for piece in pieces if piece.text] == WORDS


async def test_the_limit_of_the_outermost_reaches_the_model(wrapped: BaseChatModel) -> None:
    await with_output_limit(wrapped, 100).ainvoke("Where is Paris?")
    inner = wrapped.inner.inner.inner  # type: ignore[attr-defined]
    assert inner.limits == [100]


@pytest.mark.parametrize(("own", "most", "limit"), [(None, 100, 100), (50, 100, 50), (200, 100, 100)])
def test_the_lower_limit_holds(own: int | None, most: int, limit: int) -> None:
    model = Provider(max_tokens=own)
    assert with_output_limit(model, most).max_tokens == limit  # type: ignore[attr-defined]
    assert model.max_tokens == own


def test_a_model_without_a_limit_is_left_as_it_is() -> None:
    model = EchoChat()
    assert with_output_limit(model, 100) is model


async def test_a_stream_that_is_cancelled_as_a_piece_comes_ends() -> None:
    come = [asyncio.get_running_loop().create_future() for _ in range(3)]
    patient = retrying_chat(Waiting(come=come), RetryPolicy("acme", PipelineSettings(_env_file=None)))
    read: list[str] = []

    async def reading() -> None:
        async for piece in patient.astream("How long?"):
            read.append(str(piece.content))  # noqa: PERF401 — seen as they come

    task = asyncio.create_task(reading())
    come[0].set_result("Everyone ")
    await eventually(lambda: read)
    come[1].set_result("has ")
    come[2].set_result("28 days.")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read == ["Everyone "]
