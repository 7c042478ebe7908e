"""The contract of a trace store, in a file and in DynamoDB."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from serving.pipeline.errors import StoreError
from serving.pipeline.types import (
    Answer,
    CacheRecord,
    Chunk,
    Citation,
    Draw,
    GuardAction,
    GuardVerdict,
    Hit,
    Principal,
    Query,
    Route,
    Span,
    StageRecord,
    Trace,
    Usage,
)
from serving.traces.base import TraceStore
from serving.traces.dynamodb import DynamoTraceStore
from serving.traces.record import FAILED, REMOVED, Feedback, TraceQuery, TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from serving.traces.summary import GuardIncident, TraceSummary
from tests.support.dynamodb import a_table
from tests.support.proxy import PAGE, a_proxy
from tests.support.s3 import KEYS, s3_server
from tests.support.waiting import WITHIN_S

__all__ = ["s3_server"]

DAY_S = 86_400.0


def a_trace(ident: str = "t1", *, tenant: str = "acme", who: str = "ann", document: str = "leave.md", groups: Iterable[str] = ()) -> Trace:
    chunk = Chunk(f"{document}#0-5", document, 0, 5, "words", tenant=tenant, groups=tuple(groups))
    hit = Hit(chunk, 0.5, 1)
    return Trace(
        ident,
        Query("How long?", Principal(who, tenant)),
        "config",
        "index",
        "release",
        hits=(hit,),
        passages=(hit,),
        prompt="read: words",
        answer=Answer("words [1]", (Citation(1, chunk.id, Span(document, 0, 5)),)),
    )


@pytest.fixture(params=["sqlite", "dynamodb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], TraceStore]]:
    """Opens the same store again, as another process would."""
    if request.param == "sqlite":
        yield lambda: SqliteTraceStore(tmp_path / "traces.db")
        return
    endpoint, environment = request.getfixturevalue("s3_server"), request.getfixturevalue("monkeypatch")
    for name, value in KEYS.items():
        environment.setenv(name, value)
    table = f"traces-{uuid4().hex[:12]}"
    a_table(endpoint, table)
    yield lambda: DynamoTraceStore(table, region="us-east-1", endpoint=endpoint, retention_s=30 * DAY_S)


def test_what_is_put_is_found_by_another_process_whole(opened: Callable[[], TraceStore]) -> None:
    record = TraceRecord.of(a_trace(), 1000.5)
    opened().put([record])
    assert opened().get("t1") == record
    assert record.value() == a_trace()
    assert opened().get("none") is None


def test_traces_are_found_newest_first_by_who_and_what(opened: Callable[[], TraceStore]) -> None:
    store = opened()
    traces = [a_trace(f"t{n}", tenant="acme" if n % 2 else "other", who=f"p{n % 3}") for n in range(6)]
    store.put([TraceRecord.of(trace, 1000.0 + n) for n, trace in enumerate(traces)])

    def ids(**query: object) -> list[str]:
        return [record.id for record in store.find(TraceQuery(**query))]  # type: ignore[arg-type]

    assert ids() == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert ids(tenant="acme") == ["t5", "t3", "t1"]
    assert ids(tenant="acme", principal="p0") == ["t3"]
    assert ids(tenant="nobody") == []
    assert ids(limit=2) == ["t5", "t4"]
    assert ids(before=1004.0, limit=2) == ["t3", "t2"]
    assert ids(since=1004.0) == ["t5", "t4"]
    assert ids(release="another") == []
    assert ids(role="stable", limit=1) == ["t5"]
    store.put([TraceRecord.of(replace(a_trace("f"), role=FAILED), 1009.0)])
    assert ids(limit=1) == ["t5"]  # what failed is no answer, and listed where it is asked for
    assert ids(limit=1, failed=True) == ["f"]
    assert [one.role for one in store.summaries(TraceQuery(limit=1, failed=True))] == [FAILED]
    assert ids(oldest_first=True, since=1001.0, limit=3) == ["t1", "t2", "t3"]
    assert [one.id for one in store.summaries(TraceQuery(oldest_first=True, limit=2))] == ["t0", "t1"]


def test_feedback_is_kept_with_its_answer_and_the_same_again_replaces_it(opened: Callable[[], TraceStore]) -> None:
    store = opened()
    store.put([TraceRecord.of(a_trace(), 1000.0)])
    up = Feedback("f1", "t1", 1001.0, "acme", "ann", "thumbs", 1.0)
    right = Feedback("f2", "t1", 1002.5, "acme", "ann", "correction", None, "28 days")
    for feedback in (up, right, replace(up, value=-1.0)):
        store.put_feedback(feedback)
    assert opened().feedback("t1") == [replace(up, value=-1.0), right]
    assert opened().feedback("t2") == []
    assert [record.id for record in store.find(TraceQuery(tenant="acme"))] == ["t1"]  # what was said of it is no trace


def test_of_much_feedback_on_one_answer_the_newest_is_shown(opened: Callable[[], TraceStore], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sqlite", "dynamodb"):
        monkeypatch.setattr(f"serving.traces.{name}.FEEDBACK_SHOWN", 3)
    store = opened()
    store.put([TraceRecord.of(a_trace("t1"), 1000.0)])
    said = [Feedback(f"f{n}", "t1", 1001.0 + n, "acme", "ann", "click", float(n + 1)) for n in range(5)]
    for feedback in said:
        store.put_feedback(feedback)
    assert opened().feedback("t1") == said[2:]


def test_feedback_is_found_by_its_tenant_newest_first_and_is_no_trace(opened: Callable[[], TraceStore]) -> None:
    store = opened()
    store.put([TraceRecord.of(a_trace("t1"), 1000.0), TraceRecord.of(a_trace("t2"), 1001.0)])
    said = [Feedback(f"f{n}", f"t{n % 2 + 1}", 1001.0 + n, "acme", "ann", "thumbs", 1.0) for n in range(4)]
    for feedback in (*said, replace(said[0], id="other", tenant="other")):
        store.put_feedback(feedback)
    assert opened().recent_feedback("acme", 1002.0, 10) == [said[3], said[2], said[1]]
    assert opened().recent_feedback("acme", 0.0, 2) == [said[3], said[2]]
    bad = [
        replace(said[0], id="down", at=1010.0, value=-1.0),
        replace(said[0], id="right", at=1009.0, kind="correction", value=None, text="7"),
    ]
    for feedback in (*bad, replace(said[0], id="click", at=1011.0, kind="click", value=-1.0)):
        store.put_feedback(feedback)
    assert opened().recent_feedback("acme", 0.0, 10, complaints=True) == bad
    assert opened().recent_feedback("acme", 0.0, 1, complaints=True) == bad[:1]
    assert [record.id for record in opened().find(TraceQuery(tenant="acme"))] == ["t2", "t1"]
    assert [record.id for record in opened().find(TraceQuery())] == ["t2", "t1"]


def test_what_is_counted_of_a_trace_is_the_same_in_every_store_and_has_no_words(opened: Callable[[], TraceStore]) -> None:
    whole = replace(
        a_trace("t1"),
        milliseconds=12.5,
        first_token_ms=4.0,
        role="canary",
        answer=Answer("words [1]", refused=True, confidence=0.25, model="m"),
        route=Route("pro", "long"),
        cache=CacheRecord(True, 0.97, kind="semantic"),
        stages=(StageRecord("retrieve", "d", 7.25, {"hits": 1}), StageRecord("answer", "d", 5.0)),
        usage=(Usage("m", 10, 2, 0.002, simulated=True), Usage("e", 3, 0, 0.0, priced=False)),
        draw=Draw("candidate", "canary", 0.125, 0.5),
        disagreement="other words",
        guard=(
            GuardVerdict("input", GuardAction.MASK, "words", check="pii", rule="EMAIL_ADDRESS"),
            GuardVerdict("output", GuardAction.ALLOW, "words", check="leak"),
        ),
    )
    store = opened()
    store.put([TraceRecord.of(whole, 1000.0), TraceRecord.of(a_trace("t2"), 1001.0), TraceRecord.of(a_trace("t3", tenant="other"), 1002.0)])
    plain, counted = opened().summaries(TraceQuery(tenant="acme", limit=10))
    assert (plain.id, plain.tier, plain.cache, plain.refused, plain.usage, plain.incidents) == ("t2", "", "", False, (), ())
    assert counted == TraceSummary.of(TraceRecord.of(whole, 1000.0))
    assert (counted.role, counted.milliseconds, counted.first_token_ms, counted.confidence) == ("canary", 12.5, 4.0, 0.25)
    assert (counted.tier, counted.cache, counted.refused, counted.model, counted.usd) == ("pro", "semantic", True, "m", 0.002)
    assert counted.incidents == (GuardIncident("input", "pii", "EMAIL_ADDRESS", "mask"),)
    assert [(stage.stage, stage.milliseconds) for stage in counted.stages] == [("retrieve", 7.25), ("answer", 5.0)]
    assert (counted.draw, counted.disagreement, counted.tenant) == (Draw("candidate", "canary", 0.125, 0.5), "other words", "acme")
    assert (counted.priced, plain.priced, plain.draw, plain.disagreement) == (False, True, None, None)
    assert "words [1]" not in repr(counted)


def test_what_is_forgotten_is_not_in_the_bytes_of_the_file_or_beside_it(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "traces.db")
    long = replace(a_trace(), prompt="read: the zebra crossing " * 2000)  # on pages of its own
    store.put([TraceRecord.of(long, 1000.0)])
    assert any(b"zebra" in path.read_bytes() for path in tmp_path.iterdir())
    store.forget_document("leave.md")
    assert not any(b"zebra" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_document_that_is_deleted_leaves_no_words_in_any_trace(opened: Callable[[], TraceStore]) -> None:
    store = opened()
    store.put([TraceRecord.of(a_trace("t1"), 1000.0), TraceRecord.of(a_trace("t2", document="other.md"), 1001.0)])
    assert store.forget_document("leave.md") == 1
    assert store.forget_document("leave.md") == 0
    forgotten, other = opened().get("t1"), opened().get("t2")
    assert forgotten is not None and other is not None
    assert "words" not in str(forgotten.trace)
    assert forgotten.value().answer.text == REMOVED
    assert other.value() == a_trace("t2", document="other.md")


@pytest.mark.parametrize("length", [509, 510, 1000])  # characters of four bytes
def test_a_document_with_a_long_id_is_found_in_traces_as_any_other(opened: Callable[[], TraceStore], length: int) -> None:
    store, document = opened(), "\U0001f4c4" * length
    store.put([TraceRecord.of(a_trace("t1", document=document), 1000.0)])
    assert store.forget_document(document) == 1
    forgotten = opened().get("t1")
    assert forgotten is not None and "words" not in str(forgotten.trace)


def test_putting_a_trace_costs_the_same_however_many_are_there(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "traces.db")
    steps = 0

    def counted() -> int:
        nonlocal steps
        steps += 1
        return 0

    store._connection.set_progress_handler(counted, 10)  # every ten instructions of SQLite's machine

    def cost(ident: str) -> int:
        before = steps
        store.put([TraceRecord.of(a_trace(ident, document=f"{ident}.md"), 1000.0)])
        return steps - before

    few = cost("first")
    store.put([TraceRecord.of(a_trace(f"t{number}", document=f"{number}.md"), 1000.0) for number in range(1000)])
    assert 0 < cost("last") < 3 * few


def test_a_trace_that_is_put_again_holds_its_new_documents_alone(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "traces.db")
    for document in ("leave.md", "other.md"):
        store.put([TraceRecord.of(a_trace("t1", document=document), 1000.0)])
    assert store.forget_document("leave.md") == 0
    assert store.forget_document("other.md") == 1


def test_old_traces_go_with_what_was_said_of_them(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "traces.db")
    store.put([TraceRecord.of(a_trace("old"), 1000.0), TraceRecord.of(a_trace("new"), 2000.0)])
    store.put_feedback(Feedback("f", "old", 1001.0, "acme", "ann", "thumbs", 1.0))
    assert store.forget_before(1500.0) == 1
    assert [record.id for record in store.find(TraceQuery())] == ["new"]
    assert store.feedback("old") == []


def test_a_reader_sees_nothing_of_documents_that_it_may_not_find() -> None:
    record = TraceRecord.of(a_trace(groups=("board",)), 1000.0)
    assert record.readable_by(Principal("chair", "acme", frozenset({"board"}))) == record
    seen = record.readable_by(Principal("clerk", "acme"))
    assert "words" not in str(seen.trace)
    assert seen.value().query.text == "How long?"


def test_a_store_that_cannot_be_opened_or_reached_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteTraceStore(tmp_path / "file" / "traces.db")
    (tmp_path / "broken.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteTraceStore(tmp_path / "broken.db")


def _put_for_ever(path: Path, ready: object) -> None:
    store = SqliteTraceStore(path)
    for n in range(100_000):
        store.put([TraceRecord.of(a_trace(f"t{n}-{k}"), float(n)) for k in range(3)])
        if n == 20:
            ready.set()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_batches(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_put_for_ever, args=(tmp_path / "traces.db", ready))
    writer.start()
    assert ready.wait(WITHIN_S)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    found = SqliteTraceStore(tmp_path / "traces.db").find(TraceQuery(limit=1_000_000))
    assert len(found) >= 60
    assert len(found) % 3 == 0


@pytest.mark.parametrize("body", [PAGE, b"", b'{"a":', b"[]"])
def test_what_answers_as_no_dynamodb_does_is_an_outage(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    record, said = TraceRecord.of(a_trace(), 1000.5), Feedback("f", "t1", 1.0, "acme", "ann", "thumbs", 1.0)
    with a_proxy(body=body) as endpoint:
        store = DynamoTraceStore("t", region="us-east-1", endpoint=endpoint, retention_s=DAY_S)
        calls: list[Callable[[], object]] = [
            lambda: store.put([record]),
            lambda: store.get("t1"),
            lambda: store.find(TraceQuery()),
            lambda: store.put_feedback(said),
            lambda: store.feedback("t1"),
            lambda: store.forget_document("leave.md"),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="answers as no DynamoDB does"):
                call()
