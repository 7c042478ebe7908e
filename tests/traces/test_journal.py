import json
import os
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.traces import journal as room
from serving.traces.journal import JournalFile, TraceJournal
from serving.traces.record import TraceRecord
from tests.traces.test_stores import a_trace

MOST = 1000


def a_record(ident: str, *, document: str = "leave.md", at: float = 1000.5) -> TraceRecord:
    return TraceRecord.of(a_trace(ident, document=document), at)


def a_journal(folder: Path, *idents: str) -> TraceJournal:
    journal = TraceJournal(folder)
    journal.open()
    journal.append([a_record(ident) for ident in idents])
    return journal


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def left_behind(folder: Path, *idents: str, stored: Sequence[str] = (), at: float = 1000.5) -> Path:
    """The file that a process leaves which ends with traces in its journal, however it ends: what it wrote, and no lock."""
    journal, before = TraceJournal(folder), set(files(folder))
    journal.open()
    journal.append([a_record(ident, at=at) for ident in idents])
    journal.stored(stored)
    [made] = set(files(folder)) - before
    assert journal.close() > 0
    return made


def test_what_a_process_left_is_taken_on_whole_without_what_was_stored(tmp_path: Path) -> None:
    left_behind(tmp_path, "a", "b", "c", stored=["b"])
    journal = a_journal(tmp_path)
    left = journal.take_on(MOST, MOST)
    assert left.records == (a_record("a"), a_record("c"))
    assert left.dropped == 0
    assert journal.take_on(MOST, MOST).records == ()
    journal.stored(["a"])
    assert len(files(tmp_path)) == 2
    journal.stored(["c"])
    assert len(files(tmp_path)) == 1
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_taken_on_is_left_to_the_next_when_that_one_dies_too(tmp_path: Path) -> None:
    left_behind(tmp_path, "a", "b")
    first = a_journal(tmp_path)
    assert len(first.take_on(MOST, MOST).records) == 2
    first.stored(["a"])
    assert first.close() == 1
    assert [record.id for record in a_journal(tmp_path).take_on(MOST, MOST).records] == ["b"]


def test_the_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    living = a_journal(tmp_path, "a")
    other = a_journal(tmp_path)
    assert other.take_on(MOST, MOST).records == ()
    living.close()
    assert [record.id for record in other.take_on(MOST, MOST).records] == ["a"]


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_last_line_is_dropped_and_counted_and_nothing_else(tmp_path: Path, cut: int) -> None:
    path = left_behind(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    journal = a_journal(tmp_path)
    left = journal.take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["a"], 1)
    journal.change({"a": a_record("a", document="other.md")})
    journal.close()
    assert a_journal(tmp_path).take_on(MOST, MOST).records == (a_record("a", document="other.md"),)


@pytest.mark.parametrize("junk", [b"\x00" * 50, b"[]", b"7", b'{"id": "x"}', b'{"stored": 1}', b"\xff\xfe"])
def test_a_line_that_is_none_is_dropped_and_counted(tmp_path: Path, junk: bytes) -> None:
    path = left_behind(tmp_path, "a")
    path.write_bytes(junk + b"\n" + path.read_bytes())
    left = a_journal(tmp_path).take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["a"], 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": {}},
        {"id": 5},
        {"id": ""},
        {"id": "\ud800"},
        {"tenant": ["acme"]},
        {"principal": None},
        {"at": "soon"},
        {"at": float("inf")},
        {"at": 10**400},
        {"documents": [7]},
        {"documents": None},
    ],
)
def test_a_line_that_no_store_would_take_is_dropped_and_counted(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = left_behind(tmp_path, "a", "b")
    [first, second] = path.read_text().splitlines()
    path.write_text(json.dumps(json.loads(first) | changes) + "\n" + second + "\n")
    left = a_journal(tmp_path).take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["b"], 1)


@pytest.mark.parametrize("junk", [b"[" * 200_000, b'{"a":' * 200_000, b"9" * 5_000])
def test_a_line_that_no_parser_would_take_is_dropped_and_counted(tmp_path: Path, junk: bytes) -> None:
    path = left_behind(tmp_path, "a")
    path.write_bytes(junk + b"\n" + path.read_bytes())
    left = a_journal(tmp_path).take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["a"], 1)


