"""The app on a real socket, with the server's own protocol, in this process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import uvicorn

from serving.app.server.connections import ConnectionGate
from serving.app.server.run import BACKLOG, LARGEST_HEAD, connection_gate, protocol_of
from serving.app.settings import AppSettings
from tests.app.making import Loading, Open, load, opened
from tests.support.waiting import WITHIN_S


@dataclass(frozen=True)
class Listening:
    """A server that listens."""

    api: Open
    gate: ConnectionGate
    port: int

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    async def send(self, data: bytes, *, address: str = "127.0.0.1") -> bytes:
        """All that the server says to some bytes until it closes the connection."""
        reader, writer = await self.connect(address)
        try:
            writer.write(data)
            return await heard(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def get(self, path: str = "/livez", *, address: str = "127.0.0.1") -> int:
        """The status of a plain request."""
        return status(await self.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), address=address))


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that is said until the connection ends, in whatever way it does."""
    said = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(WITHIN_S):
            while piece := await reader.read(65_536):
                said += piece
    return said


def status(response: bytes) -> int:
    """The status of a response; 0 for none."""
    return int(response.split(b" ", 2)[1]) if response.startswith(b"HTTP/1.1 ") else 0


@asynccontextmanager
async def listening(settings: AppSettings, *, load: Loading = load, total: int | None = None) -> AsyncIterator[Listening]:
    """The app behind its gate on a free port; `total` connections, whatever the settings say of clients."""
    async with opened(settings, load=load) as api:
        gate = connection_gate(api.app, settings)
        if total is not None:
            gate.limits = replace(gate.limits, total=total)
        config = uvicorn.Config(
            api.app, http=protocol_of(gate), ws="none", lifespan="off", log_config=None, backlog=BACKLOG,
            h11_max_incomplete_event_size=LARGEST_HEAD, server_header=False, access_log=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:  # named, so that asyncio sets TCP_NODELAY
            listener.bind(("127.0.0.1", 0))
            serving = asyncio.create_task(server._serve(sockets=[listener]))
            try:
                while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                    await asyncio.sleep(0.001)
                yield Listening(api, gate, listener.getsockname()[1])
            finally:
                server.should_exit = True
                for connection in list(server.server_state.connections):
                    connection.transport.abort()
                await serving
