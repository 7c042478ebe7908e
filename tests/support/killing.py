"""Does a piece of work again and again in a process that is killed before, or after, its n-th write to a storage."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from serving.storage.base import Storage
from tests.support.aws import read_descriptions_once

REPOSITORY = Path(__file__).parents[2]


class DeadlyStorage:
    """Kills its own process before its n-th write, or after it where n is below 0; beyond that it is the storage it stands for."""

    def __init__(self, storage: Storage, write: int) -> None:
        self._storage = storage
        self._left = abs(write)
        self._after = write < 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Write and die, or die and write nothing."""
        self._left -= 1
        if self._left == 0 and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        version = self._storage.put_if(key, data, expected=expected)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return version

    def put(self, key: str, data: bytes) -> None:
        """Nothing that is promoted may be written so: it could replace what another wrote."""
        raise AssertionError(key)


@contextmanager
def killing(work: str, place: str) -> Iterator[Callable[[int], int]]:
    """A function that has `module:name` done on a place, killed as `DeadlyStorage` has it, and returns the process's exit code."""
    command = [sys.executable, "-m", "tests.support.killing", work, place]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def killed(write: int) -> int:
            assert process.stdin and process.stdout
            process.stdin.write(f"{write}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield killed
        process.stdin.close()


def main(work: str, place: str) -> None:
    """Fork for every number that is read: importing takes far longer than the work. Nothing that minds a fork was used before."""
    module, _, name = work.partition(":")
    do = getattr(importlib.import_module(module), name)
    if place.startswith("s3://"):
        read_descriptions_once()
        boto3.Session().client("s3", region_name="us-east-1")  # which opens no connection, but imports and reads all that it needs
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            do(place, int(line))
            os._exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
