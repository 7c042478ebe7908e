"""The contract of a store of the audit trail, in a file and in DynamoDB."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from serving.audit.open import open_audit
from serving.audit.record import AuditedAct, AuditOutcome, AuditQuery
from serving.audit.sqlite import PRUNED, SqliteAuditStore
from serving.pipeline.errors import ConfigError, StoreError
from serving.pipeline.settings import PipelineSettings
from tests.audit.making import DAYS_S, Place, act_for_ever, act_often, an_entry
from tests.support.dynamodb import an_audit_table
from tests.support.proxy import PAGE, a_proxy
from tests.support.s3 import KEYS, s3_server
from tests.support.waiting import WITHIN_S

__all__ = ["s3_server"]

TIMES = 25


@pytest.fixture(params=["sqlite", "dynamodb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a trail is; whoever opens it is another process."""
    if request.param == "sqlite":
        yield Place(str(tmp_path / "home" / "audit.db"))
        return
    endpoint, environment = request.getfixturevalue("s3_server"), request.getfixturevalue("monkeypatch")
    for name, value in KEYS.items():
        environment.setenv(name, value)
    table = f"audit-{uuid4().hex[:12]}"
    an_audit_table(endpoint, table)
    yield Place(f"dynamodb:{table}", endpoint)


def found(place: Place, **query: object) -> list[AuditedAct]:
    return place.open().find(AuditQuery(**({"tenant": "public"} | query)))  # type: ignore[arg-type]


def test_an_entry_is_found_by_another_process_whole_and_begun_until_it_has_an_outcome(place: Place) -> None:
    entry, outcome = an_entry(1000.5), AuditOutcome(1001.25, "refused", "Not proven", {"revision": 4, "weight": 0.5, "forced": True})
    assert found(place) == []
    place.open().append(entry)
    [begun] = found(place)
    assert (begun.entry, begun.outcome, begun.state) == (entry, None, "begun")
    place.open().append_outcome(entry, outcome)
    [ended] = found(place)
    assert (ended.entry, ended.outcome, ended.state) == (entry, outcome, "refused")


def test_an_entry_and_its_outcome_are_never_replaced(place: Place) -> None:
    store, entry = place.open(), an_entry()
    store.append(entry)
    store.append(entry)  # as a call does whose answer was lost on the way
    with pytest.raises(StoreError, match="it stays as it is"):
        store.append(replace(entry, who="mallory"))
    store.append_outcome(entry, AuditOutcome(1001.0, "refused", "Forbidden"))
    store.append_outcome(entry, AuditOutcome(1002.0, "done"))
    assert found(place) == [AuditedAct(entry, AuditOutcome(1001.0, "refused", "Forbidden"))]


def test_acts_are_found_newest_first_by_who_what_which_and_when_and_page_by_page(place: Place) -> None:
    store = place.open()
    entries = [an_entry(1000.0 + n, "dev" if n % 2 else "prod", who=f"p{n % 3}") for n in range(6)]
    for entry in entries:
        store.append(entry)
        store.append_outcome(entry, AuditOutcome(2000.0, "done"))

    def at(**query: object) -> list[float]:
        acts = found(place, **query)
        assert all(act.state == "done" for act in acts)
        return [act.entry.at - 1000.0 for act in acts]

    assert at() == [5, 4, 3, 2, 1, 0]
    assert at(subject="dev") == [5, 3, 1]
    assert at(who="p1") == [4, 1]
    assert at(who="p1", subject="dev") == [1]
    assert at(action="channel.promote", limit=2) == [5, 4]
    assert at(action="document.delete") == []
    assert at(since=1002.0, until=1004.0) == [3, 2]
    assert at(since=1004.0, until=1002.0) == []
    assert at(before=entries[4].place, limit=2) == [3, 2]
    assert at(before=entries[4].place, until=1002.0, subject="prod") == [0]
    assert at(until=9e18) == at(since=-9e18) == [5, 4, 3, 2, 1, 0]
    assert at(since=9e18) == []


def test_a_trail_that_fills_many_pages_is_filtered_through_all_of_them(place: Place) -> None:
    store, wanted = place.open(), an_entry(1.0, "prod")
    store.append(wanted)
    store.append_outcome(wanted, AuditOutcome(2.0, "done"))
    for number in range(40):
        store.append(an_entry(10.0 + number))
    assert found(place, subject="prod", limit=1) == [AuditedAct(wanted, AuditOutcome(2.0, "done"))]


def test_a_tenant_finds_nothing_of_another(place: Place) -> None:
    store = place.open()
    for tenant in ("acme", "acme#", "globex"):
        store.append(an_entry(tenant=tenant))
    assert [act.entry.tenant for act in found(place, tenant="acme")] == ["acme"]
    assert found(place, tenant="nobody") == []


def test_odd_texts_are_kept_as_they_are_or_as_what_can_be_kept(place: Place) -> None:
    entry = an_entry(subject="a'; DROP TABLE entries --\n\x1b[31m\0\ud800 é")
    place.open().append(entry)
    [act] = found(place, subject=entry.subject)
    assert act.entry == entry
    assert "\ud800" not in entry.subject
    assert "\0" not in entry.subject