def test_what_else_lies_in_the_folder_is_left_as_it_is(tmp_path: Path) -> None:
    cases, elsewhere = tmp_path / "cases.jsonl", tmp_path / "elsewhere"
    cases.write_text('{"id": "q1"}\n')
    elsewhere.write_text("a secret\n")
    (tmp_path / f"{'a' * 32}.jsonl").symlink_to(elsewhere)
    os.mkfifo(tmp_path / f"{'b' * 32}.jsonl")
    left_behind(tmp_path, "a")
    left = a_journal(tmp_path).take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["a"], 0)
    assert left.problem
    assert (cases.read_text(), elsewhere.read_text()) == ('{"id": "q1"}\n', "a secret\n")


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    journal = a_journal(tmp_path / "new", "a", "b")
    journal.change({"a": a_record("a", document="other.md")})
    [path] = files(tmp_path / "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_empty_when_everything_is_stored_and_does_not_grow_while_something_never_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SLACK_BYTES", 5_000)
    journal = a_journal(tmp_path, "stays")
    [path] = files(tmp_path)
    length = path.stat().st_size
    for number in range(200):
        journal.append([a_record(f"t{number}")])
        journal.stored([f"t{number}"])
        assert path.stat().st_size < 10_000 + 3 * length
    journal.stored(["stays"])
    assert path.stat().st_size == 0


def test_a_change_leaves_nothing_of_what_was_there(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, "a", "b")
    journal.change({"a": a_record("a").without_words_of("leave.md")})
    [path] = files(tmp_path)
    [first, second] = path.read_bytes().splitlines()
    assert b"words" not in first
    assert b"words" in second
    journal.stored(["b"])
    journal.close()
    assert [record.documents for record in a_journal(tmp_path).take_on(MOST, MOST).records] == [()]


def test_where_a_change_cannot_be_written_the_old_words_are_gone_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_journal(tmp_path, "a", "b")
    [path] = files(tmp_path)

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.change({"a": a_record("a").without_words_of("leave.md")})
    assert path.read_bytes() == b""
    assert [entry.suffix for entry in sorted(tmp_path.iterdir())] == [".jsonl", ".lock"]


def test_a_write_that_was_cut_short_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write = a_journal(tmp_path, "a"), os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: write(handle, data[:100]))
        with pytest.raises(OSError, match="No space left"):
            journal.append([a_record("b")])
    journal.append([a_record("c")])
    journal.close()
    left = a_journal(tmp_path).take_on(MOST, MOST)
    assert ([record.id for record in left.records], left.dropped) == (["a", "c"], 0)


def test_what_there_is_no_room_for_waits_and_what_never_fits_is_dropped_the_newest_first(tmp_path: Path) -> None:
    left_behind(tmp_path, "a", "b", "c")
    journal = a_journal(tmp_path)
    assert journal.take_on(2, 5).records == ()
    left = journal.take_on(2, 2)
    assert ([record.id for record in left.records], left.dropped) == (["a", "b"], 1)
    journal.close()
    assert [record.id for record in a_journal(tmp_path).take_on(MOST, MOST).records] == ["a", "b"]


def test_a_journal_that_somebody_removed_is_begun_anew(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, "a")
    for path in list(tmp_path.iterdir()):
        path.unlink()
    journal.take_on(MOST, MOST)
    journal.append([a_record("b")])
    journal.close()
    assert [record.id for record in a_journal(tmp_path).take_on(MOST, MOST).records] == ["b"]


def test_a_file_that_cannot_be_read_is_told_and_keeps_no_other_from_being_taken_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = left_behind(tmp_path, "a")
    left_behind(tmp_path, "b")
    journal, take = a_journal(tmp_path), JournalFile.take

    def refused(path: Path) -> Any:
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return take(path)

    monkeypatch.setattr(JournalFile, "take", refused)
    left = journal.take_on(MOST, MOST)
    assert [record.id for record in left.records] == ["b"]
    assert left.problem == f"{bad}: Permission denied"


def test_of_two_that_look_at_once_each_trace_goes_to_one(tmp_path: Path) -> None:
    for number in range(8):
        left_behind(tmp_path, f"a{number}", f"b{number}")
    journals = [a_journal(tmp_path) for _ in range(2)]
    begin = threading.Barrier(2)

    def look(journal: TraceJournal) -> list[str]:
        begin.wait()
        return [record.id for record in journal.take_on(MOST, MOST).records]

    with ThreadPoolExecutor(2) as threads:  # a lock is that of an open file: two of one process are as two processes
        taken = [ident for found in threads.map(look, journals) for ident in found]
    assert sorted(taken) == sorted(f"{letter}{number}" for letter in "ab" for number in range(8))


def test_a_line_holds_what_the_store_gets_and_no_more(tmp_path: Path) -> None:
    a_journal(tmp_path, "a")
    [line] = files(tmp_path)[0].read_text().splitlines()
    assert set(json.loads(line)) == {"id", "at", "tenant", "principal", "release", "role", "pair", "documents", "trace"}
