"""Traces on this machine's own disk until their store has them: what a killed process leaves there, another one takes on.

    <folder>/<name>.jsonl    what one process waits to store: a trace in each line, or the ids of those that are stored
    <folder>/<name>.lock     held while that process lives

A killed process leaves at most one line torn, the last. Nothing is forced onto the disk: what a process has written
outlives it, but not the machine. What else lies in the folder is left alone, and a line that no store would take is dropped:
it would keep all others waiting.
"""

import errno
import json
import math
import os
import re
import stat
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from serving.storage.lock import file_lock
from serving.traces.record import TraceRecord

SUFFIX = ".jsonl"
_NAME = re.compile(rf"[0-9a-f]{{32}}\{SUFFIX}")
STORED = "stored"
SLACK_BYTES = 1_000_000  # that a file may be longer than twice what is still needed of it
PRIVATE = 0o600
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # `json.dumps` would make one for each line
_FACTS = tuple(field.name for field in fields(TraceRecord))


@dataclass(frozen=True, slots=True)
class LeftTraces:
    """What dead processes left."""

    records: tuple[TraceRecord, ...]
    dropped: int  # lines that are torn, and traces for which there was no room
    problem: str = ""  # of a file that could not be read


class JournalFile:
    """The file of one process, living or dead, whose lock is held; for one thread at a time."""

    def __init__(self, path: Path, lock: ExitStack, handle: int) -> None:
        self.path = path
        self._lock = lock
        self._handle = handle
        self._places: dict[str, tuple[int, int]] = {}  # of what is needed, by id: from where, and how long
        self._end = 0

    @classmethod
    def make(cls, path: Path) -> Self:
        """A new file."""
        with ExitStack() as stack:
            stack.enter_context(file_lock(_lock_of(path)))
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
            return cls(path, stack.pop_all(), handle)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """The file of a dead process; `None` while its process lives, or where another one has taken it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(_lock_of(path), wait=False))
                handle = _opened(path)
            except BlockingIOError:
                return None
            except FileNotFoundError:  # another process was first, and is done with it
                _lock_of(path).unlink(missing_ok=True)
                return None
            _draft_of(path).unlink(missing_ok=True)
            return cls(path, stack.pop_all(), handle)

    def __contains__(self, ident: str) -> bool:
        return ident in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self) -> LeftTraces:
        """What is needed of what the file holds, in its order."""
        records: dict[str, TraceRecord] = {}
        torn = 0
        with open(self._handle, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._handle, self._end)
                    return LeftTraces(tuple(records.values()), torn + 1)
                match _read(line):
                    case TraceRecord() as record:
                        records[record.id] = record
                        self._places[record.id] = (self._end, len(line))
                    case list() as stored:
                        for ident in stored:
                            records.pop(ident, None)
                            self._places.pop(ident, None)
                    case None:
                        torn += 1
                self._end += len(line)
        return LeftTraces(tuple(records.values()), torn)

    def append(self, records: Sequence[TraceRecord]) -> None:
        """Add traces by one write; an `OSError` leaves nothing of them."""
        lines = [_line(record) for record in records]
        begin = self._write(b"".join(lines))
        for record, line in zip(records, lines, strict=True):
            self._places[record.id] = (begin, len(line))
            begin += len(line)

    def stored(self, idents: Collection[str]) -> None:
        """Let go of what a store has."""
        gone = [ident for ident in idents if self._places.pop(ident, None)]
        if not self._places:
            os.ftruncate(self._handle, 0)
            self._end = 0
        elif gone:
            self._write(_json({STORED: gone}))
            if self._end > SLACK_BYTES + 2 * sum(length for _, length in self._places.values()):
                self.rewrite({})

    def rewrite(self, changed: Mapping[str, TraceRecord]) -> None:
        """Keep what is needed alone, some of it changed; where that cannot be written, nothing is kept that was to change."""
        draft, places, end = _draft_of(self.path), dict[str, tuple[int, int]](), 0
        try:
            handle = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
            try:
                for ident, (begin, length) in self._places.items():
                    line = _line(changed[ident]) if ident in changed else os.pread(self._handle, length, begin)
                    _write_whole(handle, line)
                    places[ident] = (end, len(line))
                    end += len(line)
                draft.replace(self.path)
            except BaseException:
                os.close(handle)
                draft.unlink(missing_ok=True)
                raise
        except OSError:
            if changed:
                self._places.clear()
                self.stored(())
            raise
        os.close(self._handle)
        self._handle, self._places, self._end = handle, places, end

    def discard(self) -> None:
        """Remove the file, whatever is needed of it."""
        self._places.clear()
        self.close()

    def close(self) -> None:
        """Let go of the file; it is removed where nothing of it is needed."""
        with self._lock:
            os.close(self._handle)
            if not self._places:
                with suppress(OSError):
                    self.path.unlink(missing_ok=True)
                    _lock_of(self.path).unlink(missing_ok=True)

    def _write(self, lines: bytes) -> int:
        """Write lines at the end, all or none; where they begin."""
        begin = self._end
        try:
            _write_whole(self._handle, lines)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, begin)
            raise
        self._end += len(lines)
        return begin


class TraceJournal:
    """The journal of this process, and those of dead ones that it has taken on; safe under several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: list[JournalFile] = []  # this process's own comes first

    def open(self) -> None:
        """Begin a file of this process; an `OSError` says why there is none."""
        self._files.append(self._new_file())

    def append(self, records: Sequence[TraceRecord]) -> None:
        """Keep traces until they are stored."""
        with self._lock:
            self._files[0].append(records)

    def stored(self, idents: Collection[str]) -> None:
        """Let go of what the store has; a journal that was taken on is removed with its last trace."""
        with self._lock:
            for file in [one for one in self._files if any(ident in one for ident in idents)]:
                with suppress(OSError):  # they would only be stored again
                    file.stored(idents)
            self._close_finished()

    def change(self, records: Mapping[str, TraceRecord]) -> None:
        """Keep others in place of these; nothing of the old ones stays, even where an `OSError` says that the new ones are not there."""
        with self._lock:
            for file in self._files:
                if here := {ident: record for ident, record in records.items() if ident in file}:
                    file.rewrite(here)

    def take_on(self, room: int, most: int) -> LeftTraces:
        """What dead processes left, the oldest first.

        A file for which there is no room now waits until there is; where there never will be, the newest of it are dropped.
        """
        records: list[TraceRecord] = []
        dropped, problem = 0, ""
        with self._lock:
            self._replace_removed_own()
            for path in self._files_of_others():
                free = room - len(records)
                try:
                    file = JournalFile.take(path)
                    left = LeftTraces((), 0) if file is None else file.read()
                except OSError as error:
                    problem = f"{path}: {error.strerror or error}"
                    continue
                if file is None:
                    continue
                if len(left.records) > free and free < most:
                    file.close()
                    break
                with suppress(OSError):
                    file.stored([record.id for record in left.records[free:]])
                records += left.records[:free]
                dropped += left.dropped + len(left.records[free:])
                self._files.append(file)
            self._close_finished()
        return LeftTraces(tuple(records), dropped, problem)

    def close(self) -> int:
        """Let go of every file; one in which a trace is still needed stays for the next process. How many these are."""
        with self._lock:
            left = sum(map(len, self._files))
            for file in self._files:
                file.close()
            self._files.clear()
        return left

    def _new_file(self) -> JournalFile:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return JournalFile.make(self.folder / f"{uuid4().hex}{SUFFIX}")

    def _replace_removed_own(self) -> None:
        """Begin another file where somebody has removed this process's: what is written into that is lost."""
        own = self._files[0]
        if not own.path.exists():
            self._files[0] = self._new_file()
            own.discard()

    def _files_of_others(self) -> list[Path]:
        """The files that are not held here, the oldest first."""
        held = {file.path for file in self._files}
        found = []
        for path in self.folder.iterdir():
            if _NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):  # its process has just ended
                    found.append((path.lstat().st_mtime, path))
        return [path for _, path in sorted(found) if path not in held]

    def _close_finished(self) -> None:
        """Remove the files that were taken on and are done with."""
        for file in [one for one in self._files[1:] if not len(one)]:
            file.close()
            self._files.remove(file)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _draft_of(path: Path) -> Path:
    return path.with_suffix(".draft")


def _opened(path: Path) -> int:
    """A journal's file, which is no link and no pipe; nobody waits for one."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a regular file")
    return handle


def _json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode() + b"\n"


def _line(record: TraceRecord) -> bytes:
    return _json({name: getattr(record, name) for name in _FACTS})


def _read(line: bytes) -> TraceRecord | list[str] | None:
    """A trace, the ids of some that are stored, or nothing that can be read."""
    try:
        value = json.loads(line)
        if STORED in value:
            return [str(ident) for ident in value[STORED]]
        return _storable(TraceRecord(**value | {"documents": tuple(value["documents"])}))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _storable(record: TraceRecord) -> TraceRecord:
    """A record that any store takes; a `ValueError` or `TypeError` where it is none."""
    texts = (record.id, record.tenant, record.principal, record.release, record.role, record.pair, *record.documents)
    "".join(texts).encode()  # nor half of a surrogate pair
    if not (record.id and isinstance(record.at, float) and math.isfinite(record.at)):
        raise ValueError("a trace has an id and a time")
    return record


def _write_whole(handle: int, data: bytes) -> None:
    if os.write(handle, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # which the next write would say
