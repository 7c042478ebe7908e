"""Who did what over HTTP: written before it is done, refused where it cannot be, read by those whose it is."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving.app.core.audit import REFUSALS
from serving.audit.open import open_audit
from serving.audit.record import AuditedAct, AuditEntry, AuditOutcome, AuditQuery
from serving.audit.sqlite import SqliteAuditStore
from serving.documents.open import open_documents
from serving.keys import Caller, create_key
from serving.pipeline.errors import StoreError
from serving.release.channel import read_channel
from tests.app.admin.test_admin import OWN, move
from tests.app.core.test_auth import bearer
from tests.app.making import QUESTION, House, Open, config, opened

WORDS = b"# Zebras\n\nThe zebra crossing is painted on Tuesdays."
CALLERS = (
    Caller(id="root", scopes=frozenset({"admin", "query", "ingest"})),
    Caller(id="acme-root", tenant="acme", scopes=frozenset({"admin", "query", "ingest"})),
    Caller(id="ann", tenant="acme", scopes=frozenset({"query", "ingest"})),
    Caller(id="bob", tenant="acme", scopes=frozenset({"query", "ingest"})),
    Caller(id="eve"),
)


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of keys, and the keys by their owners."""
    path = tmp_path / "keys.yaml"
    return path, {caller.id: create_key(path, caller) for caller in CALLERS}


def kept(house: House, tenant: str = "public", **changes: Any) -> list[AuditedAct]:
    """What is in the trail, the oldest first."""
    return list(reversed(open_audit(house.settings(**changes)).find(AuditQuery(tenant, limit=1000))))


def told(acts: list[AuditedAct]) -> list[tuple[str, str, str, str, str]]:
    return [(one.entry.who, one.entry.action, one.entry.subject, one.state, one.outcome.reason if one.outcome else "") for one in acts]


