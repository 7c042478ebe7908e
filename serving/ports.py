"""A port to listen on, tried before a server is started on it."""

import errno
import os
import socket

from serving.pipeline.errors import ConfigError

TRIED = 20  # ports above a taken one, of which a free one is named
LAST = 65535


def refuse_taken_port(host: str, port: int) -> None:
    """A `ConfigError` where nobody could listen there: another program does, the port is reserved, the address is not this machine's."""
    number = _bind_error(host, port)
    if number == errno.EADDRINUSE:
        free = next((other for other in range(port + 1, min(port + TRIED, LAST) + 1) if not _bind_error(host, other)), None)
        mend = f"Choose another: --port {free}" if free else "Choose another with --port"
        raise ConfigError(f"Port {port} on {host} is in use by another program. {mend}, or stop that one.")
    if number in (errno.EACCES, errno.EPERM):
        raise ConfigError(f"Port {port} on {host} is reserved for the system's administrator. Choose one from 1024 up: --port 8080.")
    if number:
        raise ConfigError(f"--host {host!r}: no address of this machine ({os.strerror(number)}). Use 127.0.0.1, or 0.0.0.0 for all.")


def _bind_error(host: str, port: int) -> int:
    """The error number of listening there; 0 where one can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port that was just left is free
            trial.bind(address)
            trial.listen(1)
    except (socket.gaierror, UnicodeError):
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return 0
