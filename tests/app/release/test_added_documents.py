"""Documents that are added while the server runs are found, and removed ones are not, on every replica."""

import asyncio
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serving.app.release.added import DocumentFollower
from serving.app.release.loaded import load
from serving.app.traces.writer import TraceWriter
from serving.documents.open import open_documents
from serving.documents.record import NewDocument
from serving.pipeline.errors import StoreError
from serving.pipeline.types import Query
from serving.traces.record import REMOVED
from tests.app.making import House, Open, config, opened
from tests.support.releasing import point
from tests.support.waiting import WITHIN_S, eventually

MOON = b"# Lunar travel\n\nTravel to the moon is booked by the lunar desk, and takes nine days."
ASKED = "Who books lunar travel?"


def follower(api: Open) -> DocumentFollower:
    return api.app.state.service.documents


async def follow(api: Open) -> None:
    """One round of what the server does by itself."""
    await follower(api).refresh()
    while await follower(api).index_once():
        pass


async def found(api: Open, question: str = ASKED) -> list[str]:
    body = (await api.client.post("/v1/retrieve", json={"question": question})).json()
    return [passage["document"] for passage in body["passages"]]


def add(api: Open, name: str = "moon.md", data: bytes = MOON, **about: object) -> str:
    return follower(api).documents.put(NewDocument.model_validate({"name": name, **about}), data).record.id


def by_hand(house: House):
    """An app that follows and indexes only when it is told to."""
    return opened(house.settings(index_documents=False, documents_poll_s=3600))


async def test_an_added_document_is_found_and_a_deleted_one_is_not(house: House):
    async with by_hand(house) as api:
        before = (await api.client.get("/v1/release")).json()
        assert before["corpus"] | {"proven": ""} == {"proven": "", "version": "", "added": 0, "removed": 0}
        ready = (await api.client.get("/readyz")).json()
        ident = add(api)
        assert ident not in await found(api)
        await follow(api)
        assert (await found(api))[0] == ident
        after = (await api.client.get("/v1/release")).json()
        assert (after["corpus"]["added"], after["digest"], after["index"]) == (1, before["digest"], before["index"])
        assert after["corpus"]["version"]
        assert after["corpus"]["proven"] == before["corpus"]["proven"] == before["index"]["corpus_digest"]
        assert (await api.client.get("/readyz")).json() == ready
        follower(api).documents.delete([ident, "leave.md"])
        await follower(api).refresh()
        assert not {ident, "leave.md"} & set(await found(api, "paid leave and lunar travel"))
        assert (await api.client.get("/v1/release")).json()["corpus"]["removed"] == 1
        assert 'touchstone_documents{state="deleted"} 2.0' in await api.metric("touchstone_documents")


async def test_the_server_indexes_what_is_added_by_itself(house: House):
    async with opened(house.settings(documents_poll_s=0.02)) as api:
        ident = add(api)
        follower(api).wake()

        await eventually(lambda: follower(api).state.states["ready"] == 1)
        assert ident in await found(api)
        await eventually(lambda: follower(api).state.behind_s == 0.0)  # a look at the store may be late on a busy machine


async def test_a_change_is_behind_since_it_was_made_whatever_is_said_of_it_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch):
    async with by_hand(house) as api:
        ident = add(api)
        await follower(api).refresh()
        monkeypatch.setattr(follower(api), "_wall", lambda: time.time() + 1000)
        store = follower(api).documents
        monkeypatch.setattr(store, "_now", lambda: datetime.now(UTC) + timedelta(seconds=900))
        store.advance([store.get(ident).model_copy(update={"state": "indexing", "progress": 0.5})])
        assert follower(api).state.behind_s >= 1000
        assert (await api.client.get(f"/v1/documents/{ident}")).json()["progress"] == 0.5
        await follow(api)
        assert follower(api).state.behind_s == 0
        assert (await api.client.get(f"/v1/documents/{ident}")).json()["progress"] == 1.0


async def test_another_replica_sees_what_one_has_indexed(house: House):
    place = house.settings(index_documents=False, documents_poll_s=3600)
    async with opened(place) as one, opened(place) as other:
        ident = add(one)
        await follow(one)
        await follower(other).refresh()
        assert ident in await found(other)
        follower(other).documents.delete([ident])
        await follower(one).refresh()
        assert ident not in await found(one)


