"""What a client sees, what is logged and counted, and that it recovers by itself, when something that the server stands on is lost."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from serving.keys import Caller, create_key
from serving.pipeline.answer.degraded import NOTICE, WARNING
from serving.pipeline.answer.resilient import FALLBACK_WARNING
from serving.pipeline.errors import StoreError
from serving.pipeline.models.breakers import _BREAKERS
from serving.pipeline.models.rate_limit import rate_limiter_of
from tests.app.compatible.test_compatible import client as openai_client
from tests.app.compatible.test_mcp import agent
from tests.app.making import QUESTION, SAYS, House, Open, config, events, opened
from tests.doubles.bedrock import CREDENTIALS, Answer, BedrockDouble, Call, Drop, Hang, Malformed, Refusal, ServerError, Throttle
from tests.support.ports import free_port
from tests.support.redis import RedisServer, a_secret, patient_with_redis, running_redis
from tests.support.s3 import KEYS
from tests.support.waiting import WITHIN_S, eventually
from tests.traces.test_stores import a_table

NOVA, OTHER = "bedrock_converse:amazon.nova-lite-v1:0", "bedrock_converse:amazon.nova-pro-v1:0"
DOWN = {"name": "local:scripted", "answers": [SAYS, {"error": "failed"}, {"error": "failed"}, {"error": "failed"}, {"error": "failed"}]}


def value(lines: list[str]) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in lines)


# The model


async def test_when_the_model_is_down_passages_are_shown_at_every_door_and_said_to_be_no_answer(house: House) -> None:
    await house.release(config(**{"answer.models.lite": DOWN}))  # its first answer is to the warm-up
    async with opened(house.settings(traces=str(house.root / "t.db"))) as api, agent(api) as reader:
        plain = await api.ask()
        streamed = events((await api.client.post("/v1/query/stream", json={"question": QUESTION})).text)
        chat = await openai_client(api).chat.completions.create(model="touchstone", messages=[{"role": "user", "content": QUESTION}])
        tool: Any = await reader.call_tool("ask", {"question": QUESTION})
        back = await openai_client(api).responses.create(model="touchstone", input=QUESTION)
        counted, failures = await api.metric("touchstone_degraded_total"), await api.metric("touchstone_model_outages_total")
        answers = await api.metric("touchstone_answers_total")
        kept = (await api.client.get(f"/v1/traces/{plain.json()['trace_id']}")).json()
        lines = [line for line in api.log if line.get("degraded")]
    answer = plain.json()
    assert (plain.status_code, answer["degraded"], answer["refused"], answer["model"]) == (200, True, False, "")
    assert answer["answer"].startswith(NOTICE) and answer["warnings"] == [WARNING]
    assert answer["citations"][0]["document"] == "leave.md" and "[1]" in answer["answer"]
    assert "".join(data["text"] for name, data in streamed if name == "token") == streamed[-1][1]["answer"] == answer["answer"]
    assert streamed[-1][1]["degraded"]
    extra: Any = chat.model_extra
    assert chat.choices[0].message.content == answer["answer"]
    assert chat.choices[0].message.annotations and extra["touchstone"]["degraded"] and extra["touchstone"]["warnings"] == [WARNING]
    assert not tool.is_error and tool.structured_content["degraded"] and NOTICE in tool.content[0].text
    assert back.output_text == SAYS  # the script begins anew: the model is back, and nothing has to be done
    assert (value(counted), value(failures), value(answers)) == (4.0, 4.0, 5.0)
    assert 'touchstone_model_outages_total{error="ModelError",tier="lite"} 4.0' in failures
    assert 'touchstone_answers_total{tier="none"} 4.0' in answers
    assert len(lines) == 4 and lines[0]["outages"] == ["lite ModelError"]
    assert WARNING in str(kept)


async def test_an_operator_may_prefer_an_error_to_passages(house: House) -> None:
    await house.release(config(**{"answer.models.lite": DOWN}))
    async with opened(house.settings(degrade=False)) as api:
        response = await api.ask()
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert response.headers["retry-after"]


async def test_the_fallback_answers_with_a_warning(house: House) -> None:
    await house.release(config(**{"answer.models.lite": DOWN, "answer.fallback": "pro"}))
    async with opened(house.settings(degrade=False)) as api:
        answer = (await api.ask()).json()
    assert (answer["answer"], answer["degraded"], answer["warnings"]) == (SAYS, False, [FALLBACK_WARNING])
    assert answer["route"] == {"tier": "pro", "reason": "fallback: lite did not answer"}


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, known in CREDENTIALS.items():
        monkeypatch.setenv(name, known)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("serving.pipeline.models.retry.FIRST_PAUSE_S", 0.001)
    yield
    rate_limiter_of.cache_clear()
    _BREAKERS.clear()


class Provider:
    """A script for the double: one model fails in some way while it is told to, another one answers."""

    def __init__(self) -> None:
        self.fault: Answer = None
        self.asked = 0
        self.lock = threading.Lock()

    def __call__(self, call: Call) -> Answer:
        with self.lock:
            self.asked += call.model in NOVA
        return self.fault if call.model in NOVA and self.fault is not None else SAYS


@pytest.mark.slow
@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(ServerError(), "ModelError", id="down"),
        pytest.param(Throttle(), "ThrottledError", id="throttles"),
        pytest.param(Hang(), "ModelError", id="hangs"),
        pytest.param(Malformed(), "ModelError", id="babbles"),
        pytest.param(Drop(), "ModelError", id="hangs up"),
        pytest.param(Refusal("AccessDeniedException", 403), "ConfigError", id="denies"),
    ],
)
async def test_whatever_ails_the_model_passages_come_in_time_and_the_model_is_taken_back(house: House, fault: Answer, error: str) -> None:
    provider = Provider()
    with BedrockDouble(provider) as double:
        await house.release(config(**{"answer.models.lite": {"name": NOVA}}))
        patience_s = 2.0 if isinstance(fault, Hang) else WITHIN_S  # which a test has to wait for, again and again, where nothing comes
        settings = house.settings(bedrock_endpoint=double.url, model_timeout_s=patience_s, model_failures=4)
        async with opened(settings) as api:
            assert (await api.ask()).json()["answer"] == SAYS
            provider.fault, before = fault, provider.asked
            answers = [(await api.ask()).json() for _ in range(6)]
            asked = provider.asked - before
            state = await api.metric("touchstone_model_breaker")
            failures = await api.metric("touchstone_model_outages_total")
            provider.fault = None

            async def answered() -> bool:
                return not (await api.ask()).json()["degraded"]

            await eventually(answered)
            after = await api.metric("touchstone_model_breaker")
    assert [answer["degraded"] for answer in answers] == [True] * 6
    assert f'error="{error}"' in str(failures)
    closed = f'touchstone_model_breaker{{model="{NOVA}",state="closed"}} 1.0'
    assert closed in after
    assert (closed in state) is (error == "ConfigError")  # who denies answers
    assert asked <= 6  # four failures in a row, then one at a time


@pytest.mark.slow
@pytest.mark.usefixtures("hosted")
async def test_a_model_that_hangs_does_not_use_up_the_time_of_its_fallback(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.pipeline.answer.resilient.SHARE_WITH_FALLBACK", 0.03)  # of which nobody has to wait for long
    provider = Provider()
    with BedrockDouble(provider) as double:
        models = {"lite": {"name": NOVA}, "pro": {"name": OTHER}}
        await house.release(config(**{f"answer.models.{tier}": model for tier, model in models.items()}, **{"answer.fallback": "pro"}))
        settings = house.settings(bedrock_endpoint=double.url, request_timeout_s=50.0)  # a call may take 60 s by the settings
        async with opened(settings) as api:
            await api.ask()
            provider.fault = Hang()
            answer = await api.ask()
            stream = events((await api.client.post("/v1/query/stream", json={"question": QUESTION})).text)
    assert (answer.status_code, answer.json()["answer"], answer.json()["route"]["tier"]) == (200, SAYS, "pro")
    assert stream[-1][0] == "answer" and stream[-1][1]["route"]["tier"] == "pro"


# Redis


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from running_redis(tmp_path_factory.mktemp("redis"))


@pytest.mark.parametrize("lost", ["killed", "silent"])
async def test_without_redis_cache_limits_and_budgets_go_on_in_the_process_and_are_shared_again(
    house: House, redis: RedisServer, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_with_redis(monkeypatch, 2.0)  # which the questions wait for that find it silent
    await house.release(config(**{"cache.lookup.name": "exact"}))
    key = create_key(tmp_path / "keys.yaml", Caller(id="ann", usd_per_day=5.0))
    settings = house.settings(
        redis=redis.url, cache_secret=a_secret(), max_per_minute=10_000, api_keys=tmp_path / "keys.yaml", keep_traces=False
    )
    async with opened(settings) as api:
        api.client.headers["Authorization"] = f"Bearer {key}"

        async def several(number: int) -> list[int]:
            return [answer.status_code for answer in await asyncio.gather(*(api.ask(f"{QUESTION} {n % 3}") for n in range(number)))]

        assert set(await several(6)) == {200}
        before = (await api.ask(f"{QUESTION} 0")).json()
        load = asyncio.create_task(several(20))
        await asyncio.sleep(0)
        redis.kill() if lost == "killed" else redis.pause()
        assert set(await load) == {200}
        assert set(await several(6)) == {200}
        assert {breaker.state for breaker in _breakers(api)} <= {"open", "half-open"}  # not every question waits for it
        redis.start() if lost == "killed" else redis.resume()

        async def shared_again() -> bool:
            await api.ask(f"{QUESTION} 0")
            return {"budgets shared again", "rate limits shared again"} <= {line["event"] for line in api.log}

        for breaker in _breakers(api):
            breaker._closed_from = 0.0  # the rest is over: seconds that nobody has to wait for here
        await eventually(shared_again)
        told = [line["event"] for line in api.log]
        errors = await api.metric("touchstone_cache_backend_errors_total")
    assert before["cached"]
    assert told.count("budgets not shared") == told.count("rate limits not shared") == 1
    assert value(errors) > 0


def _breakers(api: Open) -> list[Any]:
    """Those of the limits and the budgets, wherever the middleware has them."""
    found, layer = [api.app.state.service.budgets._ledger._breaker], api.app.middleware_stack
    while layer is not None:
        windows = getattr(layer, "_windows", None)
        found += [windows._breaker] if windows is not None else []
        layer = getattr(layer, "app", None) or getattr(layer, "_app", None)
    return found


# Traces


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.traces.writer.RETRY_S", 0.05)


async def recovered(api: Open, lose: Callable[[], object], bring_back: Callable[[], object], *, reads: int) -> None:
    """The store goes and comes back while questions are asked: they are answered, feedback is not lied about, nothing is lost."""
    writer: Any = api.app.state.service.traces
    lose()
    answers = [await api.ask() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3

    await eventually(lambda: writer.failing)
    ident = answers[0].json()["trace_id"]
    said = await api.client.post("/v1/feedback", json={"trace_id": ident, "kind": "thumbs", "value": 1})
    listed = await api.client.get("/v1/traces")
    waiting = value(await api.metric("touchstone_traces_waiting"))
    bring_back()
    await eventually(lambda: writer.waiting == 0)
    assert (said.status_code, listed.status_code, waiting) == (503, reads, 3.0)
    again = await api.client.post("/v1/feedback", json={"trace_id": ident, "kind": "thumbs", "value": 1})
    assert again.status_code < 300
    listed = await api.client.get("/v1/traces")
    assert listed.status_code == 200
    assert {answer.json()["trace_id"] for answer in answers} <= {trace["id"] for trace in listed.json()["traces"]}
    events = [line["event"] for line in api.log]
    assert events.count("traces not written") == events.count("traces written again") == 1
    assert value(await api.metric("touchstone_traces_lost")) == 0.0


@pytest.mark.usefixtures("quick_retries")
async def test_while_the_trace_database_is_locked_questions_are_answered_and_their_traces_wait(
    furnished: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.traces.sqlite.BUSY_S", 0.05)
    async with opened(furnished.settings(traces=str(tmp_path / "t.db"))) as api:
        other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        with closing(other):
            await recovered(api, lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK"), reads=200)
            assert other.execute("SELECT count(*) FROM traces").fetchone() == (3,)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_retries")
async def test_without_dynamodb_questions_are_answered_and_their_traces_wait(furnished: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, known in KEYS.items():
        monkeypatch.setenv(name, known)
    servers = [ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)]
    servers[0].start()
    host, port = servers[0].get_host_and_port()
    a_table(f"http://{host}:{port}", "outage")

    def bring_back() -> None:
        servers.append(ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False))
        servers[-1].start()

    try:
        async with opened(furnished.settings(traces="dynamodb:outage", dynamodb_endpoint=f"http://{host}:{port}")) as api:
            await recovered(api, servers[0].stop, bring_back, reads=503)
        assert len(servers) == 2
    finally:
        servers[-1].stop()


@pytest.mark.parametrize("what", ["traces", "audit", "channels", "documents"])
async def test_a_store_that_hangs_takes_no_thread_from_questions_probes_and_other_stores(
    furnished: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    addresses = {"traces": "/v1/traces", "audit": "/v1/admin/audit", "channels": "/v1/admin/channels", "documents": "/v1/documents"}
    go, entered = threading.Event(), threading.Semaphore(0)

    def hang(*arguments: object, **named: object) -> None:
        entered.release()
        go.wait()
        raise StoreError("It did not answer.")

    async with opened(furnished.settings(traces=str(tmp_path / "t.db"), documents_poll_s=1e6)) as api:
        service = api.app.state.service
        with monkeypatch.context() as patched:
            match what:
                case "traces":
                    patched.setattr(service.traces.store, "find", hang)
                case "audit":
                    patched.setattr(service.audit.store, "find", hang)
                case "channels":
                    patched.setattr("serving.app.admin.channels.find_channel", hang)
                case "documents":
                    patched.setattr(service.documents.documents, "refresh", hang)
            waiting = [asyncio.create_task(api.client.get(addresses[what])) for _ in range(64)]  # more than a loop has threads
            try:
                assert await asyncio.to_thread(entered.acquire, timeout=WITHIN_S)
                async with asyncio.timeout(WITHIN_S):
                    assert (await api.ask()).json()["answer"] == SAYS
                    assert (await api.client.get("/readyz")).status_code == 200
                    others = [(await api.client.get(at)).status_code for name, at in addresses.items() if name != what]
            finally:
                go.set()
            codes = {response.status_code for response in await asyncio.gather(*waiting)}
    assert others == [200, 200, 200]
    assert codes == {503}


# Storage, keys, receivers


async def test_without_the_storage_of_releases_what_is_served_stays_and_what_is_promoted_meanwhile_is_taken_up(house: House) -> None:
    first = (await house.release(config()),)
    away = house.root / "away"
    async with opened(house.settings(keep_traces=False)) as api:
        house.releases.rename(away)
        house.releases.write_text("no folder any more")
        await api.release_manager.refresh()
        lost = await api.client.get("/readyz")
        answered = await api.ask()
        current = await api.metric("touchstone_release_current ")
        house.releases.unlink()
        away.rename(house.releases)
        second = await house.release(config("Another text [1]."))
        await api.release_manager.refresh()
        after = (await api.ask()).json()
    assert (lost.status_code, lost.json()["ready"], lost.json()["current"]) == (200, True, False)
    assert (answered.status_code, answered.json()["release"]) == (200, *first)
    assert current == ["touchstone_release_current 0.0"]
    assert (after["release"], after["answer"]) == (second, "Another text [1].")


async def test_without_its_index_in_place_a_server_answers_from_memory_and_says_that_it_should_be_asked_no_more(house: House) -> None:
    indexes, away = house.root / "home" / "indexes", house.root / "away"
    async with opened(house.settings(keep_traces=False)) as api:
        indexes.rename(away)
        lost, answered = await api.client.get("/readyz"), await api.ask()
        away.rename(indexes)
    assert (lost.status_code, lost.json()["state"], answered.status_code) == (503, "index-unreadable", 200)


async def test_a_broken_file_of_keys_lets_nobody_in_until_it_is_whole(furnished: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    key = create_key(path, Caller(id="ann"))
    whole = path.read_text()
    async with opened(furnished.settings(api_keys=path, keep_traces=False)) as api:
        api.client.headers["Authorization"] = f"Bearer {key}"
        keys = api.app.state.service.keys
        statuses = []
        for text in (whole, "{", whole):
            path.write_text(text)
            keys._checked_at = float("-inf")  # a second later
            statuses.append((await api.ask()).status_code)
        told = [line["event"] for line in api.log if line["event"].startswith("keys")]
    assert statuses == [200, 503, 200]
    assert "keys unreadable" in told and told[-1] == "keys read again"


async def test_a_receiver_of_spans_that_hangs_holds_up_nobody(furnished: House) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client gives up
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        settings = furnished.settings(otlp_traces=f"http://127.0.0.1:{port}/v1/traces", otlp_timeout_s=0.2, keep_traces=False)
        async with opened(settings) as api:
            answers = await asyncio.gather(*(api.ask() for _ in range(8)))
    finally:
        server.close()
    assert {answer.status_code for answer in answers} == {200}
