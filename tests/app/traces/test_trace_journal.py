"""Traces in the journal: after a kill, while the store is out, and when documents are deleted."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.app.core.telemetry import make_logger
from serving.app.opening import open_trace_writer
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.pipeline.errors import StoreError
from serving.pipeline.types import Trace
from serving.traces.journal import TraceJournal
from serving.traces.record import REMOVED, TraceQuery, TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from tests.app.making import QUESTION, House, config, opened
from tests.app.server.test_process import REPOSITORY
from tests.support.waiting import WITHIN_S, until
from tests.traces.test_journal import a_record, files, left_behind
from tests.traces.test_stores import a_trace


class Gate:
    """A store that keeps traces while it is open, and has deleted words taken out."""

    place = "the gate"

    def __init__(self, *, out: bool = False) -> None:
        self.out = out
        self.kept: dict[str, TraceRecord] = {}

    def put(self, traces: Sequence[TraceRecord]) -> None:
        if self.out:
            raise StoreError("The trace store the gate does not answer.")
        self.kept |= {record.id: record for record in traces}

    def forget_document(self, document_id: str) -> int:
        if self.out:
            raise StoreError("The trace store the gate does not answer.")
        self.kept = {ident: record.without_words_of(document_id) for ident, record in self.kept.items()}
        return 1

    def forget_before(self, at: float) -> int:
        return 0

    def close(self) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_S", "GATHER_S", "PAUSE_S", "REPLAY_EVERY_S"):
        monkeypatch.setattr(f"serving.app.traces.writer.{name}", 0.01)


@contextmanager
def a_writer(
    folder: Path, store: Any, *, most: int = 1000, log: io.StringIO | None = None, wall: Callable[[], float] = lambda: 2000.0, **more: Any
) -> Iterator[TraceWriter]:
    logger = make_logger(AppSettings(_env_file=None), log or io.StringIO())
    writer = TraceWriter(store, logger, **{"most": most, "journal": TraceJournal(folder), "wall": wall, "retention_s": 0.0} | more)
    writer.start()
    try:
        yield writer
    finally:
        writer.close(WITHIN_S)


def in_journal(folder: Path) -> str:
    return "".join(path.read_text() for path in files(folder))


CHILD = """
import sys, time
from pathlib import Path
from tests.app.traces.test_trace_journal import Hanging, a_writer
from tests.traces.test_stores import a_trace

with a_writer(Path(sys.argv[1]), Hanging(), most=100_000) as writer:
    for number in range(100_000):
        writer.answered(a_trace(f"t{number:06}"))
        if number == 99:
            while len(b"".join(path.read_bytes() for path in Path(sys.argv[1]).glob("*.jsonl")).splitlines()) < 100:
                time.sleep(0.01)
            print("written", flush=True)
        time.sleep(0.0005)