async def trail(api: Open, headers: Mapping[str, str] = {}, **asked: Any) -> list[dict[str, Any]]:
    response = await api.client.get("/v1/admin/audit", params=asked, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()["entries"]  # type: ignore[no-any-return]


async def upload(api: Open, key: str, data: bytes = WORDS) -> Any:
    return await api.client.post("/v1/documents", files={"file": ("z.md", data)}, headers=bearer(key))


async def test_moves_of_channels_are_told_with_who_from_where_to_where_and_why(house: House) -> None:
    first = read_channel(house.storage, "dev").stable
    second = await house.release(config("Nobody has any leave [1]."))
    async with opened(house.settings()) as api:
        assert (await move(api, "dev", "rollback", 2, why=" answers got worse ")).status_code == 200
        assert (await move(api, "dev", "rollback", 2)).status_code == 409  # it has changed since
        assert (await move(api, "staging", "promote", 0, release=second)).status_code == 409  # nothing proves it
        assert (await move(api, "dev", "candidate", 3, release=second, mode="shadow", weight=0.5)).status_code == 200
        assert (await move(api, "dev", "switch", 4)).status_code == 200
        entries = await trail(api)
    who = "somebody on this machine"
    assert [(one["who"], one["source"], one["action"], one["subject"], one["outcome"], one["reason"]) for one in reversed(entries)] == [
        (who, "api", "channel.rollback", "dev", "done", ""),
        (who, "api", "channel.rollback", "dev", "refused", "Conflict"),
        (who, "api", "channel.promote", "staging", "refused", "Conflict"),
        (who, "api", "channel.candidate", "dev", "done", ""),
        (who, "api", "channel.switch", "dev", "done", ""),
    ]
    rolled = entries[-1]
    assert rolled["details"] == {"why": "answers got worse", "revision": 2}
    assert rolled["result"] == {"from": second, "to": first, "revision": 3}
    assert rolled["at"] <= rolled["ended_at"]
    assert entries[1]["details"] == {"why": "a test", "revision": 3, "release": second, "mode": "shadow", "weight": 0.5}


async def test_what_an_administrator_may_not_do_is_told_too_and_to_whom_the_thing_belongs(
    house: House, keyed: tuple[Path, dict[str, str]]
) -> None:
    path, of = keyed
    stable = read_channel(house.storage, "dev").stable
    async with opened(house.settings(api_keys=path)) as api:
        for key in ("acme-root", "eve", "eve"):
            assert (await move(api, "dev", "promote", 1, OWN | bearer(of[key]), release=stable)).status_code == 403
        foreign = OWN | bearer(of["root"]) | {"Origin": "http://evil.example"}
        assert (await move(api, "dev", "withdraw", 1, foreign)).status_code == 403
        anonymous = await move(api, "dev", "promote", 1, OWN, release=stable)
        made = (await upload(api, of["ann"])).json()
        refused = [await api.client.delete(f"/v1/documents/{made['id']}", headers=bearer(of[who])) for who in ("bob", "eve")]
        odd = await api.client.post("/v1/admin/channels/nosuch/promote", json={}, headers=OWN | bearer(of["eve"]))
        looked = await api.client.get("/v1/admin/audit", headers=bearer(of["eve"]))
        operators = await trail(api, bearer(of["root"]))
    assert (anonymous.status_code, odd.status_code, looked.status_code) == (401, 403, 403)
    assert [one.status_code for one in refused] == [403, 403]
    assert told(kept(house)) == [
        ("acme/acme-root", "channel.promote", "dev", "refused", "Forbidden"),
        ("eve", "channel.promote", "dev", "refused", "Forbidden"),  # once a minute: a refusal costs nothing
        ("root", "channel.withdraw", "dev", "refused", "Forbidden"),
        ("eve", "document.delete", made["id"], "refused", "Forbidden"),
    ]
    assert told(kept(house, "acme")) == [
        ("acme/ann", "document.add", made["id"], "done", ""),
        ("acme/bob", "document.delete", made["id"], "refused", "Forbidden"),
    ]
    assert [one["who"] for one in operators] == ["eve", "root", "eve", "acme/acme-root"]
    assert open_documents(house.settings()).refresh().records[made["id"]].state != "deleted"
    assert len(read_channel(house.storage, "dev").history) == 1


async def test_who_is_refused_again_and_again_does_not_fill_the_trail(
    house: House, keyed: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, of = keyed
    monkeypatch.setattr("serving.app.core.audit.MINUTE_S", float("inf"))
    async with opened(house.settings(api_keys=path)) as api:
        for _ in range(REFUSALS + 5):
            assert (await move(api, "dev", "withdraw", 1, OWN | bearer(of["acme-root"]))).status_code == 403
        assert (await move(api, "dev", "withdraw", 1, OWN | bearer(of["eve"]))).status_code == 403
        lines = [line for line in api.log if line["event"] == "refusals not in the audit trail"]
        monkeypatch.setattr("serving.app.core.audit.MINUTE_S", 0.0)
        assert (await move(api, "dev", "withdraw", 1, OWN | bearer(of["acme-root"]))).status_code == 403
    assert [who for who, *_ in told(kept(house))] == ["acme/acme-root"] * REFUSALS + ["eve", "acme/acme-root"]
    assert [line["by"] for line in lines] == ["acme/acme-root"]


async def test_a_tenant_reads_its_own_trail_and_no_other(house: House, keyed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    path, of = keyed
    async with opened(house.settings(api_keys=path, traces=str(tmp_path / "t.db"))) as api:
        asked = await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(of["ann"]))
        address = f"/v1/traces/{asked.json()['trace_id']}"
        for who, status in (("ann", 200), ("acme-root", 200), ("root", 404)):  # one's own, another's, one of another tenant
            assert (await api.client.get(address, headers=bearer(of[who]))).status_code == status
        made = (await upload(api, of["ann"])).json()
        assert (await upload(api, of["bob"])).status_code == 200  # it is there already: nothing is done
        assert (await upload(api, of["ann"])).status_code == 200  # nor anew by who added it
        assert (await api.client.delete(f"/v1/documents/{made['id']}", headers=bearer(of["acme-root"]))).status_code == 204
        stable = read_channel(house.storage, "dev").stable
        assert (await move(api, "dev", "promote", 1, OWN | bearer(of["root"]), release=stable)).status_code == 200
        acme, operator = await trail(api, bearer(of["acme-root"])), await trail(api, bearer(of["root"]))
    assert [(one["who"], one["action"], one["subject"]) for one in reversed(acme)] == [
        ("acme/acme-root", "trace.read", address.rpartition("/")[2]),
        ("acme/ann", "document.add", made["id"]),
        ("acme/ann", "document.add", made["id"]),
        ("acme/acme-root", "document.delete", made["id"]),
    ]
    assert acme[1]["result"] == {"unchanged": True}
    assert acme[-1]["details"] == {"of": "ann"}
    facts = open_documents(house.settings()).refresh().records[made["id"]].sha256
    assert acme[2]["details"] == {"sha256": facts, "bytes": len(WORDS), "replaces": False}
    assert acme[0]["details"] == {"origin": "added", "sha256": facts, "bytes": len(WORDS)}
    assert [(one["who"], one["action"]) for one in operator] == [("root", "channel.promote")]


async def test_nothing_of_a_document_a_question_or_a_key_is_in_the_trail(
    house: House, keyed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    path, of = keyed
    async with opened(house.settings(api_keys=path, traces=str(tmp_path / "t.db"))) as api:
        asked = await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(of["ann"]))
        assert (await api.client.get(f"/v1/traces/{asked.json()['trace_id']}", headers=bearer(of["acme-root"]))).status_code == 200
        made = (await upload(api, of["ann"])).json()
        assert (await api.client.delete(f"/v1/documents/{made['id']}", headers=bearer(of["ann"]))).status_code == 204
    data = (house.root / "home" / "audit.db").read_bytes()
    assert b"trace.read" in data
    assert b"document.delete" in data
    for words in (b"zebra", b"Zebra", b"paid leave", b"28 days", *(key.encode() for key in of.values())):
        assert words not in data, words


async def test_where_the_trail_cannot_be_written_nothing_is_done_and_answers_go_on(
    house: House, keyed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    path, of = keyed
    stable = read_channel(house.storage, "dev").stable
    async with opened(house.settings(api_keys=path, traces=str(tmp_path / "t.db"))) as api:
        made = (await upload(api, of["ann"])).json()
    (tmp_path / "file").write_text("")
    broken = house.settings(api_keys=path, traces=str(tmp_path / "t.db"), audit=str(tmp_path / "file" / "audit.db"))
    async with opened(broken) as api:
        asked = await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(of["ann"]))
        address = f"/v1/traces/{asked.json()['trace_id']}"
        outages = [
            await move(api, "dev", "promote", 1, OWN | bearer(of["root"]), release=stable),
            await upload(api, of["ann"], WORDS * 2),
            await api.client.delete(f"/v1/documents/{made['id']}", headers=bearer(of["ann"])),
            await api.client.get(address, headers=bearer(of["acme-root"])),
        ]
        own = await api.client.get(address, headers=bearer(of["ann"]))
        forbidden = await move(api, "dev", "promote", 1, OWN | bearer(of["eve"]), release=stable)
        read = await api.client.get("/v1/admin/audit", headers=bearer(of["root"]))
        lost = await api.metric("touchstone_audit_failures_total")
    assert [one.status_code for one in (asked, own, forbidden)] == [200, 200, 403]
    for outage in outages:
        assert (outage.status_code, outage.json()["type"]) == (503, "urn:touchstone:problem:not-recorded")
        assert "nothing was done" in outage.json()["detail"]
    assert "28" not in outages[-1].text
    assert (read.status_code, read.json()["type"]) == (503, "urn:touchstone:problem:outage")
    assert lost == ['touchstone_audit_failures_total{part="entry"} 5.0', 'touchstone_audit_failures_total{part="outcome"} 0.0']
    assert len(read_channel(house.storage, "dev").history) == 1
    records = open_documents(house.settings()).refresh().records
    assert {ident: record.state != "deleted" for ident, record in records.items()} == {made["id"]: True}


async def test_an_outcome_that_is_lost_leaves_the_act_begun_and_is_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(store: SqliteAuditStore, entry: AuditEntry, outcome: AuditOutcome) -> None:
        raise StoreError("the disk is full")

    stable = read_channel(house.storage, "dev").stable
    async with opened(house.settings()) as api:
        monkeypatch.setattr(SqliteAuditStore, "append_outcome", lose)  # no way to fill a disk between two calls
        moved = await move(api, "dev", "promote", 1, release=stable)
        [entry] = await trail(api)
        lost = await api.metric('touchstone_audit_failures_total{part="outcome"}')
    assert (moved.status_code, moved.json()["revision"]) == (200, 2)
    assert (entry["outcome"], entry["ended_at"], entry["result"]) == ("begun", None, {})
    assert lost == ['touchstone_audit_failures_total{part="outcome"} 1.0']
    assert [line["reason"] for line in api.log if line["event"] == "outcome not in the audit trail"] == ["the disk is full"]


async def test_the_trail_is_filtered_and_read_page_by_page(house: House) -> None:
    async with opened(house.settings()) as api:
        for channel in ("dev", "staging", "dev"):
            await move(api, channel, "withdraw", 9)
        everything = await trail(api)
        first = (await api.client.get("/v1/admin/audit", params={"limit": 2})).json()
        second = (await api.client.get("/v1/admin/audit", params={"limit": 2, "cursor": first["next"]})).json()
        middle = everything[1]["at"]
        counts = {
            str(asked): len(await trail(api, **asked))
            for asked in (
                {"subject": "dev"}, {"who": "somebody on this machine"}, {"who": "nobody"}, {"action": "channel.withdraw"},
                {"action": "document.add"}, {"since": middle}, {"until": middle}, {"since": "2999-01-01"},
                {"until": "0001-01-01T00:00:00+14:00"},
            )
        }  # fmt: skip
        wrong = [
            (await api.client.get("/v1/admin/audit", params=asked)).status_code
            for asked in (
                {"action": "channel.move"},
                {"since": "1764410000"},
                {"cursor": "x"},
                {"cursor": "1\n"},
                {"limit": 0},
                {"limit": 201},
            )
        ]
    assert list(counts.values()) == [2, 3, 0, 3, 0, 2, 1, 0, 0], counts
    assert set(wrong) == {422}
    assert [*first["entries"], *second["entries"]] == everything
    assert second["next"] is None


async def test_two_servers_on_one_trail_show_the_same(house: House) -> None:
    async with opened(house.settings()) as one, opened(house.settings()) as other:
        moves = [move(api, "dev", "withdraw", 9) for api in (one, other) for _ in range(5)]
        assert {response.status_code for response in await asyncio.gather(*moves)} == {409}
        assert await trail(one) == await trail(other)
        assert len(await trail(one)) == 10
