"""The verdict on a channel's candidate over HTTP."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from serving.keys import Caller, create_key
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.types import Query
from serving.release.channel import Mode, read_channel
from serving.release.move import withdraw_candidate
from serving.traces.record import TraceQuery
from tests.app.core.test_auth import bearer
from tests.app.making import QUESTION, House, Open, config, interrupted, opened
from tests.app.release.test_trial import try_beside
from tests.support.waiting import eventually

VERDICT = "/v1/admin/channels/dev/verdict"


async def written(api: Open) -> None:
    """Until a thread has written every trace."""
    await eventually(lambda: not api.app.state.service.traces.waiting)


async def tried(api: Open, house: House, mode: Mode, weight: float, chosen: object = None) -> str:
    await api.ask(session="before")  # of no trial
    digest = await try_beside(house, mode, weight, chosen)
    await api.release_manager.refresh()
    return digest


async def test_a_canary_is_judged_by_the_questions_that_were_drawn_since_it_was_set(house: House) -> None:
    async with opened(house.settings()) as api:
        none = await api.client.get(VERDICT)
        new = await tried(api, house, "canary", 0.5, config("I cannot answer that."))
        answers = [(await api.ask(session=f"s{n}")).json() for n in range(40)]
        await written(api)
        early = (await api.client.get(VERDICT)).json()
        found = (await api.client.get(VERDICT, params={"minutes": 0, "at_least": 10})).json()
        withdraw_candidate(house.storage, "dev", expected=read_channel(house.storage, "dev"), who="t", why="t")
        gone = await api.client.get(VERDICT)
    canary = [one for one in answers if one["role"] == "canary"]
    assert none.status_code == gone.status_code == 404
    assert "touchstone channel set dev --candidate" in none.json()["detail"]
    assert (early["verdict"], early["callers"]) == ("undecided", 0)
    assert "turn of 10 minutes" in early["reason"]
    assert "40 callers are within their turn" in early["notes"][0]
    assert (found["release"], found["mode"], found["weight"], found["complete"]) == (new, "canary", 0.5, True)
    assert (found["callers"], found["candidate_callers"], found["questions"]) == (40, len(canary), 40)
    assert 0 < len(canary) < 40
    by = {one["name"]: one for one in found["measures"]}
    assert by["degraded"]["candidate"] == by["degraded"]["stable"] == 0.0
    assert by["failed"]["candidate"] == 0.0
    assert by["disagreements"]["candidate"] is None
    assert (by["refused"]["candidate"], by["refused"]["stable"], by["refused"]["outcome"]) == (1.0, 0.0, "worse")
    assert found["verdict"] == "worse"
    assert found["reason"].startswith("Refusals: 100.0% by the candidate")


async def test_thumbs_down_are_counted_where_there_are_any(house: House) -> None:
    async with opened(house.settings()) as api:
        wall = api.app.state.service.wall
        await tried(api, house, "canary", 0.5)
        for n in range(8):
            answer = (await api.ask(session=f"s{n}")).json()
            said = {"trace_id": answer["trace_id"], "kind": "thumbs", "value": -1 if answer["role"] == "canary" else 1}
            assert (await api.client.post("/v1/feedback", json=said)).status_code == 200
        await written(api)
        api.app.state.service = replace(api.app.state.service, wall=lambda: wall() + 3600)
        found = (await api.client.get(VERDICT)).json()
    by = {one["name"]: one for one in found["measures"]}
    assert (by["complaints"]["candidate"], by["complaints"]["stable"]) == (1.0, 0.0)


async def test_a_shadow_is_judged_pair_by_pair(house: House) -> None:
    async with opened(house.settings(shadow_running=50)) as api:
        await tried(api, house, "shadow", 1.0, config("I cannot answer that."))
        for n in range(20):
            await api.ask(session=f"s{n}")
        await asyncio.gather(*api.app.state.service.shadows._tasks)
        await written(api)
        found = (await api.client.get(VERDICT, params={"minutes": 0, "at_least": 1})).json()
    by = {one["name"]: one for one in found["measures"]}
    assert (found["callers"], found["mode"], by["disagreements"]["candidate"]) == (20, "shadow", 1.0)
    assert (found["verdict"], by["refused"]["outcome"], by["refused"]["difference"]) == ("worse", "worse", 1.0)
    assert by["disagreements"]["outcome"] == "undecided"  # which of them is right nobody has measured


async def test_a_question_that_failed_counts_and_is_in_no_list_of_traces(house: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        raise RuntimeError("boom")

    async with opened(house.settings(traces=str(house.root / "own.db")), load=interrupted(fail)) as api:
        await tried(api, house, "canary", 0.5)
        codes = {(await api.ask(session=f"s{n}")).status_code for n in range(10)}
        await written(api)
        found = (await api.client.get(VERDICT, params={"minutes": 0})).json()
        listed = (await api.client.get("/v1/traces")).json()["traces"]
        counted = (await api.client.get("/v1/admin/traffic")).json()["questions"]
    assert codes == {500}
    failed = next(one for one in found["measures"] if one["name"] == "failed")
    assert (found["callers"], failed["candidate"], failed["stable"]) == (10, 1.0, 1.0)
    assert (listed, counted) == ([], 0)


async def test_a_shadow_that_failed_is_paired_with_what_was_shown(house: House) -> None:
    asked: set[str] = set()

    async def fail(query: Query, emit: Emit | None) -> None:
        if query.id in asked:
            raise ModelError("out")
        asked.add(query.id)

    async with opened(house.settings(), load=interrupted(fail)) as api:
        await tried(api, house, "shadow", 1.0)
        assert (await api.ask()).status_code == 200
        await asyncio.gather(*api.app.state.service.shadows._tasks)
        await written(api)
        found = (await api.client.get(VERDICT, params={"minutes": 0})).json()
    failed = next(one for one in found["measures"] if one["name"] == "failed")
    assert (found["callers"], failed["candidate"], failed["stable"]) == (1, 1.0, 0.0)


@pytest.mark.parametrize(
    "asked", [{"alpha": 0}, {"alpha": 0.5}, {"margin": 0}, {"slow_ms": 0}, {"minutes": -1}, {"at_least": 0}, {"alpha": "nan"}]
)
async def test_what_cannot_be_asked_is_refused(furnished: House, asked: dict[str, float]) -> None:
    async with opened(furnished.settings()) as api:
        assert (await api.client.get(VERDICT, params=asked)).status_code == 422


async def test_only_the_operators_administrators_are_told(house: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    people = [
        Caller(id="root", scopes=frozenset({"admin"})),
        Caller(id="ada", tenant="acme", scopes=frozenset({"admin"})),
        Caller(id="reader"),
    ]
    keys = [create_key(path, caller) for caller in people]
    async with opened(house.settings(api_keys=path)) as api:
        await try_beside(house, "canary", 0.5)
        codes = [(await api.client.get(VERDICT, headers=bearer(key))).status_code for key in keys]
        nowhere = await api.client.get("/v1/admin/channels/nowhere/verdict", headers=bearer(keys[0]))
    assert codes == [200, 403, 403]
    assert nowhere.status_code == 404


async def test_a_session_is_its_tenants_and_nobody_asks_in_anothers_name(house: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    people = [
        Caller(id="api", tenant="acme"),
        Caller(id="api", tenant="globex"),
        Caller(id="other", tenant="globex"),
        Caller(id="root", scopes=frozenset({"admin"})),
    ]
    acme, globex, other, root = [bearer(create_key(path, caller)) for caller in people]
    asked = [(acme, "1"), (globex, "1"), (other, "1"), (acme, None), (globex, None), (other, "api")]
    async with opened(house.settings(api_keys=path)) as api:
        await try_beside(house, "canary", 0.5)
        await api.release_manager.refresh()
        for headers, session in asked:
            body = {"question": QUESTION} | ({"session": session} if session else {})
            assert (await api.client.post("/v1/query", json=body, headers=headers)).status_code == 200
        await written(api)
        found = (await api.client.get(VERDICT, params={"minutes": 0, "at_least": 1}, headers=root)).json()
        shares = {one.draw.share for one in api.app.state.service.traces.store.summaries(TraceQuery()) if one.draw}
    assert len(shares) == 5  # two keys of a tenant may lead one conversation
    assert found["callers"] == 5


async def test_a_server_without_traces_says_so(house: House) -> None:
    async with opened(house.settings(keep_traces=False)) as api:
        await try_beside(house, "canary", 0.5)
        found = await api.client.get(VERDICT)
    assert (found.status_code, "keeps no traces" in found.json()["detail"]) == (404, True)