async def test_who_may_not_read_an_added_document_does_not_find_it(house: House):
    async with by_hand(house) as api:
        restricted = add(api, groups=("board",))
        other = add(api, "acme.md", tenant="acme")
        await follow(api)
        assert not {restricted, other} & set(await found(api))


async def test_a_cached_answer_is_not_given_after_a_change_that_may_matter(house: House):
    await house.release(config(**{"cache.lookup": {"name": "exact"}}))
    async with by_hand(house) as api:
        pipeline = api.release_manager.serving.pipeline

        async def cached() -> bool:
            return (await pipeline.answer(Query(ASKED))).cached

        assert [await cached(), await cached()] == [False, True]
        ident = add(api)
        assert await cached()
        await follow(api)
        assert [await cached(), await cached()] == [False, True]
        add(api, "acme.md", tenant="acme")  # no answer of the public depends on it
        await follow(api)
        assert await cached()
        follower(api).documents.delete([ident])
        await follower(api).refresh()
        trace = await pipeline.answer(Query(ASKED))
        assert not trace.cached
        assert ident not in {hit.chunk.document_id for hit in trace.passages}


async def test_the_words_of_a_deleted_document_leave_traces_and_cached_answers(house: House):
    await house.release(config(**{"cache.lookup": {"name": "exact"}}))
    async with by_hand(house) as api:
        ident = add(api)
        await follow(api)
        answer = (await api.ask(ASKED)).json()
        writer = api.app.state.service.traces
        await eventually(lambda: not writer.waiting)
        assert ident in writer.store.get(answer["trace_id"]).documents
        follower(api).documents.delete([ident])
        await follower(api).refresh()
        await follower(api).forget_words()
        kept = writer.store.get(answer["trace_id"])
        assert ident not in kept.documents
        assert "lunar desk" not in str(kept.trace)
        assert kept.value().answer.text in (REMOVED, answer["answer"])


