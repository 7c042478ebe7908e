"""What administrators look at and move over HTTP."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app.admin.replica import estimated
from serving.app.admin.traffic import BUCKETS, percentiles, traffic
from serving.keys import Caller, create_key
from serving.pipeline.errors import DataError, NotProven
from serving.release.bundle import load_release
from serving.release.channel import read_channel
from serving.release.proof import newest_proof
from serving.traces.record import Feedback
from serving.traces.summary import CountedStage, CountedUsage, GuardIncident, TraceSummary
from tests.app.core.test_auth import bearer
from tests.app.making import House, Open, config, opened
from tests.support.releasing import a_decision, prove
from tests.support.waiting import eventually

OWN = {"X-Touchstone-CSRF": "1"}


@pytest.fixture
async def two(house: House) -> tuple[House, str, str]:
    """A house whose channel was moved from the first release to the second."""
    first = read_channel(house.storage, "dev").stable
    return house, first, await house.release(config("Nobody has any leave [1]."))


async def move(api: Open, channel: str, action: str, revision: int, headers: dict[str, str] = OWN, **more: Any) -> httpx.Response:
    body = {"why": "a test", "revision": revision, **more}
    return await api.client.post(f"/v1/admin/channels/{channel}/{action}", json=body, headers=headers)


async def test_a_channel_whose_document_is_damaged_says_so_and_hides_no_other(two: tuple[House, str, str]) -> None:
    house, _, second = two
    async with opened(house.settings()) as api:
        house.storage.put("channels/prod.json", b'{"name": "prod"')
        channels = (await api.client.get("/v1/admin/channels")).json()["channels"]
        moved = await move(api, "prod", "rollback", 0)
    by = {channel["name"]: channel for channel in channels}
    assert (by["dev"]["stable"], by["dev"]["problem"], by["staging"]["problem"]) == (second, "", "")
    assert (by["prod"]["stable"], by["prod"]["revision"]) == ("", 0)
    assert "channels/prod.json is not a channel" in by["prod"]["problem"]
    assert moved.status_code == 409
    assert "is not a channel" in moved.json()["detail"]


async def test_a_rollback_is_in_the_history_with_its_reason_and_is_served_at_once(two: tuple[House, str, str]) -> None:
    house, first, second = two
    async with opened(house.settings()) as api:
        before = (await api.client.get("/v1/admin/channels")).json()
        dev = before["channels"][0]
        rolled = await move(api, "dev", "rollback", dev["revision"], why=" answers got worse ")
        again = await move(api, "dev", "rollback", dev["revision"])
        for odd in (False, True, "2"):  # which would be read as 0, 1 and 2
            assert (await move(api, "dev", "rollback", odd)).status_code == 422  # type: ignore[arg-type]
        answer = (await api.ask()).json()
    assert (dev["name"], dev["stable"], dev["rollback_to"], dev["served_here"], before["may_move"]) == ("dev", second, first, True, True)
    assert rolled.status_code == 200
    newest = rolled.json()["history"][0]
    assert (newest["before"], newest["to"], newest["why"], newest["who"]) == (
        second,
        first,
        "answers got worse",
        "somebody on this machine",
    )
    assert again.status_code == 409
    assert "look again" in again.json()["detail"]
    assert answer["release"] == first
    assert read_channel(house.storage, "dev").stable == first


async def test_a_channel_takes_by_this_door_only_what_its_gate_has_passed_and_somebody_has_approved(two: tuple[House, str, str]) -> None:
    house, first, second = two
    async with opened(house.settings()) as api:
        unproven = await move(api, "staging", "promote", 0, release=first)
        prove(house.storage, first, created_at="2026-11-02T00:00:00+00:00", decision={**a_decision(first), "gate": "pull-request"})
        weaker = await move(api, "staging", "promote", 0, release=first)
        prove(house.storage, first, created_at="2026-11-03T00:00:00+00:00", decision=a_decision(first))
        listed = (await api.client.get("/v1/admin/releases")).json()
        staged = await move(api, "staging", "promote", 0, release=first)
        unapproved = await move(api, "prod", "promote", 0, release=first)
        approved = await move(api, "prod", "approve", 0, release=first, hours=1)
        shipped = await move(api, "prod", "promote", 1, release=first)
        candidate = await move(api, "dev", "candidate", 2, release=first, mode="shadow", weight=0.5)
        withdrawn = await move(api, "dev", "withdraw", 3)
        unknown = await move(api, "dev", "promote", 4, release="0" * 16)
    assert [one.status_code for one in (unproven, weaker, unapproved, unknown)] == [409] * 4
    assert "no evidence" in unproven.json()["detail"]
    assert "approve" in unapproved.json()["detail"]
    assert "No release" in unknown.json()["detail"]
    assert [one.status_code for one in (staged, approved, shipped, candidate, withdrawn)] == [200] * 5
    assert approved.json()["approved"] == [first]
    assert (shipped.json()["stable"], shipped.json()["revision"]) == (first, 2)
    assert candidate.json()["candidate"] == {"release": first, "mode": "shadow", "weight": 0.5}
    assert withdrawn.json()["candidate"] is None
    by = {one["digest"]: one for one in listed["releases"]}
    assert by[first]["channels"] == ["dev", "staging", "prod"]
    assert (by[second]["channels"], by[second]["state"], by[second]["problem"]) == (["dev"], "", "")
    with pytest.raises(NotProven):
        newest_proof("prod", load_release(house.storage, second))
    with pytest.raises(DataError, match="no evidence"):
        newest_proof("dev", replace(load_release(house.storage, second), evidence={}))


HOSTILE: list[tuple[dict[str, str], int]] = [
    ({}, 422),  # an HTML form, or fetch without our header
    ({**OWN, "Origin": "http://evil.example"}, 403),
    ({**OWN, "Origin": "null"}, 403),
    ({**OWN, "Sec-Fetch-Site": "cross-site"}, 403),
    ({**OWN, "Sec-Fetch-Site": "same-site"}, 403),
    ({**OWN, "Host": "evil.example"}, 403),
    ({**OWN, "Host": "127.0.0.1.evil.example"}, 403),
    ({**OWN, "Content-Type": "text/plain"}, 415),
]


@pytest.mark.parametrize(("headers", "status"), HOSTILE)
async def test_another_sites_page_moves_nothing(furnished: House, headers: dict[str, str], status: int) -> None:
    async with opened(furnished.settings()) as api:
        body = json.dumps({"why": "x", "revision": 1}).encode()
        sent = {"Content-Type": "application/json", **headers}
        response = await api.client.post("/v1/admin/channels/dev/withdraw", content=body, headers=sent)
        unbound = await api.client.get("/v1/admin/channels", headers={"Host": "evil.example:8080"})
        read = await api.client.post("/v1/query", json={"question": "Hello?"}, headers={"Host": "evil.example:8080"})
    assert (response.status_code, unbound.status_code, read.status_code) == (status, 403, 403)
    assert response.headers["content-type"] == "application/problem+json"
    assert len(read_channel(furnished.storage, "dev").history) == 1


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "app.localhost", "touchstone:8080"])
async def test_this_machine_and_its_neighbours_are_called_by_their_own_names(furnished: House, host: str) -> None:
    async with opened(furnished.settings()) as api:
        assert (await api.client.get("/v1/admin/channels", headers={"Host": host})).status_code == 200
        own = {**OWN, "Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert (await move(api, "dev", "withdraw", 1, own)).status_code == 409  # there is no candidate
        proxied = {**own, "Origin": "https://rag.example"}  # by a proxy that calls this server by its address
        assert (await move(api, "dev", "withdraw", 1, proxied)).status_code == 409


async def test_with_keys_administrators_alone_look_and_those_of_the_operator_move(house: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    callers = [
        Caller(id="root", scopes=frozenset({"admin"})),
        Caller(id="acme-root", tenant="acme", scopes=frozenset({"admin"}), usd_per_day=2.0),
        Caller(id="reader"),
    ]
    of = {caller.id: create_key(path, caller) for caller in callers}
    async with opened(house.settings(api_keys=path, traces=str(tmp_path / "t.db"), usd_per_day=9.0)) as api:
        for name in ("traffic", "replica", "channels", "releases"):
            codes = [(await api.client.get(f"/v1/admin/{name}", headers=bearer(of[who]))).status_code for who in of]
            assert codes == [200, 200, 403]
        moved = {who: await move(api, "dev", "promote", 1, OWN | bearer(key), release=_stable(house)) for who, key in of.items()}
        foreign = [
            await move(api, "dev", "rollback", 2, bearer(of["root"]) | more)
            for more in ({}, OWN | {"Origin": "http://evil.example"}, OWN | {"Sec-Fetch-Site": "cross-site"}, {"X-Touchstone-CSRF": " "})
        ]
        may = [(await api.client.get("/v1/admin/channels", headers=bearer(of[who]))).json()["may_move"] for who in ("root", "acme-root")]
        budgets = (await api.client.get("/v1/admin/replica", headers=bearer(of["acme-root"]))).json()["budgets"]
        others = (await api.client.get("/v1/admin/replica", headers=bearer(of["root"]))).json()["budgets"]
    assert {who: one.status_code for who, one in moved.items()} == {"root": 200, "acme-root": 403, "reader": 403}
    assert moved["root"].json()["history"][0]["who"] == "root"
    assert [one.status_code for one in foreign] == [422, 403, 403, 403]
    assert "everybody's" in moved["acme-root"].json()["detail"]
    assert may == [True, False]
    assert [(one["account"], one["limit_usd"], one["spent_usd"]) for one in budgets] == [("server", 9.0, 0.0), ("acme/acme-root", 2.0, 0.0)]
    assert [one["account"] for one in others] == ["server"]


def _stable(house: House) -> str:
    return read_channel(house.storage, "dev").stable


async def test_what_was_asked_is_counted_in_the_window_and_by_the_replica(house: House, tmp_path: Path) -> None:
    async with opened(house.settings(traces=str(tmp_path / "own.db"))) as api:
        answers = [(await api.ask(f"How many days of paid leave, person {n}?")).json() for n in range(3)]
        await api.client.post("/v1/feedback", json={"trace_id": answers[0]["trace_id"], "kind": "thumbs", "value": -1})
        await api.client.post("/v1/query", content=b"{", headers={"Content-Type": "application/json"})
        writer = api.app.state.service.traces
        await eventually(lambda: not writer.waiting)
        window = (await api.client.get("/v1/admin/traffic?hours=1")).json()
        own = (await api.client.get("/v1/admin/replica")).json()
    assert (window["questions"], window["traces"], window["complete"]) == (3, 3, True)
    assert sum(bucket["questions"] for bucket in window["buckets"]) == 3
    assert window["releases"][0]["thumbs_down"] == 1
    assert window["feedback_counts"] == [{"name": "thumbs down", "count": 1}]
    assert [stage["stage"] for stage in window["stages"]] == ["guard", "cache", "retrieve", "route", "answer"]
    assert window["times"]["count"] == 3
    asked = next(route for route in own["routes"] if route["route"] == "/v1/query")
    assert (asked["requests"], asked["errors"], asked["refused"]) == (4, 0, 1)
    assert own["ready"]["ready"] is True
    assert own["spending"][0]["model"] == "local:echo"


async def test_a_server_without_traces_says_so(furnished: House) -> None:
    async with opened(furnished.settings(keep_traces=False)) as api:
        response = await api.client.get("/v1/admin/traffic")
    assert (response.status_code, response.json()["detail"]) == (404, "This server keeps no traces.")


def a_summary(ident: str, at: float, **changes: Any) -> TraceSummary:
    fields: dict[str, Any] = {"release": "r", "role": "stable", "milliseconds": 10.0, "first_token_ms": None, "refused": False}
    fields |= {"confidence": None, "model": "m", "tier": "lite", "cache": ""}
    return TraceSummary(ident, at, **(fields | changes))


def test_a_window_is_counted_by_hand() -> None:
    use = CountedUsage("m", 100, 10, 0.5, simulated=True)
    newest_first = [
        a_summary("d", 990.0, role="shadow", usage=(use,), degraded=True),
        a_summary("c", 900.0, milliseconds=40.0, cache="exact", confidence=0.5),
        a_summary("e", 900.0, milliseconds=20.0, tier="", cache="", degraded=True),
        a_summary(
            "b", 500.0, milliseconds=20.0, refused=True, degraded=True, tier="", incidents=(GuardIncident("input", "pii", "", "mask"),)
        ),
        a_summary("a", 0.0, usage=(use, use), stages=(CountedStage("guard", 1.0), CountedStage("guard", 2.0)), confidence=1.0),
    ]
    said = [Feedback("f2", "a", 3.0, "t", "ann", "thumbs", -1.0), Feedback("f1", "a", 2.0, "t", "bob", "thumbs", 1.0)]
    counted = traffic(newest_first, said, since=0.0, until=1000.0, complete=True)
    assert (counted.traces, counted.questions, counted.cached, counted.refused, counted.degraded) == (5, 4, 1, 1, 1)
    assert (counted.buckets[21].questions, counted.buckets[21].degraded, counted.buckets[12].degraded) == (2, 1, 0)
    assert (counted.usd, counted.simulated, counted.input_tokens, counted.confidence) == (1.0, True, 200, 0.75)
    assert counted.times == percentiles([10.0, 20.0, 20.0, 40.0])
    assert [number for number, bucket in enumerate(counted.buckets) if bucket.questions] == [0, 12, 21]
    assert len(counted.buckets) == BUCKETS
    assert [(one.stage, one.times.p50_ms) for one in counted.stages] == [("guard", 3.0)]
    assert {(one.name, one.questions) for one in counted.routes} == {("lite", 2), ("no model", 2)}
    assert {(one.name, one.questions) for one in counted.cache} == {("written anew", 3), ("exact", 1)}
    assert {(one.role, one.questions, one.thumbs_up, one.thumbs_down) for one in counted.releases} == {
        ("stable", 4, 1, 1),
        ("shadow", 1, 0, 0),
    }
    assert [(one.check, one.rule, one.action, one.trace_id) for one in counted.incidents] == [("pii", "", "mask", "b")]
    assert counted.incident_counts[0].name == "pii: unnamed → mask"


def test_a_window_with_too_many_traces_begins_at_the_oldest_that_was_read() -> None:
    counted = traffic([a_summary("b", 900.0), a_summary("a", 600.0)], [], since=0.0, until=1000.0, complete=False)
    assert datetime.fromisoformat(counted.since) == datetime.fromtimestamp(600.0, UTC)
    assert [counted.buckets[0].questions, counted.buckets[18].questions] == [1, 1]


def test_percentiles_are_of_the_nearest_rank() -> None:
    times = percentiles(float(n) for n in range(1, 201))
    assert times is not None
    assert (times.count, times.p50_ms, times.p95_ms, times.p99_ms) == (200, 100.0, 190.0, 198.0)
    assert percentiles([]) is None


def test_a_histogram_tells_percentiles_spread_evenly_within_a_bucket() -> None:
    found = estimated([(float("inf"), 100.0), (0.1, 50.0), (0.2, 100.0)])
    assert found is not None
    assert (found.count, found.p50_ms, found.p95_ms) == (100, 100.0, 190.0)
    beyond = estimated([(0.1, 1.0), (float("inf"), 100.0)])
    assert beyond is not None
    assert beyond.p95_ms == 100.0
    assert estimated([(0.1, 0.0), (float("inf"), 0.0)]) is None
    assert estimated([]) is None
