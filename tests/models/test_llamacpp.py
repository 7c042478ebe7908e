"""Generative models from GGUF files: SmolLM2 from its wheel, and any file by name and digest."""

import asyncio
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from harness.evaluation.stateful import answers_one_at_a_time
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, IntegrityError, RequestError
from serving.pipeline.models import smollm2
from serving.pipeline.models.connect import connect_chat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.models.smollm2 import SHA256, model_file
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from tests.support.waiting import WITHIN_S

SETTINGS = PipelineSettings(threads=1)
PRICE = [
    SystemMessage("Answer from the numbered passages only. Put the passage's number in brackets behind the fact."),
    HumanMessage("[1] The TG-4410B costs 1,240 EUR in 2026.\n\nWhat does the TG-4410B cost?"),
]
COUNT = [HumanMessage("Count from one to five thousand, in words.")]
ENDLESS = {"temperature": 5.0, "max_tokens": 4000}  # any word is as likely as the end
LEEDS = [HumanMessage("[1] Leeds staff get 27 days of holiday.\n\nHow many days do they get in Leeds?")]


def connected(name: str = "local:smollm2", settings: PipelineSettings = SETTINGS, **params: object):
    return connect_chat(Spec(name=name, **params), settings)


@pytest.mark.slow
async def test_smollm2_writes_an_answer_with_its_tokens_and_a_simulated_price() -> None:
    chat = connected()
    message = await chat.model.ainvoke(PRICE)
    assert isinstance(message, AIMessage)
    assert "1,240" in str(message.text)
    assert message.response_metadata["finish_reason"] == "stop"
    usage = usage_of(message, chat.source, chat.name)
    assert usage.input_tokens > 40
    assert 5 < usage.output_tokens < 60
    assert usage.simulated
    assert usage.usd > 0


@pytest.mark.slow
async def test_an_answer_depends_on_no_question_before_it_or_beside_it() -> None:
    model = connected().model
    alone = await model.ainvoke(PRICE)
    await model.ainvoke(LEEDS)
    again = await model.ainvoke(PRICE)
    beside = await asyncio.gather(*(model.ainvoke(one) for one in (PRICE, LEEDS, PRICE)))
    assert {str(one.text) for one in (alone, again, beside[0], beside[2])} == {str(alone.text)}


@pytest.mark.slow
async def test_a_stream_brings_the_same_words_piece_by_piece() -> None:
    model = connected().model
    chunks = [chunk async for chunk in model.astream(PRICE)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert isinstance(whole, AIMessageChunk)
    assert sum(bool(chunk.text) for chunk in chunks) > 5
    assert whole.text == (await model.ainvoke(PRICE)).text
    assert whole.usage_metadata
    assert whole.usage_metadata["output_tokens"] > 5


@pytest.mark.slow
async def test_a_stream_that_is_left_stops_the_model() -> None:
    model = connected().model
    begin = time.process_time()
    whole = await model.ainvoke(PRICE)
    a_token_s = (time.process_time() - begin) / whole.usage_metadata["output_tokens"]
    async for _ in connected(**ENDLESS).model.astream(COUNT):
        break
    begin = time.process_time()
    message = await model.ainvoke(LEEDS, max_tokens=5)
    assert message.response_metadata["finish_reason"] == "length"
    assert time.process_time() - begin < 500 * a_token_s  # whoever writes on writes thousands


@pytest.mark.slow
async def test_a_seed_gives_the_same_words_again() -> None:
    async def words(seed: int) -> str:
        return str((await connected(temperature=1.2, seed=seed, max_tokens=40).model.ainvoke(LEEDS)).text)

    assert await words(1) == await words(1)
    assert len({await words(seed) for seed in range(4)}) > 1


@pytest.mark.slow
async def test_a_prompt_that_does_not_fit_names_the_mend() -> None:
    with pytest.raises(RequestError, match=r"Raise its context_tokens \(256\), or lower answer\.context_tokens\."):
        await connected(context_tokens=256).model.ainvoke([HumanMessage("word " * 600)])


@pytest.mark.slow
async def test_nobody_else_can_use_the_loaded_model() -> None:
    model = connected().model
    await model.ainvoke(LEEDS, max_tokens=2)
    address = model._engine._server.listening_address  # llama.cpp opens a port on the loopback
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 401 " in connection.recv(4096)


@pytest.mark.slow
async def test_a_file_by_name_needs_its_digest_and_is_found_below_the_folder_of_the_settings(tmp_path: Path) -> None:
    shutil.copy(model_file(), tmp_path / "tiny.gguf")
    settings = PipelineSettings(threads=1, gguf=tmp_path)
    with pytest.raises(ConfigError, match=rf"Write sha256: {SHA256[:16]} beside its name"):
        connected("llamacpp:tiny.gguf", settings)
    with pytest.raises(IntegrityError, match="Bring the right file, or correct sha256"):
        connected("llamacpp:tiny.gguf", settings, sha256="0" * 16)
    chat = connected("llamacpp:tiny.gguf", settings, sha256=SHA256[:16])
    message = await chat.model.ainvoke(PRICE)
    assert "1,240" in str(message.text)
    usage = usage_of(message, chat.source, chat.name)
    assert not usage.priced  # unknown, which is not nothing
    assert not usage.simulated


def test_a_file_that_is_not_there_or_no_model_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file .*nowhere.gguf.*TOUCHSTONE_GGUF"):
        connected("llamacpp:nowhere.gguf")
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ConfigError, match="cannot be loaded as a GGUF model"):
        connected(f"llamacpp:{tmp_path / 'text.gguf'}", sha256=sha256_file(tmp_path / "text.gguf"))


def test_a_changed_file_of_the_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / smollm2.FILE).write_bytes(b"other weights")
    monkeypatch.setattr(smollm2, "model_file", lambda: tmp_path / smollm2.FILE)
    with pytest.raises(IntegrityError, match="Remove it, then run"):
        connected()
    monkeypatch.undo()
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_wheel")
    with pytest.raises(ConfigError, match=r"SmolLM2 is not installed\. Run `uv sync`"):
        connected()


@pytest.mark.slow
def test_a_process_that_ends_in_the_middle_of_an_answer_ends_quietly() -> None:
    code = """
        import asyncio
        from tests.models.test_llamacpp import COUNT, ENDLESS, connected
        async def leave():
            async with asyncio.timeout(None) as limit:
                async for _ in connected(**ENDLESS).model.astream(COUNT):
                    limit.reschedule(0)  # it is over
        asyncio.run(leave())
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1  # TimeoutError, and no abort
    assert "TimeoutError" in ended.stderr
    assert "FATAL" not in ended.stderr


def test_cases_wait_for_a_model_that_answers_no_two_at_once() -> None:
    config = RagConfig.parse({})
    assert not answers_one_at_a_time(config)
    assert answers_one_at_a_time(config.replace({"answer.models.pro.name": "local:smollm2"}))