@pytest.mark.slow
def test_two_processes_write_at_the_same_time_and_every_act_is_whole(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    writers = [context.Process(target=act_often, args=(place, who, TIMES, go)) for who in ("ann", "bob")]
    for writer in writers:
        writer.start()
    go.set()
    for writer in writers:
        writer.join(WITHIN_S)
    assert [writer.exitcode for writer in writers] == [0, 0]
    acts = found(place, limit=1000)
    assert {act.entry.subject for act in acts} == {f"{who}-{number}" for who in ("ann", "bob") for number in range(TIMES)}
    assert {act.state for act in acts} == {"done"}
    assert [act.entry.place for act in acts] == sorted((act.entry.place for act in acts), reverse=True)


@pytest.mark.slow
def test_an_act_whose_process_is_killed_stays_begun(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    actor = context.Process(target=act_for_ever, args=(place, begun))
    actor.start()
    assert begun.wait(WITHIN_S)
    assert actor.pid is not None
    os.kill(actor.pid, signal.SIGKILL)
    actor.join()
    place.open().append(an_entry(subject="next"))  # nothing is locked
    assert {act.entry.subject: act.state for act in found(place)} == {"dev": "begun", "next": "begun"}


def test_a_file_refuses_every_change_and_loses_only_what_is_too_old(tmp_path: Path) -> None:
    store = SqliteAuditStore(tmp_path / "audit.db", retention_s=DAYS_S)
    old, kept, new = an_entry(1000.0), an_entry(1000.0 + DAYS_S), an_entry(1001.0 + DAYS_S)
    for entry in (old, kept):
        store.append(entry)
        store.append_outcome(entry, AuditOutcome(entry.at, "done"))
    with sqlite3.connect(tmp_path / "audit.db") as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)
        for table, column in (("entries", "who"), ("outcomes", "ending")):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(f"UPDATE {table} SET {column} = 'mallory'")
    connection.close()
    store.append(new)
    assert [act.entry for act in store.find(AuditQuery("public"))] == [new, kept]
    with sqlite3.connect(tmp_path / "audit.db") as connection:
        assert connection.execute("SELECT count(*) FROM outcomes").fetchone() == (1,)
    connection.close()


def test_a_trail_that_is_named_as_sqlite_names_no_file_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entry, (writer, reader) = an_entry(), (SqliteAuditStore(Path(":memory:"), retention_s=DAYS_S) for _ in range(2))
    writer.append(entry)
    assert [act.entry for act in reader.find(AuditQuery("public"))] == [entry]


def test_a_clock_that_is_wrong_for_a_while_does_not_empty_a_file(tmp_path: Path) -> None:
    store = SqliteAuditStore(tmp_path / "audit.db", retention_s=DAYS_S)
    true = [an_entry(1000.0 + number) for number in range(100)]
    for entry in true:
        store.append(entry)
        store.append_outcome(entry, AuditOutcome(entry.at, "done"))
    store.append(an_entry(1000.0 + 100 * DAYS_S, "by a wrong clock"))
    kept = [act for act in store.find(AuditQuery("public", limit=1000)) if act.entry.subject == "dev"]
    assert [act.entry for act in reversed(kept)] == true[PRUNED:]
    assert {act.state for act in kept} == {"done"}
    for number in range(20):  # in the end they are gone all the same
        store.append(an_entry(1000.0 + 100 * DAYS_S + number, "later"))
    assert not [act for act in store.find(AuditQuery("public", limit=1000)) if act.entry.subject == "dev"]


def test_an_item_and_its_outcome_end_together(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    table = f"audit-{uuid4().hex[:12]}"
    an_audit_table(s3_server, table)
    store, entry = Place(f"dynamodb:{table}", s3_server).open(), an_entry(1000.5)
    store.append(entry)
    store.append_outcome(entry, AuditOutcome(5000.0, "done"))
    items = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=s3_server).Table(table).scan()["Items"]
    assert [item["ttl"] for item in items] == [1000 + DAYS_S] * 2


def test_a_store_that_cannot_be_opened_or_reached_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.db").write_bytes(b"no database" * 1000)
    places = [Place(str(tmp_path / "file" / "audit.db")), Place(str(tmp_path / "broken.db")), Place("dynamodb:t", "http://127.0.0.1:9")]
    for place in places:
        with pytest.raises(StoreError, match="The audit trail .* does not answer"):
            place.open().append(an_entry())
        with pytest.raises(StoreError, match="The audit trail .* does not answer"):
            place.open().append_outcome(an_entry(), AuditOutcome(1.0, "done"))
        with pytest.raises(StoreError, match="The audit trail .* does not answer"):
            found(place)


@pytest.mark.parametrize("body", [PAGE, b"", b'{"a":', b"[]"])
def test_what_answers_as_no_dynamodb_does_has_written_nothing_down(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with a_proxy(body=body) as endpoint:
        place = Place("dynamodb:t", endpoint)
        with pytest.raises(StoreError, match="answers as no DynamoDB does"):
            place.open().append(an_entry())
        with pytest.raises(StoreError, match="answers as no DynamoDB does"):
            place.open().append_outcome(an_entry(), AuditOutcome(1.0, "done"))
        with pytest.raises(StoreError, match="answers as no DynamoDB does"):
            found(place)


def test_a_table_without_a_name_is_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match="name the table"):
        open_audit(PipelineSettings(audit="dynamodb:", _env_file=None))
    assert open_audit(PipelineSettings(home=Path("here"), _env_file=None)).place == "here/audit.db"
