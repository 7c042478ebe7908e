import asyncio
import contextlib
import json
import logging
from dataclasses import replace

import pytest

from serving.app.server.connections import client_key
from serving.app.server.repeats import MOST_KINDS, RepeatedEvents, RepeatFilter
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.types import Query
from tests.app.making import QUESTION, House, interrupted
from tests.app.real import Listening, heard, listening, status
from tests.support.waiting import eventually

ELSEWHERE = "127.0.0.2"
HALF = b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "
ASK = json.dumps({"question": QUESTION}).encode()
POST = b"POST /v1/query HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(ASK)


async def half_open(server: Listening, count: int, address: str) -> list[asyncio.StreamWriter]:
    """So many connections that have sent half a request."""
    writers = []
    for _ in range(count):
        with contextlib.suppress(ConnectionError):
            _, writer = await server.connect(address)
            writer.write(HALF)
            writers.append(writer)
    return writers


async def dribble(writers: list[asyncio.StreamWriter]) -> None:
    """A byte on each of the connections again and again, so that none is ever silent."""
    while True:
        for writer in writers:
            if not writer.transport.is_closing():
                writer.write(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("attacker", [ELSEWHERE, "127.0.0.1"])
async def test_a_thousand_half_open_connections_that_dribble_stop_nobody_and_fill_no_log(furnished: House, attacker: str) -> None:
    async with listening(furnished.settings(max_connections=200, max_connections_per_client=150)) as server:
        first = await half_open(server, 600, attacker)
        dribbling = asyncio.create_task(dribble(first))
        for _ in range(5):
            more = asyncio.create_task(half_open(server, 100, attacker))
            assert await server.get() == 200
            assert status(await server.send(POST + b"Connection: close\r\n\r\n" + ASK)) == 200
            first += await more
        assert server.gate.count <= 200
        dribbling.cancel()
        warnings = [line for line in server.api.log if line["level"] == "warning"]
        counted = server.api.app.state.service.repeats.due()
        for writer in first:
            writer.close()
    assert len(first) > 1000
    assert [(line["event"], line["reason"]) for line in warnings[:1]] == [("connection ended", "evicted")]
    assert len(warnings) == 1
    assert counted["connection evicted"] >= 700
    assert len(server.api.log_text) < 20_000


@pytest.mark.parametrize("sent", [b"", HALF])
async def test_who_does_not_finish_a_request_in_time_is_hung_up_on_however_it_dribbles(furnished: House, sent: bytes) -> None:
    async with listening(furnished.settings(header_timeout_s=0.2)) as server:
        reader, writer = await server.connect()
        writer.write(sent)
        dribbling = asyncio.create_task(dribble([writer])) if sent else None
        said = await heard(reader)
        if dribbling:
            dribbling.cancel()
        writer.close()
        await eventually(lambda: server.gate.count == 0)
        ended = await server.api.metric('touchstone_connections_ended_total{reason="unfinished"}')
    assert status(said) == (408 if sent else 0)
    assert (b"application/problem+json" in said) == bool(sent)
    assert ended == ['touchstone_connections_ended_total{reason="unfinished"} 1.0']


async def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(furnished: House) -> None:
    async with listening(furnished.settings()) as server:
        reader, writer = await server.connect()
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(await reader.readuntil(b"}")) == 200
        server.gate.limits = replace(server.gate.limits, header_s=0.2)
        dribbling = asyncio.create_task(dribble([writer]))
        assert await heard(reader) == b""
        dribbling.cancel()
        writer.close()


async def test_a_connection_that_rests_too_long_is_closed_and_one_that_is_used_stays(furnished: House) -> None:
    async with listening(furnished.settings(idle_timeout_s=3.0)) as server:  # within which the next request comes
        reader, writer = await server.connect()
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status(await reader.readuntil(b"}")) == 200
        assert await heard(reader) == b""
        writer.close()
        await eventually(lambda: server.gate.count == 0)


async def test_a_body_that_dribbles_is_not_waited_for(furnished: House) -> None:
    async with listening(furnished.settings(body_timeout_s=0.2)) as server:
        reader, writer = await server.connect()
        writer.write(POST + b"\r\n" + ASK[:5])
        said = await heard(reader)
        writer.close()
    assert status(said) == 408


async def test_a_question_is_never_given_up_for_a_newcomer(furnished: House) -> None:
    go, both, asking = asyncio.Event(), asyncio.Event(), 0

    async def hold(query: Query, emit: Emit | None) -> None:
        nonlocal asking
        if query.id != "warm-up":
            asking += 1
            if asking == 2:
                both.set()
            await go.wait()

    async with listening(furnished.settings(), load=interrupted(hold), total=2) as server:
        asked = [asyncio.create_task(server.send(POST + b"Connection: close\r\n\r\n" + ASK)) for _ in range(2)]
        await both.wait()
        refused = await server.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        go.set()
        answers = await asyncio.gather(*asked)
    assert status(refused) in (503, 0)  # 0: what was sent meanwhile makes the kernel drop it
    assert [status(answer) for answer in answers] == [200, 200]


async def test_one_client_takes_its_own_places_and_no_others(furnished: House) -> None:
    async with listening(furnished.settings(max_connections_per_client=3)) as server:
        mine = await half_open(server, 2, "127.0.0.1")
        theirs = await half_open(server, 10, ELSEWHERE)
        assert await server.get(address="127.0.0.3") == 200
        assert not any(writer.transport.is_closing() for writer in mine)
        assert server.gate.count <= 5
        for writer in (*mine, *theirs):
            writer.close()


async def test_a_client_that_does_not_read_is_cut_off(furnished: House) -> None:
    async with listening(furnished.settings(send_timeout_s=0.3, max_connections=50)) as server:
        _, writer = await server.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"

        async def cut_off() -> bool:
            writer.write(request * 20)
            return bool(await server.api.metric('touchstone_connections_ended_total{reason="unread"}'))

        await eventually(cut_off)
        await eventually(lambda: server.gate.count == 0)
        writer.close()


def test_clients_are_counted_by_address_and_by_the_network_of_one_ipv6_host() -> None:
    assert client_key("192.0.2.7") == "192.0.2.7"
    assert client_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_key("2001:db8:1:2:3:4:5:6") == client_key("2001:db8:1:2::1") != client_key("2001:db8:1:3::1")
    assert client_key("") == ""


def test_the_first_of_a_kind_is_told_and_the_others_are_counted() -> None:
    repeats = RepeatedEvents()
    assert [repeats.first("a"), repeats.first("a"), repeats.first("a"), repeats.first("b")] == [True, False, False, True]
    assert repeats.due() == {"a": 2}
    assert [repeats.first("a"), repeats.first("b")] == [False, True]  # b was silent for a minute: it is new again
    assert repeats.due() == {"a": 1}
    assert repeats.due() == {}


def test_kinds_without_end_are_one_kind() -> None:
    repeats = RepeatedEvents()
    assert sum(repeats.first(f"kind {number}") for number in range(10_000)) == MOST_KINDS + 1
    assert repeats.due() == {"others": 10_000 - MOST_KINDS - 1}


def test_a_logger_that_repeats_itself_is_let_through_once_a_kind() -> None:
    repeats = RepeatedEvents()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(RepeatFilter(repeats))
    logger = logging.Logger("asyncio")
    logger.addHandler(handler)
    for number in range(2048):
        logger.error(f"socket.accept() out of system resource\nsocket: {number}")
        logger.info("welcome")
    assert said.count("welcome") == 2048
    assert len(said) == 2049
    assert repeats.due() == {"asyncio: socket.accept() out of system resource": 2047}
