"""Ports for the servers of tests."""

import random
import socket
from pathlib import Path

FIRST = 15_000
HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port on which nobody listens, below those that the system hands out by itself.

    A server takes its port seconds after this look. Of a port from the system's own range a client's connection may have it by then, or
    a client that tries again and again to reach a server that is away may connect to itself.
    """
    chance = random.SystemRandom()
    for _ in range(1000):
        port = chance.randrange(FIRST, _first_handed_out())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {FIRST} on is free")


def _first_handed_out() -> int:
    try:
        return max(FIRST + 1000, int(HANDED_OUT.read_text().split()[0]))
    except OSError:
        return 32_768