async def test_a_deletion_is_shown_and_answered_while_words_are_still_being_taken_out_of_traces(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    begun, go = threading.Event(), threading.Event()

    def slow(self: TraceWriter, document_id: str, until: float) -> int:
        begun.set()
        assert go.wait(3 * WITHIN_S)
        return 0

    monkeypatch.setattr(TraceWriter, "forget_document", slow)  # a trace store with thousands of them, or one that is out
    await house.release(config())
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        try:
            first, second = add(api, "moon.md"), add(api, "sun.md")
            async with asyncio.timeout(2 * WITHIN_S):
                assert (await api.client.delete(f"/v1/documents/{first}")).status_code == 204
                assert await asyncio.to_thread(begun.wait, WITHIN_S)
                assert (await api.client.delete(f"/v1/documents/{second}")).status_code == 204
                third, view = add(api, "mars.md"), follower(api).view.version

                def shown() -> bool:
                    return follower(api).view.version != view and follower(api).state_of(follower(api).documents.get(third)) == "ready"

                await eventually(shown)
        finally:
            go.set()


async def test_a_new_release_with_other_chunks_has_the_added_documents_before_it_is_served(house: House):
    async with opened(house.settings()) as api:
        ident = add(api)
        await follow(api)
        await house.release(config(**{"index.chunker": {"name": "sentence"}}))
        await api.release_manager.refresh()
        assert api.release_manager.serving.documents.view.added == 1
        assert ident in await found(api)


async def test_an_outage_of_the_store_leaves_what_is_served_and_is_logged_once(house: House, monkeypatch: pytest.MonkeyPatch):
    async with by_hand(house) as api:
        ident = add(api)
        await follow(api)

        def out(key: str) -> None:
            raise StoreError("the place is out of reach")

        monkeypatch.setattr(follower(api).documents.storage, "get", out)
        await follower(api).refresh()
        await follower(api).refresh()
        assert ident in await found(api)
        assert [line["reason"] for line in api.log if line["event"] == "documents not followed"] == ["the place is out of reach"]
        monkeypatch.undo()
        await follower(api).refresh()
        assert "documents followed again" in api.log_text


async def test_what_was_removed_stays_removed_after_a_restart(house: House):
    open_documents(house.settings()).delete(["leave.md"])
    loaded = await load(house.settings(), await house.release(config()))
    trace = await loaded.pipeline.search(Query("paid leave"))
    assert "leave.md" not in {hit.chunk.document_id for hit in trace.hits}
    await loaded.pipeline.aclose()


async def test_a_rollback_does_not_bring_back_what_was_deleted_meanwhile(house: House):
    async with by_hand(house) as api:
        first = api.release_manager.serving.digest
        ident = add(api)
        await follow(api)
        await house.release(config(**{"retrieve.top_k": 3}))
        await api.release_manager.refresh()
        follower(api).documents.delete([ident])
        await follower(api).refresh()
        point(house.storage, "dev", first)
        await api.release_manager.refresh()
        assert api.release_manager.serving.digest == first
        assert ident not in await found(api)


async def test_the_sweep_takes_deleted_words_out_of_what_is_kept_for_a_rollback_and_out_of_what_nobody_serves(house: House, monkeypatch):
    # nobody else indexes: a new release need not wait for it
    async with opened(house.settings(index_documents=False, documents_poll_s=3600, catch_up_s=0.0)) as api:
        documents = follower(api).documents
        ident = add(api)
        await follow(api)
        await follower(api).mark_used()
        first = api.release_manager.serving.documents
        mark = f"additions/{first.additions.recipe.index}/used"
        assert documents.storage.get(mark) is not None
        await house.release(config(**{"index.context": "title"}))
        await api.release_manager.refresh()
        second = api.release_manager.serving.documents
        assert second.additions.recipe.index != first.additions.recipe.index
        await follow(api)
        documents.delete([ident])
        await follow(api)
        assert segments(documents.storage, first)  # swept within the hour, not now
        follower(api)._swept = 0.0
        await follow(api)
        assert not segments(documents.storage, first)

        kept = add(api, "sun.md", b"# Solar travel")
        await first.catch_up(follower(api)._parser)
        assert segments(documents.storage, first)
        was = documents.storage.list

        def aged(prefix: str = ""):
            return [
                replace(entry, modified=entry.modified - timedelta(days=8)) if first.additions.recipe.index in entry.key else entry
                for entry in was(prefix)
            ]

        monkeypatch.setattr(documents.storage, "list", aged)  # a week later
        follower(api)._swept = 0.0
        await follow(api)
        assert segments(documents.storage, first)  # it is in memory
        await house.release(config(**{"index.context": "title", "retrieve.top_k": 3}))
        await api.release_manager.refresh()
        follower(api)._swept = 0.0
        await follow(api)
        assert not segments(documents.storage, first)
        assert "index configuration retired" in api.log_text
        assert kept in await found(api, "solar travel")


def segments(storage, added) -> list[str]:
    """The segments of a configuration, in its storage."""
    return [entry.key for entry in storage.list(f"additions/{added.additions.recipe.index}/segments/")]


async def test_a_mark_that_cannot_be_written_keeps_no_change_from_being_shown(house: House, monkeypatch):
    async with by_hand(house) as api:

        def fail(key: str, data: bytes) -> None:
            raise StoreError("read-only")

        additions = api.release_manager.serving.documents.additions
        monkeypatch.setattr(additions.storage, "put", fail)
        additions._marked_at = None
        follower(api).documents.delete(["leave.md"])
        await follower(api).mark_used()
        await follower(api).refresh()
        assert "leave.md" not in await found(api, "paid leave")
        assert "index configurations not marked as used" in api.log_text


async def test_no_deletion_counts_as_done_before_an_earlier_one_whose_answers_may_still_come(house: House, monkeypatch):
    """Two machines write the log, and the clock of the first is ahead: the earlier change has the later time."""
    forgotten: list[str] = []
    monkeypatch.setattr(TraceWriter, "forget_document", lambda self, document_id, until: forgotten.append(document_id))
    monkeypatch.setattr(DocumentFollower, "_forget", lambda self: asyncio.sleep(0))  # here the test looks itself
    async with by_hand(house) as api:
        now = time.time()
        wait_s = 2 * api.app.state.service.settings.request_timeout_s
        ahead, behind = add(api, "moon.md"), add(api, "sun.md")
        for ident, at in ((ahead, now + 60), (behind, now)):
            monkeypatch.setattr(follower(api).documents, "_now", lambda at=at: datetime.fromtimestamp(at, UTC))
            follower(api).documents.delete([ident])
        for passed_s in (wait_s + 1, wait_s + 61):
            monkeypatch.setattr(follower(api), "_wall", lambda passed_s=passed_s: now + passed_s)
            await follower(api).refresh()
            await follower(api).forget_words()
    assert forgotten == [ahead, behind, ahead]
