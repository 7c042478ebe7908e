"""Questions over HTTP from many connections at once, asked with little processor time: what is measured is the server."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = 100  # of /proc/<pid>/stat, on every Linux that Python runs on today


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and when."""

    status: int
    body: bytes
    first_ms: float  # until the first byte of the body
    whole_ms: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a time of asking gave."""

    replies: list[Reply]
    seconds: float
    cpu_s: float  # of the server's process


class Connection:
    """One HTTP/1.1 connection that is kept open; knows no more of the protocol than the servers here speak."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._port = port
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        reader, writer = self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port)
        begin = time.perf_counter()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{self._head}\r\n"
        )
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if "content-length" in fields:
            whole = await reader.readexactly(int(fields["content-length"]))
            first = time.perf_counter()
        else:
            parts = []
            first = 0.0
            while size := int(await reader.readline(), 16):
                parts.append(await reader.readexactly(size))
                first = first or time.perf_counter()
                await reader.readexactly(2)
            await reader.readexactly(2)
            whole = b"".join(parts)
        end = time.perf_counter()
        return Reply(int(lines[0].split(" ")[1]), whole, 1000 * (first - begin), 1000 * (end - begin))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


def cpu_s(pid: int) -> float:
    """Processor time of a process since it started, user and system, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def rss_mb(pid: int) -> float:
    """Memory of a process that is resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def ask(
    pid: int, port: int, path: str, bodies: Iterator[bytes], headers: Mapping[str, str], *, connections: int, seconds: float, most: int
) -> Load:
    """Ask for so many seconds, or until so many were asked; each connection asks again when it has its answer."""
    return asyncio.run(_ask(pid, port, path, bodies, headers, connections, seconds, most))


async def _ask(
    pid: int, port: int, path: str, bodies: Iterator[bytes], headers: Mapping[str, str], connections: int, seconds: float, most: int
) -> Load:
    replies: list[Reply] = []
    begin, before, asked = time.perf_counter(), cpu_s(pid), 0

    async def work(connection: Connection) -> None:
        nonlocal asked
        while time.perf_counter() - begin < seconds and asked < most:
            asked += 1
            replies.append(await connection.post(path, next(bodies)))

    open_ones = [Connection(port, headers) for _ in range(connections)]
    try:
        await asyncio.gather(*(work(one) for one in open_ones))
        return Load(replies, time.perf_counter() - begin, cpu_s(pid) - before)
    finally:
        for one in open_ones:
            one.close()
