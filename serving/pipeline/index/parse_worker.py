"""The process that parses one file after another for `parse`, within bounds that it sets itself before it sees a byte of them.

It speaks in frames, eight bytes of length before a JSON object, so that a file which took it over could send its parent text alone.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

Frame = Mapping[str, Any]
PAST_MEMORY = "past_memory"  # in a reply: the file needs more memory than it may have
SPENT = "spent"  # in a reply: the process may hold memory that the next file must not pay for
NEARLY = 0.85  # of its memory in use when a file was refused: it was refused for want of more
PARSERS = {".pdf": "pypdf", ".docx": "docx", ".html": "selectolax.lexbor", ".htm": "selectolax.lexbor"}
HELD_BYTES = 100_000_000  # more than this beyond what it began with


def serve() -> None:
    """Answer tasks from standard input until it ends; whatever a library prints goes nowhere."""
    tasks, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import serving.pipeline.index.loaders  # before it says that it is ready; a parser waits for the first file of its kind

    assert serving.pipeline.index.loaders
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    write_frame(replies, {"ready": True})
    replies.flush()
    began_with = _peak_memory()
    while True:
        try:
            task = read_frame(tasks, most=100_000)
            data = tasks.read(int.from_bytes(tasks.read(8), "big"))
        except EOFError:
            return
        if task["kind"] in PARSERS:  # the first time, out of no file's time
            importlib.import_module(PARSERS[task["kind"]])
        reply = _within_bounds(task, data)
        write_frame(replies, {**reply, SPENT: _peak_memory() - began_with > HELD_BYTES})
        replies.flush()


def read_frame(stream: IO[bytes], *, most: int) -> Frame:
    """The next frame; a `ValueError` or `TypeError` for what is none, or longer than it may be."""
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    length = int.from_bytes(head, "big")
    if length > most:
        raise ValueError(f"a frame of {length} bytes, where at most {most} are read")
    return dict(json.loads(stream.read(length)))


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame; the caller flushes."""
    body = json.dumps(frame).encode()
    stream.write(len(body).to_bytes(8, "big"))
    stream.write(body)


def _within_bounds(task: Frame, data: bytes) -> Frame:
    """The reply to a task; past its processor time the signal ends the process, and the parent sees by which."""
    _bound_memory(task["memory"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # it writes no file
    signal.setitimer(signal.ITIMER_PROF, task["seconds"])
    try:
        reply = _parsed(task, data)
        short = "refused" in reply and _peak_memory() > NEARLY * task["memory"]  # a library may call it by another name
        return {PAST_MEMORY: True} if short else reply
    except MemoryError:
        return {PAST_MEMORY: True}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _bound_memory(resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _parsed(task: Frame, data: bytes) -> Frame:
    from serving.pipeline.errors import RefusedFile
    from serving.pipeline.index.loaders import LOADERS
    from serving.pipeline.registry import Spec

    try:
        loaded = LOADERS.build(Spec(name=task["kind"])).load(data, task["name"])
    except RefusedFile as refusal:
        return {"refused": refusal.reason}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  a loader of another package may raise anything
        return {"refused": f"cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    if len(loaded.text) > task["characters"]:
        return {"refused": f"has {len(loaded.text):,} characters; at most {task['characters']:,} are read. Split it."}
    return {"text": loaded.text, "title": loaded.title, "facts": dict(loaded.facts)}


def _bound_memory(size: int) -> None:
    if sys.platform == "linux":  # elsewhere the limit is not kept, or below what a process begins with
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _peak_memory() -> int:
    """The most bytes of address space that were ever in use; nothing is known of it outside Linux."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("VmPeak:")[2].split(maxsplit=1)[0]) * 1024
