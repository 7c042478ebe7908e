"""Parses files in processes of their own, each bounded in time, memory and output, so that no file can stop or starve this one."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from serving.pipeline.errors import InfrastructureError, RefusedFile
from serving.pipeline.index.loaders import LOADERS, LoadedText
from serving.pipeline.index.parse_worker import PAST_MEMORY, SPENT, Frame, read_frame, write_frame
from serving.pipeline.registry import Spec

IN_PROCESS = frozenset({".txt", ".text", ".md", ".markdown"})  # their loaders make one pass over the bytes
COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from serving.pipeline.index.parse_worker import serve; serve()"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")  # without which Python may not start
START_S = 60.0


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """What one file may take."""

    seconds: float = 8.0  # of processor time, so that a busy machine refuses no more than an idle one
    seconds_per_mb: float = 1.6  # for a larger file: 5 MB take 8 s
    memory_bytes: int = 1_000_000_000  # of the worker's address space
    characters: int = 20_000_000  # of text
    patience: float = 4.0  # times as much by the clock

    def processor_s(self, size: int) -> float:
        """The processor time for a file of this size."""
        return max(self.seconds, self.seconds_per_mb * size / 1e6)


class Parser:
    """A pool of warm workers; a worker that was killed or crashed is replaced for the next file.

    Safe for several threads, which wait for a free worker. Close it (or use `with`): its workers end at once, whatever they do.
    """

    def __init__(self, limits: ParseLimits | None = None, *, workers: int = 1) -> None:
        self.limits = limits or ParseLimits()
        self._workers = [_Worker() for _ in range(workers)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()  # a second worker starts only for a second file at a time
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop()

    def warm(self) -> None:
        """Start the workers, which takes a second, without waiting for them."""
        for worker in self._workers:
            worker.warm()

    def parse(self, data: bytes, name: str, kind: str) -> LoadedText:
        """The text of a file's bytes, by the loader of its suffix; a `RefusedFile` says why there is none."""
        if kind in IN_PROCESS:
            return LOADERS.build(Spec(name=kind)).load(data, name)
        worker = self._idle.get()
        try:
            reply = worker.parse(data, name, kind, self.limits)
        finally:
            self._idle.put(worker)
        if "refused" in reply:
            raise RefusedFile(name, str(reply["refused"]))
        return LoadedText(str(reply["text"]), str(reply["title"]), MappingProxyType(dict(reply["facts"])))


class _Worker:
    """One process, started when it is first needed; one caller at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._closed = False
        self._busy = threading.Lock()

    def stop(self) -> None:
        """End the process for good, with the task it has."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._busy:
            self._end()

    def warm(self) -> None:
        """Start the process without waiting for it."""
        with self._busy:
            self._launched()

    def parse(self, data: bytes, name: str, kind: str, limits: ParseLimits) -> Frame:
        """The worker's reply, or the refusal that its end means."""
        with self._busy:
            return self._parse(data, name, kind, limits)

    def _parse(self, data: bytes, name: str, kind: str, limits: ParseLimits) -> Frame:
        seconds = limits.processor_s(len(data))
        task = {"name": name, "kind": kind, "seconds": seconds, "memory": limits.memory_bytes, "characters": limits.characters}
        process = self._running()
        with _Deadline(process, seconds * limits.patience) as deadline:
            reply = _exchange(process, task, data, most=limits.characters * 6 + 1_000_000)
        if reply is not None and not reply.get(PAST_MEMORY):
            if reply.get(SPENT):
                self._end()
            return reply
        self._end()
        if self._closed:
            raise InfrastructureError(f"{name}: the parser was closed while it read this file. Try again.")
        return {"refused": _why(process.returncode, deadline.passed, reply is not None, seconds, limits)}

    def _launched(self) -> "subprocess.Popen[bytes]":
        """The process, started if there is none; it may not be ready yet."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = _start()
        if self._closed:
            self._end()
            raise InfrastructureError("The parser is closed; open another.")
        return self._process

    def _running(self) -> "subprocess.Popen[bytes]":
        process = self._launched()
        if not self._is_ready:
            with _Deadline(process, START_S):
                self._is_ready = _reply(process, most=1000) is not None
            if not self._is_ready:
                self._end()
                raise InfrastructureError(f"The process that parses files did not start (exit {process.returncode}): {sys.executable}")
        return process

    def _end(self) -> None:
        if self._process is not None:
            _kill(self._process)
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            self._process, self._is_ready = None, False


class _Deadline:
    """Kills a process that is still at its task after some seconds by the clock, or when its caller is interrupted."""

    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        if error is not None:
            _kill(self._process)

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()


def _start() -> "subprocess.Popen[bytes]":
    """A new worker: a fresh interpreter (no fork of this one's threads) without this one's secrets, deaf to Ctrl-C, which we handle."""
    environment = ONE_THREAD | {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    path = [str(Path(entry).absolute()) for entry in sys.path if isinstance(entry, str)]
    return subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-X", "utf8", "-c", COMMAND, json.dumps(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _exchange(process: "subprocess.Popen[bytes]", task: Frame, data: bytes, *, most: int) -> Frame | None:
    """The reply to a task; nothing if the worker ended."""
    assert process.stdin is not None
    try:
        write_frame(process.stdin, task)
        process.stdin.write(len(data).to_bytes(8, "big"))
        process.stdin.write(data)
        process.stdin.flush()
    except (BrokenPipeError, ValueError):  # ValueError: closed by another thread
        return None
    return _reply(process, most=most)


def _reply(process: "subprocess.Popen[bytes]", *, most: int) -> Frame | None:
    assert process.stdout is not None
    try:
        return read_frame(process.stdout, most=most)
    except (OSError, ValueError, TypeError, EOFError):  # it ended, or what it wrote is no reply
        return None


def _why(returncode: int, late: bool, past_memory: bool, seconds: float, limits: ParseLimits) -> str:
    """The reason that a worker's end gives for refusing the file it had."""
    memory = f"{limits.memory_bytes / 1e6:,.0f} MB of memory"
    if past_memory:
        return f"needs more than {memory} to be read. Split it, or save it anew."
    if returncode == -signal.SIGPROF:
        return f"takes more than {seconds:g} s of processor time to be read. Split it, or save it anew."
    if late:
        return f"was not read within {seconds * limits.patience:g} s. Split it, or save it anew."
    ended = signal.Signals(-returncode).name if returncode < 0 else f"exit {returncode}"
    return f"crashed the process that read it ({ended}); it may read at most {memory}. Save it anew."
