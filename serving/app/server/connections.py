"""Limits connections: their number, and how long one may stay idle.

A connection that has sent no whole request is cheap to give up, so when all places are taken the newcomer gets the place of the one
that has waited longest, of the client that has the most: half-open connections push each other out, and never a question.
"""

import asyncio
import ipaddress
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from structlog.typing import FilteringBoundLogger
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.app.core.problems import Problem
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings

PARSED_AT_ONCE: Final = 8_192  # bytes parsed at once: a head is at most so much larger than the largest that may be incomplete
LINGER_S: Final = 5.0  # after which a closed connection whose client reads nothing is cut off
REFUSED: Final = Problem(503, "too-many-connections", "Too many connections at the moment. Try again shortly.")
MALFORMED: Final = Problem(400, "malformed-request", "This is not an HTTP request that we understand.")
UNFINISHED: Final = Problem(408, "too-slow", "The request did not come in time.")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take."""

    total: int
    per_client: int
    header_s: float  # from the first byte of a request, or from connecting, to the end of its headers
    idle_s: float  # between two requests
    send_s: float  # for a client to take what was written for it

    @classmethod
    def of(cls, settings: AppSettings, total: int) -> "ConnectionLimits":
        """The limits of the settings, with as many connections in all as this process may have."""
        return cls(
            total,
            min(settings.max_connections_per_client, total),
            settings.header_timeout_s,
            settings.idle_timeout_s,
            settings.send_timeout_s,
        )


class ConnectionGate:
    """Admits connections and counts them by client; safe within one event loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        log: FilteringBoundLogger,
        repeats: RepeatedEvents,
        *,
        on_ended: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.limits = limits
        self.count = 0
        self._on_ended = on_ended
        self._log = log
        self._repeats = repeats
        self._by_client: Counter[str] = Counter()
        self._waiting: dict[str, dict[BoundedProtocol, None]] = {}  # without a request under way, the longest first

    def admit(self, connection: "BoundedProtocol") -> bool:
        """Give a new connection a place, another's if need be; False: there is none."""
        client = connection.client_key
        if self._by_client[client] >= self.limits.per_client:
            if not self._evict(client):
                self.count_ended("refused-client", client)
                return False
        elif self.count >= self.limits.total:
            most = max(self._waiting, key=lambda key: len(self._waiting[key]), default=None)
            if most is None or not self._evict(most):
                self.count_ended("refused", client)
                return False
        self.count += 1
        self._by_client[client] += 1
        self.mark_idle(connection)
        return True

    def mark_idle(self, connection: "BoundedProtocol") -> None:
        """Mark a connection as without a request under way: its place may be given to another."""
        self._waiting.setdefault(connection.client_key, {}).setdefault(connection)

    def mark_busy(self, connection: "BoundedProtocol") -> None:
        """Mark a connection as answering a request: it keeps its place."""
        client = connection.client_key
        waiting = self._waiting.get(client)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[client]

    def leave(self, connection: "BoundedProtocol") -> None:
        """Give back the place of a connection that was admitted."""
        self.mark_busy(connection)
        client = connection.client_key
        self.count -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def count_ended(self, reason: str, client: str) -> None:
        """Count a connection that we ended; the first of a minute is logged with its client's address."""
        self._on_ended(reason)
        if self._repeats.first(f"connection {reason}"):
            self._log.warning("connection ended", reason=reason, client=client, connections=self.count)

    def _evict(self, client: str) -> bool:
        waiting = self._waiting.get(client)
        if not waiting:
            return False
        victim = next(iter(waiting))
        self.count_ended("evicted", client)
        victim.abort()
        return True


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a place at the gate, and with time-outs for headers, for idling and for a client that does not read."""

    def __init__(self, *arguments: Any, gate: ConnectionGate, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.gate = gate
        self.client_key = ""
        self.timeout_keep_alive = gate.limits.idle_s  # type: ignore[assignment]  # uvicorn's settings know whole seconds
        self._admitted = False
        self._received = False
        self._answered = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a TCP transport, as uvicorn has it
        """Take a place, or refuse the connection."""
        super().connection_made(transport)
        self.client_key = client_key(self.client[0] if self.client else "")
        self._admitted = self.gate.admit(self)
        if self._admitted:
            self._update_timers()
        else:
            self._refuse(REFUSED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._leave()
        _cancel(self._send_timer)
        self._send_timer = None
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it to fire when the connection broke

    def data_received(self, data: bytes) -> None:
        """Parse what came, in pieces, since a head that came whole has no largest size for h11; none of it once the connection is over."""
        self._received = True
        for start in range(0, len(data), PARSED_AT_ONCE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + PARSED_AT_ONCE])

    def handle_events(self) -> None:
        """Handle what was parsed, then see what the connection waits for."""
        super().handle_events()
        self._update_timers()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._answered = True
        super().on_response_complete()
        self._update_timers()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; an answer under way has nobody to read it any more."""
        self.gate.count_ended("malformed", self.client_key)
        begun = self._busy and self.cycle.response_started
        if self._busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun:
            self.abort()
        else:
            self._refuse(MALFORMED)

    def pause_writing(self) -> None:
        """Start the timer after which a client that does not read is cut off."""
        super().pause_writing()
        self._send_timer = self._send_timer or self.loop.call_later(self.gate.limits.send_s, self._on_send_timeout)

    def resume_writing(self) -> None:
        """Stop that timer: the client reads again."""
        super().resume_writing()
        _cancel(self._send_timer)
        self._send_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection."""
        self._close()

    def abort(self) -> None:
        """End the connection at once, and free its place for another."""
        self._leave()
        self.transport.abort()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _update_timers(self) -> None:
        """Set the timer for headers unless a request is under way, or the connection rests between two."""
        if not self._admitted:
            return
        if self._busy:
            self.gate.mark_busy(self)
            _cancel(self._header_timer)
            self._header_timer = None
            return
        self.gate.mark_idle(self)
        if self.timeout_keep_alive_task is None and self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.gate.limits.header_s, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        self._header_timer = None
        self.gate.count_ended("unfinished", self.client_key)
        if self._received and not self._answered:
            self._refuse(UNFINISHED)
        else:  # nothing was asked, or what follows an answer is no request
            self._close()

    def _on_send_timeout(self) -> None:
        self._send_timer = None
        self.gate.count_ended("unread", self.client_key)
        self.abort()

    def _refuse(self, problem: Problem) -> None:
        self.transport.write(raw_response(problem))
        self._close()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self.loop.call_later(LINGER_S, self.transport.abort)

    def _leave(self) -> None:
        _cancel(self._header_timer)
        self._header_timer = None
        if self._admitted:
            self._admitted = False
            self.gate.leave(self)


def client_key(host: str) -> str:
    """What connections are counted by: the address, or the network that one IPv6 host is given."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a Unix socket has none
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def raw_response(problem: Problem) -> bytes:
    """A problem as the bytes of a last response."""
    body = json.dumps(problem.body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {problem.status} {problem.body['title']}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + body


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
