"""How Ray is reached: an existing cluster, or one of its own on this machine. Whoever imports Ray here imports this first."""

import logging
import os
import socket
import warnings
from typing import Any

from serving.pipeline.errors import ConfigError, InfrastructureError

# What Ray takes from the environment only, and only when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_usage_stats_enabled", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` is no reason to build an environment for each worker
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's own 15 its workers hardly run beside anything else on this machine

import ray
from ray.exceptions import RayError

KNOCK_S = 10.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of gRPC: what answers with SETTINGS speaks it
SETTINGS = 4
STORE_BYTES = 100_000_000  # Ray's own object store: orders and answers are small


class RayConnection:
    """Ray at an address, or on this machine where there is none; a connection that was there before is used and left open."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._ours = False

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"The Ray cluster at {self.address}" if self.address else "Ray on this machine"

    def open(self, cores: int) -> int | None:
        """Connect, or start Ray here with so many cores; returns the cores of a cluster, where it was this that connected to one."""
        if self.address.startswith(("http://", "https://")):
            raise ConfigError(f"Ray's address {self.address!r} is that of a dashboard. Give host:6379, ray://host:10001 or auto.")
        if ray.is_initialized():  # by whoever runs us inside a program of theirs
            return None
        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
        if not self.address:
            options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        try:
            _knock(self.address)
            with warnings.catch_warnings():  # LanceDB's about forks, though each of Ray's becomes another program at once
                warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
                ray.init(address=self.address or "local", **options)
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            why = (str(error).splitlines() or [repr(error)])[0]
            raise InfrastructureError(f"{self.where} cannot be reached: {why}") from error
        self._ours = True
        return max(1, int(_resources().get("CPU", 1))) if self.address else None

    def close(self) -> None:
        """Disconnect, and end Ray where it was started here."""
        if self._ours:
            ray.shutdown()
            self._ours = False


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens, or something else than Ray does: Ray itself would ask for minutes, and complain of each try."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(GREETING)
                frame = connection.recv(9)
                if frame[3:4] != bytes([SETTINGS]):
                    raise ConnectionError("what listens there is no Ray. Its port is 6379 by default, that of ray:// 10001")


_resources: Any = ray.cluster_resources
