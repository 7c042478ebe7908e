"""What is sent by those who mean harm, on a real socket: each gets a plain answer or none, nothing crashes, and no log fills up."""

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from tests.app.making import QUESTION, House
from tests.app.real import Listening, heard, listening, status
from tests.support.waiting import WITHIN_S, eventually

BODY = json.dumps({"question": QUESTION}).encode()
JSON = b"Content-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /v1/query HTTP/1.1\r\nHost: a\r\n" + JSON
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


async def alive(server: Listening, caplog: pytest.LogCaptureFixture) -> None:
    """Fail unless the server still answers and has complained of nothing that is its own fault."""
    assert await server.get() == 200
    own = [record for record in caplog.records if record.levelno >= logging.ERROR or record.name == "asyncio"]
    assert [record.getMessage() for record in own] == []
    assert [line for line in server.api.log if line["level"] in ("error", "critical")] == []
    assert server.api.app.state.service.concurrency.running == 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (GET + b"X-Bomb: " + b"x" * 100_000 + b"\r\n\r\n", {400, 0}),
        (GET + b"X: 1\r\n" * 20_000 + b"\r\n", {400, 0}),
        (b"GET /livez?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {400, 0}),
        (b"GET /livez HTTP/1.0\r\n\r\n", {200}),
        (b"GET /livez HTTP/3.0\r\nHost: a\r\n" + CLOSE + b"\r\n", {200, 400}),
        (b"GET /livez HTTP/1.1\r\n\r\n", {400}),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", {404}),
        (b"GET http://elsewhere/livez HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", {200, 404}),
        (b"GET * HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", {400, 404}),
        (GET + b"X: a\x00b\r\n\r\n", {400}),
        (GET + b"X : smuggled\r\n\r\n", {400}),
        (POST + b"Content-Length: -1\r\n\r\n", {400}),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", {400}),
        (POST + b"Content-Length: 99999999999999999999\r\n" + CLOSE + b"\r\n", {413, 400}),
        (POST + b"Content-Length: 10485760\r\n" + CLOSE + b"\r\n" + b"x" * 70_000, {413, 0}),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n0\r\n\r\n", {400}),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
        (CHUNKED + b"zz\r\n", {400}),
        (CHUNKED + b"5\r\nhelloXX", {400}),
        (CHUNKED + b"fffffffffffffffffffff\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {404}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600, {400}),
        (b"\r\n" * 5_000, {400, 0}),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n", {200, 0}),
        (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", {200, 0}),
        (POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n" + CLOSE + b"\r\n{", {100}),
    ],
)
async def test_what_is_no_request_is_refused_in_one_line(
    furnished: House, caplog: pytest.LogCaptureFixture, sent: bytes, expected: set[int]
) -> None:
    async with listening(furnished.settings(idle_timeout_s=0.2)) as server:
        said = await server.send(sent)
        assert status(said) in expected, said[:200]
        if status(said) >= 400:
            assert b"application/problem+json" in said
        await alive(server, caplog)


async def test_a_chunked_body_that_never_ends_is_ended_by_its_size_or_its_time(furnished: House, caplog: pytest.LogCaptureFixture) -> None:
    for chunk, body_timeout_s, expected in ((b"400\r\n" + b"x" * 1024 + b"\r\n", WITHIN_S, 413), (b"1\r\nx\r\n", 0.3, 408)):
        async with listening(furnished.settings(body_timeout_s=body_timeout_s)) as server:
            reader, writer = await server.connect()
            writer.write(CHUNKED)

            async def flood(writer: asyncio.StreamWriter = writer, chunk: bytes = chunk) -> None:
                while not writer.transport.is_closing():
                    writer.write(chunk)
                    await asyncio.sleep(0.002)

            flooding = asyncio.create_task(flood())
            async with asyncio.timeout(WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
            flooding.cancel()
            writer.close()
            assert status(head) == expected
            await alive(server, caplog)


@pytest.mark.parametrize("after", [b"garbage\r\n\r\n", b"GET", GET + b"\r\n", b"\x00" * 100])
async def test_what_comes_while_an_answer_is_written_does_not_break_it_and_leaves_no_traceback(
    furnished: House, caplog: pytest.LogCaptureFixture, after: bytes
) -> None:
    request = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    async with listening(furnished.settings(idle_timeout_s=0.3)) as server:
        reader, writer = await server.connect()
        await eventually(lambda: server.gate.count == 1)
        server.gate.limits = replace(server.gate.limits, header_s=0.3)  # for what comes after, where that is no whole request
        writer.write(request + after)
        assert status(await heard(reader)) == 200
        writer.close()
        server.gate.limits = replace(server.gate.limits, header_s=WITHIN_S)
        await alive(server, caplog)
    async with listening(furnished.settings(body_timeout_s=0.3)) as server:
        said = await server.send(CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n" + after)
        assert status(said) in (400, 408)
        await alive(server, caplog)


@pytest.mark.slow
async def test_a_thousand_requests_in_one_go_are_answered_one_after_another(furnished: House, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(furnished.settings()) as server:
        said = await server.send((GET + b"\r\n") * 999 + GET + CLOSE + b"\r\n")
        assert said.count(b"HTTP/1.1 200") == 1000
        await alive(server, caplog)


@pytest.mark.slow
async def test_noise_in_great_amount_makes_one_line_a_minute(furnished: House) -> None:
    async with listening(furnished.settings()) as server:
        for _ in range(300):
            await server.send(b"\x00\x01garbage\r\n\r\n")
        assert await server.get() == 200
        counted = server.api.app.state.service.repeats.due()
        warnings = [line for line in server.api.log if line["level"] == "warning"]
    assert len(warnings) == 1
    assert counted == {"connection malformed": 299}