"""


class Hanging(Gate):
    """A store that takes for ever."""

    def put(self, traces: Sequence[TraceRecord]) -> None:
        threading.Event().wait()


def test_after_a_kill_the_next_process_stores_what_was_written_and_nothing_older_than_its_last_is_missing(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        until(lambda: len(in_journal(tmp_path).splitlines()) > 150)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    store = Gate()
    with a_writer(tmp_path, store) as writer:
        assert store.kept == {}  # not before it is known what was deleted
        writer.replay(dict)
        until(lambda: writer.replayed and not writer.waiting)
    assert len(store.kept) > 150
    assert sorted(store.kept) == [f"t{number:06}" for number in range(len(store.kept))]
    assert list(tmp_path.iterdir()) == []


def test_what_is_stored_is_no_longer_in_the_journal_and_a_stop_leaves_nothing(tmp_path: Path) -> None:
    store = Gate()
    with a_writer(tmp_path, store) as writer:
        for number in range(50):
            writer.answered(a_trace(f"t{number}"))
        until(lambda: not writer.waiting)
        assert in_journal(tmp_path) == ""
        writer.answered(a_trace("last"))
    assert len(store.kept) == 51
    assert list(tmp_path.iterdir()) == []


def test_what_a_stop_cannot_store_is_left_for_the_next_start(tmp_path: Path) -> None:
    log, store = io.StringIO(), Gate(out=True)
    with a_writer(tmp_path, store, log=log) as writer:
        for number in range(5):
            writer.answered(a_trace(f"t{number}"))
        until(lambda: writer.failing)
    last = json.loads(log.getvalue().splitlines()[-1])
    assert (last["event"], last["count"]) == ("traces left in the journal", 5)
    store.out = False
    with a_writer(tmp_path, store) as writer:
        writer.replay(dict)
        until(lambda: writer.replayed == 5 and not writer.waiting)
    assert sorted(store.kept) == [f"t{number}" for number in range(5)]


def test_while_the_store_is_out_no_more_wait_than_may_and_the_rest_is_counted(tmp_path: Path) -> None:
    store = Gate(out=True)
    with a_writer(tmp_path, store, most=10) as writer:
        for number in range(25):
            writer.answered(a_trace(f"t{number:02}"))
        until(lambda: len(in_journal(tmp_path).splitlines()) == 10)
        assert (writer.waiting, writer.lost) == (10, 15)
        store.out = False
        until(lambda: not writer.waiting)
    assert sorted(store.kept) == [f"t{number:02}" for number in range(10)]


def test_the_left_ones_count_among_those_that_may_wait(tmp_path: Path) -> None:
    left_behind(tmp_path, *(f"t{number:02}" for number in range(25)))
    store = Gate()
    with a_writer(tmp_path, store, most=10) as writer:
        writer.replay(dict)
        until(lambda: writer.replayed and not writer.waiting)
        assert (writer.replayed, writer.dropped) == (10, 15)
    assert sorted(store.kept) == [f"t{number:02}" for number in range(10)]


def test_a_process_takes_on_what_another_of_its_folder_leaves_while_it_runs(tmp_path: Path) -> None:
    store = Gate()
    with a_writer(tmp_path, store) as writer:
        writer.replay(dict)
        writer.answered(a_trace("own"))
        until(lambda: "own" in store.kept)
        left_behind(tmp_path, "a", "b")
        until(lambda: {"a", "b"} <= set(store.kept))
        assert writer.replayed == 2


def test_words_of_a_deleted_document_come_back_from_no_journal(tmp_path: Path) -> None:
    left_behind(tmp_path, "before", "other")
    store = Gate()
    with a_writer(tmp_path, store) as writer:
        writer.forget_document("leave.md", until=1500.0)
        writer.forget_document("another.md", until=2500.0)  # by which the first is over
        writer.replay(lambda: {"leave.md": 1500.0})
        until(lambda: writer.replayed and not writer.waiting)
    for record in store.kept.values():
        assert record.documents == ()
        assert record.value().answer.text == REMOVED
        assert "words" not in json.dumps(record.trace)


def test_what_was_asked_after_a_document_was_deleted_and_given_again_is_left_as_it_is(tmp_path: Path) -> None:
    left_behind(tmp_path, "later")
    store = Gate()
    with a_writer(tmp_path, store) as writer:
        writer.replay(lambda: {"leave.md": 1000.0})  # the trace ended at 1000.5
        until(lambda: writer.replayed and not writer.waiting)
    assert store.kept["later"] == a_record("later")


def test_a_deletion_takes_words_out_of_the_journal_while_the_store_is_out(tmp_path: Path) -> None:
    store = Gate(out=True)
    with a_writer(tmp_path, store) as writer:
        writer.answered(a_trace("a"))
        writer.answered(a_trace("b", document="other.md"))
        until(lambda: len(in_journal(tmp_path).splitlines()) == 2 and writer.failing)
        with pytest.raises(StoreError):
            writer.forget_document("leave.md", until=2500.0)
        [first, second] = in_journal(tmp_path).splitlines()
        assert REMOVED in first
        assert "words" not in first
        assert "words" in second
        found = writer.find("a")
        assert found is not None
        assert found.documents == ()
        store.out = False
        until(lambda: not writer.waiting)
    assert store.kept["a"].documents == ()
    assert store.kept["b"].documents == ("other.md",)


def test_a_deletion_comes_after_what_is_being_written(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow(Gate):
        def put(self, traces: Sequence[TraceRecord]) -> None:
            begun.set()
            assert go.wait(WITHIN_S)
            super().put(traces)

    store = Slow()
    with a_writer(tmp_path, store) as writer:
        writer.answered(a_trace("a"))
        assert begun.wait(WITHIN_S)
        forgetting = threading.Thread(target=writer.forget_document, args=("leave.md", 2500.0))
        forgetting.start()
        forgetting.join(0.5)  # it would be done by then if it did not wait
        go.set()
        forgetting.join()
    assert store.kept["a"].documents == ()


def test_a_deletion_is_remembered_while_an_older_trace_waits(tmp_path: Path) -> None:
    store, now = Gate(out=True), [1000.0]
    with a_writer(tmp_path, store, wall=lambda: now[0]) as writer:
        writer.answered(a_trace("a"))
        until(lambda: writer.failing)
        with pytest.raises(StoreError):
            writer.forget_document("leave.md", until=1120.0)
        now[0] = 5000.0
        with pytest.raises(StoreError):
            writer.forget_document("another.md", until=5120.0)
        store.out = False
        until(lambda: not writer.waiting)
    assert store.kept["a"].documents == ()


def test_personal_data_is_not_in_the_journal(tmp_path: Path) -> None:
    def masked(trace: Trace) -> Trace:
        return replace(trace, query=replace(trace.query, text="<MASKED>"))

    with a_writer(tmp_path, Gate(out=True), mask=masked) as writer:
        writer.answered(a_trace("a"))
        until(lambda: in_journal(tmp_path))
        assert "<MASKED>" in in_journal(tmp_path)
        assert "How long?" not in in_journal(tmp_path)


def test_what_is_older_than_traces_are_kept_and_what_is_no_trace_is_dropped(tmp_path: Path) -> None:
    left_behind(tmp_path, "old")
    path = left_behind(tmp_path, "odd")
    path.write_text(path.read_text().replace('"answer":{', '"answer":{"text":[],'))
    store = Gate()
    with a_writer(tmp_path, store, wall=lambda: 1e6, retention_s=10.0) as writer:
        writer.replay(dict)
        until(lambda: writer.dropped == 2)
    assert store.kept == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["[" * 200_000, '{"tenant": ["acme"]}'])
def test_a_damaged_line_keeps_nothing_from_being_stored(tmp_path: Path, line: str) -> None:
    path = left_behind(tmp_path, "a", "b")
    [first, second] = path.read_text().splitlines()
    damaged = json.dumps(json.loads(first) | json.loads(line)) if line.startswith("{") else line
    path.write_text(f"{damaged}\n{second}\n")
    store = SqliteTraceStore(tmp_path / "traces.db")
    with a_writer(tmp_path, store) as writer:
        writer.replay(dict)
        until(lambda: writer.dropped == 1)
        writer.answered(a_trace("later"))
        until(lambda: not writer.waiting)
        assert store.get("b") is not None
        assert store.get("later") is not None


def test_a_replay_that_fails_keeps_nothing_from_being_stored(tmp_path: Path) -> None:
    def damaged() -> dict[str, float]:
        raise ValueError("no time: 'yesterday'")

    left_behind(tmp_path, "a")
    log, store = io.StringIO(), Gate()
    with a_writer(tmp_path, store, log=log) as writer:
        writer.replay(damaged)
        until(lambda: "not replayed" in log.getvalue())
        writer.answered(a_trace("later"))
        until(lambda: "later" in store.kept)
    assert "a" not in store.kept
    assert '"id":"a"' in in_journal(tmp_path)


@pytest.mark.parametrize("journal", [True, False])
def test_of_traces_that_are_stored_together_only_the_one_that_cannot_be_is_lost(tmp_path: Path, journal: bool) -> None:
    begun, go = threading.Event(), threading.Event()

    class Particular(Gate):
        def put(self, traces: Sequence[TraceRecord]) -> None:
            begun.set()
            assert go.wait(WITHIN_S)
            if any(record.id == "odd" for record in traces):
                raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
            super().put(traces)

    store = Particular()
    with a_writer(tmp_path, store, **({} if journal else {"journal": None})) as writer:
        writer.answered(a_trace("first"))
        assert begun.wait(WITHIN_S)
        for ident in ("a", "odd", "b"):  # which gather meanwhile
            writer.answered(a_trace(ident))
        go.set()
        until(lambda: not writer.waiting)
        assert writer.lost == 1
    assert sorted(store.kept) == ["a", "b", "first"]


def test_without_a_folder_to_write_into_traces_are_stored_as_ever_and_it_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log, store = io.StringIO(), Gate()
    with a_writer(tmp_path / "file" / "journal", store, log=log) as writer:
        writer.replay(dict)
        for number in range(5):
            writer.answered(a_trace(f"t{number}"))
        until(lambda: not writer.waiting)
        assert writer.unjournaled
    assert len(store.kept) == 5
    assert log.getvalue().count("traces not journaled") == len(log.getvalue().splitlines()) == 1


def test_a_full_disk_is_told_once_and_traces_are_stored_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, store, append = io.StringIO(), Gate(), TraceJournal.append
    full = [True]

    def filled(self: TraceJournal, records: Sequence[TraceRecord]) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        append(self, records)

    monkeypatch.setattr(TraceJournal, "append", filled)
    with a_writer(tmp_path, store, log=log) as writer:
        for number in range(5):
            writer.answered(a_trace(f"t{number}"))
        until(lambda: not writer.waiting)
        assert writer.unjournaled
        full[0] = False
        writer.answered(a_trace("t5"))
        until(lambda: not writer.waiting)
        assert not writer.unjournaled
    assert len(store.kept) == 6
    events = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert events == ["traces not journaled", "traces journaled again"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"traces": "dynamodb:t"}, "home/trace-journal"),
        ({"traces": "dynamodb:t", "traces_journal": "none"}, None),
        ({}, None),
        ({"traces_journal": "elsewhere"}, "elsewhere"),
    ],
)
def test_it_is_kept_where_the_store_is_elsewhere_or_the_settings_name_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], place: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = AppSettings(home=Path("home"), _env_file=None, **changes)
    writer = open_trace_writer(settings, make_logger(settings, io.StringIO()))
    assert writer is not None
    assert writer._journal is None if place is None else writer._journal.folder == Path(place)
    writer.close()


async def test_a_server_that_starts_stores_what_a_killed_one_left_without_what_was_deleted_meanwhile(house: House, tmp_path: Path) -> None:
    await house.release(config())
    folder = tmp_path / "journal"
    left_behind(folder, "a", at=time.time())
    settings = house.settings(traces=str(tmp_path / "traces.db"), traces_journal=str(folder), documents_poll_s=0.05)
    async with opened(settings) as api:
        asked = (await api.ask(QUESTION)).json()["trace_id"]
        api.app.state.service.documents.documents.delete(["leave.md"])

        def stored() -> bool:
            found = api.app.state.service.traces.store.find(TraceQuery(limit=10))
            return {record.id for record in found} == {"a", asked} and not any("leave.md" in record.documents for record in found)

        await asyncio.to_thread(until, stored)
        assert "touchstone_traces_replayed 1.0" in await api.metric("touchstone_traces_replayed")
    assert SqliteTraceStore(tmp_path / "traces.db").get("a") is not None
    assert list(folder.iterdir()) == []
