"""Bedrock through real boto3 and langchain-aws, against the double over HTTP."""

import asyncio
import sys
import threading
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage

from serving.pipeline.errors import ConfigError, ModelError, RequestError, ThrottledError
from serving.pipeline.models.billed_embeddings import counting_tokens
from serving.pipeline.models.connect import ConnectedChat, connect_chat, connect_embeddings
from serving.pipeline.models.prices import usage_of
from serving.pipeline.models.retry import FIRST_PAUSE_S, LONGEST_PAUSE_S, RetryPolicy
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from tests.doubles.bedrock import (
    CREDENTIALS,
    BedrockDouble,
    Call,
    Drop,
    ErrorFrame,
    Hang,
    Malformed,
    Refusal,
    Reply,
    ServerError,
    Throttle,
)
from tests.support.ports import free_port
from tests.support.waiting import WITHIN_S, until

pytestmark = pytest.mark.slow

NOVA = "bedrock_converse:amazon.nova-lite-v1:0"
TITAN = "bedrock:amazon.titan-embed-text-v2:0"
QUESTION = [SystemMessage("Be brief."), HumanMessage("Where is Paris?")]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


class Pauses(list[float]):
    """Takes the place of sleeping; the chance of jitter is fixed at its most."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)

    def retry(self, settings: PipelineSettings, name: str = NOVA) -> RetryPolicy:
        return RetryPolicy(name, settings, sleep=self, random_share=lambda: 1.0)


def settings(double: BedrockDouble | str, **changes: object) -> PipelineSettings:
    return PipelineSettings(_env_file=None, bedrock_endpoint=double if isinstance(double, str) else double.url, **changes)


def chat(double: BedrockDouble | str, pauses: Pauses | None = None, spec: Spec | None = None, **changes: object) -> ConnectedChat:
    place = settings(double, **changes)
    return connect_chat(spec or Spec(name=NOVA), place, (Pauses() if pauses is None else pauses).retry(place))


async def streamed(connected: ConnectedChat, heard: list[AIMessageChunk] | None = None) -> list[AIMessageChunk]:
    chunks = [] if heard is None else heard
    async for chunk in connected.model.astream(QUESTION):
        chunks.append(chunk)  # one by one: what came before a failure is kept
    return chunks


def refused_port() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def test_an_answer_comes_with_its_tokens_and_their_price():
    with BedrockDouble([Reply("In France.", input_tokens=1000, output_tokens=500)]) as double:
        connected = chat(double)
        message = await connected.model.ainvoke(QUESTION)
    assert message.text == "In France."
    usage = usage_of(message, connected.source, connected.name)
    assert (usage.model, usage.input_tokens, usage.output_tokens) == (NOVA, 1000, 500)
    assert usage.usd == pytest.approx(1000 * 0.06e-6 + 500 * 0.24e-6)
    assert usage.priced
    assert not usage.simulated


async def test_parameters_reach_the_model():
    with BedrockDouble() as double:
        spec = Spec(name=NOVA, temperature=0.25, top_p=0.5, max_tokens=77)
        await chat(double, spec=spec).model.ainvoke(QUESTION)
    [call] = double.calls
    assert call.model == "amazon.nova-lite-v1:0"
    assert call.body["inferenceConfig"] == {"maxTokens": 77, "temperature": 0.25, "topP": 0.5}
    assert call.body["system"] == [{"text": "Be brief."}]


async def test_an_output_limit_put_on_the_connected_model_reaches_the_wire():
    with BedrockDouble() as double:
        limited = chat(double).model.model_copy(update={"max_tokens": 33})
        await limited.ainvoke(QUESTION)
        _ = [chunk async for chunk in limited.astream(QUESTION)]
    assert [call.body["inferenceConfig"]["maxTokens"] for call in double.calls] == [33, 33]


async def test_a_stream_brings_the_same_text_in_pieces_with_usage_and_stop_reason():
    with BedrockDouble([Reply("In France, on the Seine.", stop_reason="max_tokens")]) as double:
        chunks = await streamed(chat(double))
    assert [chunk.text for chunk in chunks if chunk.text] == ["In ", "France, ", "on ", "the ", "Seine."]
    whole = sum(chunks[1:], chunks[0])
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (11, 7)
    assert whole.response_metadata["stopReason"] == "max_tokens"


def test_a_caller_without_a_loop_gets_the_same_answer():
    with BedrockDouble(["In France."]) as double:
        assert chat(double).model.invoke(QUESTION).text == "In France."


async def test_throttling_is_waited_out_with_growing_pauses():
    pauses = Pauses()
    with BedrockDouble([Throttle(), Throttle(), Throttle(), "At last."]) as double:
        message = await chat(double, pauses).model.ainvoke(QUESTION)
    assert message.text == "At last."
    assert pauses == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]


@pytest.mark.parametrize("stream", [False, True])
async def test_endless_throttling_ends_as_its_own_error_after_the_attempts_allowed(stream: bool):
    pauses = Pauses()
    with BedrockDouble(lambda _: Throttle()) as double:
        connected = chat(double, pauses, model_attempts=8)
        with pytest.raises(ThrottledError, match=r"nova-lite.*ThrottlingException.*TOUCHSTONE_MODEL_CONCURRENCY"):
            await (streamed(connected) if stream else connected.model.ainvoke(QUESTION))
    assert len(double.calls) == 8  # one policy: boto adds no tries of its own
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


async def test_jitter_takes_a_random_share_of_each_pause():
    pauses = Pauses()
    with BedrockDouble([Throttle(), Throttle(), "Fine."]) as double:
        place = settings(double)
        retry = RetryPolicy(NOVA, place, sleep=pauses, random_share=iter([0.5, 0.25]).__next__)
        await connect_chat(Spec(name=NOVA), place, retry).model.ainvoke(QUESTION)
    assert pauses == [0.5 * FIRST_PAUSE_S, 0.25 * 2 * FIRST_PAUSE_S]


@pytest.mark.parametrize("fault", [ServerError(), Malformed(), Malformed(b"{}"), Drop()], ids=["500", "html", "empty", "cut"])
async def test_a_passing_fault_is_tried_again_and_a_lasting_one_is_a_model_error(fault: object):
    with BedrockDouble([fault, "Fine."]) as double:
        assert (await chat(double).model.ainvoke(QUESTION)).text == "Fine."
    with BedrockDouble(lambda _: fault) as double, pytest.raises(ModelError, match="nova-lite") as caught:
        await chat(double, model_attempts=3).model.ainvoke(QUESTION)
    assert not isinstance(caught.value, ThrottledError)
    assert len(double.calls) == 3


async def test_a_dead_endpoint_is_told_after_two_tries():
    pauses = Pauses()
    url = refused_port()
    with pytest.raises(ModelError, match=rf"did not answer.*{url}.*TOUCHSTONE_BEDROCK_ENDPOINT"):
        await chat(url, pauses, model_attempts=20).model.ainvoke(QUESTION)
    assert len(pauses) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_endpoint_is_given_up_after_the_timeout(stream: bool):
    with BedrockDouble(lambda _: Hang()) as double:
        connected = chat(double, model_timeout_s=0.2)
        with pytest.raises(ModelError, match="did not answer"):
            await (streamed(connected) if stream else connected.model.ainvoke(QUESTION))
        await asyncio.to_thread(until, lambda: len(double.calls) >= 2, WITHIN_S)  # who hung up may be read later
    assert len(double.calls) == 2


@pytest.mark.parametrize("fault", [ErrorFrame(1), ErrorFrame(1, "internalServerException"), Drop(1), Drop(0)], ids=repr)
async def test_a_stream_that_breaks_before_its_first_words_begins_again(fault: object):
    with BedrockDouble([fault, "In France."]) as double:
        chunks = await streamed(chat(double))
    assert "".join(chunk.text for chunk in chunks) == "In France."
    assert len(double.calls) == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [("throttlingException", ThrottledError), ("modelStreamErrorException", ModelError), ("validationException", RequestError)],
)
async def test_a_stream_that_never_gets_to_its_first_words_ends_as_the_error_its_frames_name(code: str, error: type[Exception]):
    with BedrockDouble(lambda _: ErrorFrame(1, code)) as double, pytest.raises(error, match=code[1:]) as caught:
        await streamed(chat(double))
    assert type(caught.value) is error


@pytest.mark.parametrize("fault", [ErrorFrame(3), Drop(3), Hang(3)], ids=repr)
async def test_a_stream_that_breaks_after_its_first_words_fails_and_is_not_repeated(fault: object):
    for patience_s in (0.3, 3.0, 30.0):  # a machine may be too busy for the first words to come in time
        heard: list[AIMessageChunk] = []
        with BedrockDouble(lambda _: fault) as double, pytest.raises(ModelError) as caught:
            await streamed(chat(double, model_timeout_s=patience_s), heard)
        if heard and len(double.calls) == 1:
            break
    assert "middle of its answer" in str(caught.value)
    assert "".join(chunk.text for chunk in heard) == "The double "
    assert len(double.calls) == 1


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal("AccessDeniedException", 403), "refused the credentials"),
        (Refusal("ExpiredTokenException", 403), "refused the credentials"),
        (Refusal("ResourceNotFoundException", 404), "not known there"),
        (Refusal("ValidationException", 400, "The provided model identifier is invalid."), "model identifier is invalid"),
        (Refusal("ValidationException", 400, "Input is too long for requested model."), "longer than.*answer.context_tokens"),
    ],
)
async def test_what_the_user_can_mend_is_a_config_error_at_the_first_try(refusal: Refusal, words: str):
    with BedrockDouble(lambda _: refusal) as double, pytest.raises(ConfigError, match=words):
        await chat(double).model.ainvoke(QUESTION)
    assert len(double.calls) == 1


async def test_missing_credentials_are_a_config_error_that_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with BedrockDouble() as double, pytest.raises(ConfigError, match=r"needs AWS credentials.*aws configure"):
        await chat(double).model.ainvoke(QUESTION)
    assert not double.calls


def test_an_unknown_profile_is_a_config_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="nobody"):
        chat(refused_port())


@pytest.mark.parametrize("package", ["boto3", "langchain_aws"])
def test_a_missing_package_is_a_config_error_with_the_command_to_install_it(package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)  # what an import finds when the package is not installed
    for connect, name in ((connect_chat, NOVA), (connect_embeddings, TITAN)):
        with pytest.raises(ConfigError, match=rf"{package}.*Install it: uv sync --extra bedrock"):
            connect(Spec(name=name), settings(refused_port()))


@pytest.mark.parametrize(
    ("spec", "words"), [(Spec(name="bedrock_converse:arn:aws:bedrock:x"), "provider"), (Spec(name=NOVA, heat=1), "heat")]
)
def test_a_wrong_spec_is_a_config_error(spec: Spec, words: str):
    with pytest.raises(ConfigError, match=words):
        chat(refused_port(), spec=spec)


def test_an_endpoint_that_is_no_url_is_a_config_error():
    with pytest.raises(ConfigError, match="TOUCHSTONE_BEDROCK_ENDPOINT is 'nonsense'"):
        chat("nonsense")


class ThreeAtOnce:
    """Answers only once three calls are there together, and gives a fourth, which should not come, the time to come."""

    def __init__(self) -> None:
        self._three = threading.Barrier(3)
        self._fourth = threading.Event()
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, _: Call) -> None:
        with self._lock:
            self._running += 1
            if self._running > 3:
                self._fourth.set()
        self._three.wait(timeout=WITHIN_S)  # fewer than three would wait for ever: it breaks, and the call fails
        self._fourth.wait(timeout=0.2)
        with self._lock:
            self._running -= 1


async def test_as_many_chat_calls_run_at_once_as_the_settings_allow_and_no_more():
    with BedrockDouble(ThreeAtOnce()) as double:
        model = chat(double, model_concurrency=3).model
        await asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(9)))
    assert len(double.calls) == 9
    assert double.log.most_running == 3


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
async def test_titan_gives_unit_vectors_of_the_size_asked_for(dimensions: int):
    with BedrockDouble() as double:
        model = connect_embeddings(Spec(name=TITAN, dimensions=dimensions), settings(double))
        vectors = np.array(await model.aembed_documents(["one", "two", "one"]))
        question = await model.aembed_query("one")
    assert vectors.shape == (3, dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0].tolist() == vectors[2].tolist() == question
    assert vectors[0].tolist() != vectors[1].tolist()
    assert all(call.body["dimensions"] == dimensions and call.body["normalize"] is True for call in double.calls)


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (None, [3]),  # the double tells the words in the answer's head
        ({"embedding": [1.0, 0.0], "inputTextTokenCount": 5}, [5]),
        ({"embedding": [1.0, 0.0]}, []),
        ({"embedding": [1.0, 0.0], "inputTextTokenCount": "many"}, []),
    ],
)
def test_the_tokens_of_a_vector_are_noted_as_the_service_tells_them(answer: Any, counted: list[int]):
    with BedrockDouble(lambda _: answer) as double, counting_tokens() as noted:
        connect_embeddings(Spec(name=TITAN), settings(double)).embed_query("one two three")
    assert noted == counted


def test_embeddings_run_at_once_within_the_limit_and_keep_the_order_of_the_texts():
    texts = [f"text {number}" for number in range(9)]
    with BedrockDouble(ThreeAtOnce()) as double:
        vectors = connect_embeddings(Spec(name=TITAN), settings(double, model_concurrency=3)).embed_documents(texts)
        assert double.log.most_running == 3
    with BedrockDouble() as double:
        model = connect_embeddings(Spec(name=TITAN), settings(double, model_concurrency=1))
        assert vectors == [model.embed_query(text) for text in texts]
        assert double.log.most_running == 1


async def test_only_the_throttled_text_is_embedded_again():
    pauses, refused = Pauses(), threading.Event()

    def once(call: Call) -> Refusal | None:
        if call.text == "text 2" and not refused.is_set():
            refused.set()
            return Throttle()
        return None

    with BedrockDouble(once) as double:
        place = settings(double)
        model = connect_embeddings(Spec(name=TITAN), place, pauses.retry(place, TITAN))
        vectors = await model.aembed_documents([f"text {number}" for number in range(5)])
    assert len(vectors) == 5
    assert sorted(call.text for call in double.calls) == ["text 0", "text 1", "text 2", "text 2", "text 3", "text 4"]
    assert pauses == [FIRST_PAUSE_S]


async def test_one_text_that_fails_for_good_ends_the_others(caplog: pytest.LogCaptureFixture):
    with BedrockDouble(lambda _: Refusal("AccessDeniedException", 403)) as double:
        model = connect_embeddings(Spec(name=TITAN), settings(double, model_concurrency=2))
        with pytest.raises(ConfigError, match="refused the credentials"):
            await model.aembed_documents([f"text {number}" for number in range(100)])
    assert len(double.calls) <= 4
    assert not caplog.records  # an error that is raised is not also logged


async def test_a_malformed_vector_is_a_model_error():
    with BedrockDouble(lambda _: Malformed()) as double:
        place = settings(double, model_attempts=2)
        with pytest.raises(ModelError, match="titan"):
            await connect_embeddings(Spec(name=TITAN), place, Pauses().retry(place, TITAN)).aembed_query("one")
