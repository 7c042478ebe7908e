import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.app.core.telemetry import make_logger
from serving.app.release.added import DocumentFollower
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.keys import Caller, create_key
from serving.pipeline.errors import StoreError
from serving.traces.record import Feedback, TraceQuery, TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from tests.app.core.test_auth import SALARIES, bearer
from tests.app.making import QUESTION, SAYS, House, Open, opened
from tests.support.waiting import eventually, until
from tests.traces.test_stores import a_trace


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of keys, and the keys by their owners."""
    path = tmp_path / "keys.yaml"
    callers = [
        Caller(id="ann", tenant="acme"),
        Caller(id="bob", tenant="acme"),
        Caller(id="director", tenant="acme", groups=frozenset({"board"})),
        Caller(id="root", tenant="acme", scopes=frozenset({"admin"})),
        Caller(id="stranger", tenant="other", scopes=frozenset({"admin"})),
    ]
    return path, {caller.id: create_key(path, caller) for caller in callers}


async def get(api: Open, path: str, key: str = "") -> Any:
    return await api.client.get(path, headers=bearer(key) if key else {})


async def test_a_question_is_found_again_with_its_whole_journey(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        answer = (await api.ask()).json()
        found = await get(api, f"/v1/traces/{answer['trace_id']}")
    assert found.status_code == 200
    trace = found.json()
    assert (trace["query"], trace["llm_response"], trace["role"]) == (QUESTION, SAYS, "stable")
    assert trace["release"] == answer["release"]
    assert trace["retrieved_docs"][0]["document"] == "leave.md"
    assert len(trace["retrieval_scores"]) == len(trace["retrieved_docs"])
    assert trace["reranked_docs"]
    assert QUESTION in trace["final_prompt"]
    assert [stage["stage"] for stage in trace["latency"]] == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]
    assert trace["citations"] == answer["citations"]


async def test_traces_of_others_are_not_even_known_to_be_there(furnished: House, keys: tuple[Path, dict[str, str]]) -> None:
    path, of = keys
    async with opened(furnished.settings(api_keys=path, traces=str(path.with_name("traces.db")))) as api:
        asked = await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(of["ann"]))
        address = f"/v1/traces/{asked.json()['trace_id']}"
        codes = {name: (await get(api, address, key)).status_code for name, key in of.items()}
        unknown = await get(api, "/v1/traces/nothing", of["bob"])
        hidden = await get(api, address, of["bob"])
        await _written(api)
        lists = {name: len((await get(api, "/v1/traces", key)).json()["traces"]) for name, key in of.items()}
    assert codes == {"ann": 200, "bob": 404, "director": 404, "root": 200, "stranger": 404}
    assert lists == {"ann": 1, "bob": 0, "director": 0, "root": 1, "stranger": 0}
    assert unknown.json()["detail"].replace("nothing", address.rpartition("/")[2]) == hidden.json()["detail"]


async def test_an_administrator_reads_no_passage_that_is_for_another_group(furnished: House, keys: tuple[Path, dict[str, str]]) -> None:
    path, of = keys
    async with opened(furnished.settings(api_keys=path, traces=str(path.with_name("traces.db")))) as api:
        asked = await api.client.post("/v1/query", json={"question": SALARIES}, headers=bearer(of["director"]))
        address = f"/v1/traces/{asked.json()['trace_id']}"
        own, admins = (await get(api, address, of["director"])).json(), (await get(api, address, of["root"])).json()
    assert "salaries.md" in {hit["document"] for hit in own["retrieved_docs"]}
    assert "salaries.md" not in {hit["document"] for hit in admins["retrieved_docs"]}
    assert "40 days" in str(own)
    assert "40 days" not in str(admins)
    assert admins["query"] == SALARIES


async def test_feedback_is_kept_once_and_the_same_again_replaces_it(furnished: House, keys: tuple[Path, dict[str, str]]) -> None:
    path, of = keys
    async with opened(furnished.settings(api_keys=path, traces=str(path.with_name("traces.db")))) as api:
        asked = await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(of["ann"]))
        ident = asked.json()["trace_id"]

        async def say(who: str, **said: Any) -> Any:
            return await api.client.post("/v1/feedback", json={"trace_id": ident, **said}, headers=bearer(of[who]))

        first = await say("ann", kind="thumbs", value=1)
        again = await say("ann", kind="thumbs", value=-1)
        await say("ann", kind="correction", text="It is 30 days <script>alert(1)</script>.")
        clicks = [await say("ann", kind="click", value=marker) for marker in (1, 2, 1)]
        assert (await say("bob", kind="thumbs", value=1)).status_code == 404
        kept = (await get(api, f"/v1/traces/{ident}", of["ann"])).json()["feedback"]
        counted = await api.metric("touchstone_feedback_total")
    assert first.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    assert len({click.json()["id"] for click in clicks}) == 2
    assert sorted((one["kind"], one["value"]) for one in kept if one["kind"] != "correction") == [
        ("click", 1),
        ("click", 2),
        ("thumbs", -1),
    ]
    assert [one["text"] for one in kept if one["kind"] == "correction"] == ["It is 30 days <script>alert(1)</script>."]
    assert 'touchstone_feedback_total{kind="thumbs",value="-1"} 1.0' in counted


async def test_personal_data_stays_in_no_trace_and_no_feedback(furnished: House, tmp_path: Path) -> None:
    place = tmp_path / "traces.db"
    async with opened(furnished.settings(traces=str(place))) as api:
        asked = await api.ask("Does jane.roe@example.com with card 4111 1111 1111 1111 have paid leave?")
        ident = asked.json()["trace_id"]
        early = (await get(api, f"/v1/traces/{ident}")).text
        await api.client.post("/v1/feedback", json={"trace_id": ident, "kind": "correction", "text": "Ask joe.doe@example.com."})
    kept = place.read_bytes() + early.encode()
    assert b"<EMAIL_ADDRESS>" in kept
    assert b"<CREDIT_CARD>" in kept
    for secret in (b"jane.roe", b"4111 1111", b"joe.doe"):
        assert secret not in kept


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"kind": "thumbs", "value": 2}, "value of thumbs is one of 1, -1"),
        ({"kind": "thumbs"}, "value of thumbs"),
        ({"kind": "rating", "value": 0}, "1, 2, 3, 4, 5"),
        ({"kind": "correction", "text": "  "}, "what would have been right"),
        ({"kind": "click"}, "the marker"),
        ({"kind": "praise"}, "kind"),
        ({"kind": "correction", "text": "x" * 5000}, "text"),
    ],
)
async def test_feedback_that_is_none_is_refused(furnished: House, said: dict[str, Any], words: str) -> None:
    async with opened(furnished.settings()) as api:
        answer = await api.client.post("/v1/feedback", json={"trace_id": "t", **said})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_no_feedback_spoils_a_trace_or_what_administrators_see(furnished: House, tmp_path: Path) -> None:
    async with opened(furnished.settings(traces=str(tmp_path / "t.db"))) as api:
        ident = (await api.ask()).json()["trace_id"]
        await _written(api)
        said = b'{"trace_id": "%b", "kind": "abandon", "value": 1e999}' % ident.encode()
        refused = await api.client.post("/v1/feedback", content=said, headers={"Content-Type": "application/json"})
        old = Feedback("f", ident, time.time(), "public", "anonymous", "abandon", float("inf"))  # as earlier versions took it
        api.app.state.service.traces.store.put_feedback(old)
        shown, counted = await get(api, f"/v1/traces/{ident}"), await get(api, "/v1/admin/traffic")
    assert (refused.status_code, refused.json()["detail"]) == (400, "The body is not JSON: a number is too large.")
    assert (shown.status_code, counted.status_code) == (200, 200)
    assert [one["value"] for one in counted.json()["feedback"]] == [None]


async def test_a_list_is_read_page_by_page(furnished: House, tmp_path: Path) -> None:
    async with opened(furnished.settings(traces=str(tmp_path / "traces.db"))) as api:
        asked = [(await api.ask(f"Question {n}?")).json()["trace_id"] for n in range(5)]
        await _written(api)
        seen: list[str] = []
        page = (await get(api, "/v1/traces?limit=2")).json()
        while True:
            seen += [line["id"] for line in page["traces"]]
            if page["next"] is None:
                break
            page = (await api.client.get("/v1/traces", params={"limit": 2, "before": page["next"]})).json()
        bad = await get(api, "/v1/traces?before=yesterday")
    assert seen == asked[::-1]
    assert bad.status_code == 422


@pytest.mark.parametrize("before", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "0001-01-01T00:00:00+23:59"])
async def test_a_list_may_be_asked_before_any_time(furnished: House, before: str) -> None:
    async with opened(furnished.settings()) as api:
        assert (await api.client.get("/v1/traces", params={"before": before})).status_code == 200


async def test_a_server_that_keeps_no_traces_says_so(furnished: House, tmp_path: Path) -> None:
    async with opened(furnished.settings(keep_traces=False, traces=str(tmp_path / "traces.db"))) as api:
        answer = (await api.ask()).json()
        for path in ("/v1/traces", f"/v1/traces/{answer['trace_id']}"):
            assert (await get(api, path)).json()["detail"] == "This server keeps no traces."
    assert not (tmp_path / "traces.db").exists()


async def test_a_server_that_stops_has_written_every_trace(furnished: House, tmp_path: Path) -> None:
    async with opened(furnished.settings(traces=str(tmp_path / "traces.db"))) as api:
        asked = {(await api.ask(f"Question {n}?")).json()["trace_id"] for n in range(30)}
    store = SqliteTraceStore(tmp_path / "traces.db")
    assert asked <= {record.id for record in store.find(TraceQuery(limit=100))}


class Failing:
    """A store that is out until it is not."""

    place = "nowhere"

    def __init__(self) -> None:
        self.out = True
        self.kept: list[TraceRecord] = []

    def put(self, traces: Sequence[TraceRecord]) -> None:
        if self.out:
            raise StoreError("The trace store nowhere does not answer.")
        self.kept += traces

    def forget_before(self, at: float) -> int:
        return 0

    def close(self) -> None:
        """Nothing."""


def test_traces_wait_while_the_store_is_out_and_beyond_the_bound_they_are_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.traces.writer.RETRY_S", 0.01)  # a constant of the module, so that the test is quick
    store, log = Failing(), io.StringIO()
    unstarted: Any = TraceWriter(store, make_logger(AppSettings(_env_file=None), log), most=3, retention_s=0.0)  # type: ignore[arg-type]
    for n in range(5):
        unstarted.answered(a_trace(f"t{n}"))
    assert (unstarted.waiting, unstarted.lost) == (3, 2)
    unstarted.start()
    until(lambda: unstarted.failing)
    found = unstarted.find("t0")
    assert found is not None
    store.out = False
    until(lambda: not unstarted.waiting)
    unstarted.close()
    assert [record.id for record in store.kept] == ["t0", "t1", "t2"]
    assert log.getvalue().count("traces not written") == 1
    assert "traces written again" in log.getvalue()


async def _written(api: Open) -> None:
    """Until every trace is in the store."""
    await eventually(lambda: not api.app.state.service.traces.waiting)


async def test_a_part_that_fails_at_the_end_keeps_no_trace_from_being_written(
    furnished: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: DocumentFollower) -> None:
        raise RuntimeError("a follower that crashed")

    monkeypatch.setattr(DocumentFollower, "aclose", broken)

    settings = furnished.settings(traces=str(tmp_path / "traces.db"))
    with pytest.raises(RuntimeError, match="a follower that crashed"):
        async with opened(settings) as api:
            asked = (await api.ask()).json()["trace_id"]
    assert SqliteTraceStore(tmp_path / "traces.db").get(asked) is not None
    assert [line["event"] for line in api.log][-1] == "stopped"
