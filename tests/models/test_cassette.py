"""Recorded answers: the same ones come back with nothing connected, and a missing one is loud."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from serving.pipeline.errors import ConfigError, DataError, ThrottledError
from serving.pipeline.models.cassette import with_cassette, with_embeddings_cassette
from serving.pipeline.models.connect import ConnectedChat, connect_chat, connect_embeddings
from serving.pipeline.models.fakes import ScriptedChat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Reply, Throttle

NOVA = Spec(name="bedrock_converse:amazon.nova-lite-v1:0")
TITAN = Spec(name="bedrock:amazon.titan-embed-text-v2:0", dimensions=256)
DEAD = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def settings(folder: Path, mode: str, url: str = DEAD, **changes: object) -> PipelineSettings:
    return PipelineSettings(_env_file=None, bedrock_endpoint=url, cassette=folder, cassette_mode=mode, **changes)


def chat(folder: Path, mode: str, url: str = DEAD, spec: Spec = NOVA) -> ConnectedChat:
    return connect_chat(spec, settings(folder, mode, url))


async def test_a_recorded_answer_is_replayed_with_its_usage_when_the_model_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with BedrockDouble([Reply("In France.", "max_tokens", 1000, 500)]) as double:
        said = await chat(tmp_path, "record", double.url).model.ainvoke("Where?")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    replayed = chat(tmp_path, "replay")
    again = await replayed.model.ainvoke("Where?")
    assert again.text == said.text == "In France."
    assert again.response_metadata["stopReason"] == "max_tokens"
    assert usage_of(again, replayed.source, replayed.name).usd == pytest.approx(0.00018)
    assert replayed.model.invoke("Where?").text == "In France."


async def test_a_recorded_answer_is_streamed_and_a_recorded_stream_is_answered(tmp_path: Path):
    with BedrockDouble(["In France.", "On the Seine."]) as double:
        recording = chat(tmp_path, "record", double.url).model
        await recording.ainvoke("Where?")
        _ = [chunk async for chunk in recording.astream("Where exactly?")]
    replayed = chat(tmp_path, "replay").model
    chunks = [chunk async for chunk in replayed.astream("Where?")]
    assert [chunk.text for chunk in chunks if chunk.text] == ["In", " France."]
    whole = sum(chunks[1:], chunks[0])
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 18
    assert (await replayed.ainvoke("Where exactly?")).text == "On the Seine."


async def test_the_same_recording_has_the_same_bytes(tmp_path: Path):
    for folder in ("first", "second"):
        with BedrockDouble(["In France."]) as double:
            await chat(tmp_path / folder, "record", double.url).model.ainvoke("Where?")
    [first], [second] = (list((tmp_path / folder / "chat").iterdir()) for folder in ("first", "second"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text())["answer"]["text"] == "In France."


@pytest.mark.parametrize(
    ("spec", "question"),
    [
        (NOVA, "Where then?"),
        (Spec(name=NOVA.name, temperature=0.5), "Where?"),
        (Spec(name="bedrock_converse:amazon.nova-pro-v1:0"), "Where?"),
    ],
    ids=["prompt", "parameters", "model"],
)
async def test_another_prompt_model_or_parameter_is_a_loud_miss(tmp_path: Path, spec: Spec, question: str):
    with BedrockDouble() as double:
        await chat(tmp_path, "record", double.url).model.ainvoke("Where?")
    missing = chat(tmp_path, "replay", spec=spec).model
    with pytest.raises(DataError, match=r"No recorded answer '[0-9a-f]{16}' of bedrock_converse.*TOUCHSTONE_CASSETTE_MODE=record"):
        await missing.ainvoke(question)
    with pytest.raises(DataError, match="No recorded answer"):
        _ = [chunk async for chunk in missing.astream(question)]


async def test_another_output_limit_is_a_miss(tmp_path: Path):
    with BedrockDouble() as double:
        await chat(tmp_path, "record", double.url).model.model_copy(update={"max_tokens": 50}).ainvoke("Where?")
    [call] = double.calls
    assert call.body["inferenceConfig"]["maxTokens"] == 50
    replayed = chat(tmp_path, "replay").model
    await replayed.model_copy(update={"max_tokens": 50}).ainvoke("Where?")
    with pytest.raises(DataError):
        await replayed.model_copy(update={"max_tokens": 51}).ainvoke("Where?")


async def test_a_failed_call_leaves_no_recording(tmp_path: Path):
    with BedrockDouble(lambda _: Throttle()) as double:
        connected = connect_chat(NOVA, settings(tmp_path, "record", double.url, model_attempts=1))
        with pytest.raises(ThrottledError):
            await connected.model.ainvoke("Where?")
    assert not (tmp_path / "chat").exists()


async def test_a_stream_broken_off_leaves_no_recording(tmp_path: Path):
    broken = ScriptedChat(answers=({"error": "failed", "text": "In Fr"},))  # type: ignore[arg-type]
    model = with_cassette(lambda: broken, settings(tmp_path, "record"), name="x:y", params={})
    with pytest.raises(Exception, match="failed by the script"):
        _ = [chunk async for chunk in model.astream("Where?")]
    assert not (tmp_path / "chat").exists()


async def test_vectors_are_replayed_text_by_text_when_the_model_is_gone(tmp_path: Path):
    with BedrockDouble() as double:
        recording = connect_embeddings(TITAN, settings(tmp_path, "record", double.url))
        vectors = recording.embed_documents(["one", "two"])
        question = await recording.aembed_query("one")
    replayed = connect_embeddings(TITAN, settings(tmp_path, "replay"))
    assert replayed.embed_documents(["two", "one"]) == [vectors[1], vectors[0]]
    assert await replayed.aembed_query("one") == question
    with pytest.raises(DataError, match="No recorded answer"):
        replayed.embed_documents(["one", "three"])


async def test_a_file_that_is_no_recording_is_a_data_error_naming_it(tmp_path: Path):
    with BedrockDouble() as double:
        await chat(tmp_path, "record", double.url).model.ainvoke("Where?")
    [file] = (tmp_path / "chat").iterdir()
    file.write_text('{"answer"')
    with pytest.raises(DataError, match=file.name):
        await chat(tmp_path, "replay").model.ainvoke("Where?")


def test_a_mode_without_a_folder_is_a_config_error():
    without = PipelineSettings(_env_file=None, cassette_mode="replay")
    with pytest.raises(ConfigError, match="TOUCHSTONE_CASSETTE names no folder"):
        connect_chat(NOVA, without)
    with pytest.raises(ConfigError, match="TOUCHSTONE_CASSETTE names no folder"):
        connect_embeddings(TITAN, without)


def test_local_models_are_neither_recorded_nor_replayed(tmp_path: Path):
    assert connect_chat(Spec(name="local:echo"), settings(tmp_path, "replay")).model.invoke("Heard?").text == "Heard?"
    local = connect_embeddings(Spec(name="local:hashing"), settings(tmp_path, "replay"))
    assert len(local.embed_query("Heard?")) == 256


async def test_tool_calls_are_part_of_the_recording(tmp_path: Path):
    from langchain_core.language_models import FakeMessagesListChatModel
    from langchain_core.messages import AIMessage

    call = {"name": "grade", "args": {"score": 4}, "id": "1", "type": "tool_call"}
    judge = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=[call])])
    await with_cassette(lambda: judge, settings(tmp_path, "record"), name="x:y", params={}).ainvoke([HumanMessage("Grade it.")])
    replayed = with_cassette(lambda: judge, settings(tmp_path, "replay"), name="x:y", params={})
    assert (await replayed.ainvoke([HumanMessage("Grade it.")])).tool_calls == [call]
    chunks = [chunk async for chunk in replayed.astream([HumanMessage("Grade it.")])]
    assert sum(chunks[1:], chunks[0]).tool_calls == [call]


def test_nothing_is_connected_for_a_replay(tmp_path: Path):
    connected: list[str] = []

    def connect() -> Any:
        connected.append("once")

    for mode, times in (("replay", 0), ("off", 2)):
        with_cassette(connect, settings(tmp_path, mode), name="x:y", params={})
        with_embeddings_cassette(connect, settings(tmp_path, mode), name="x:y", params={})
        assert len(connected) == times, mode
