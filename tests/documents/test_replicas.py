"""Replicas that share a store: what one does the others see, whoever is killed on the way."""

import asyncio
import shutil
import signal
from pathlib import Path

import pytest

from serving.documents.open import open_documents
from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.base import Filter
from serving.pipeline.index.parse import Parser
from serving.storage.lease import LeaseClock
from tests.documents.making import proven_index, put, replica, settings_at
from tests.documents.work import NAMES
from tests.support.killing import killing


async def found(served, text: str = "lunar") -> list[str]:
    return sorted(hit.chunk.document_id for hit in await served.store.search_text(text, 99, Filter()))


async def test_a_change_of_one_replica_is_seen_by_the_other(storage_uri: str, tmp_path: Path):
    place = settings_at(tmp_path, storage_uri)
    one, other = await replica(place), await replica(place)
    ident = put(one.documents, "moon.md", "lunar tax")
    await one.step(Parser())
    assert await other.refresh()
    assert await found(other) == await found(one) == [ident]
    assert other.view.version == one.view.version != ""
    assert not await other.refresh()
    other.documents.delete([ident, "leave.md"])
    await one.refresh()
    assert await found(one) == []
    assert await found(one, "paid leave") == []
    await other.step(Parser())  # tidies: nothing of its words is left
    assert [
        entry.key for entry in one.documents.storage.list() if entry.key.endswith(".bin") or entry.key.startswith(("files/", "texts/"))
    ] == []


async def test_replicas_that_index_at_once_index_every_document_once(storage_uri: str, tmp_path: Path):
    place = settings_at(tmp_path, storage_uri)
    replicas = [await replica(place) for _ in range(3)]
    for number in range(8):
        put(replicas[number % 3].documents, f"{number}.md", f"lunar tax {number}")
    done = await asyncio.gather(*(one.catch_up(Parser(), pause_s=0.02) for one in replicas))
    assert sum(one.documents for one in done) == 8
    for one in replicas:
        await one.refresh()
        assert len(await found(one)) == 8
        assert [record.state for record in one.documents.current.live] == ["ready"] * 8


async def test_a_lease_that_was_lost_while_indexing_does_no_harm(tmp_path: Path, s3_bucket: str):
    place = settings_at(tmp_path, f"s3://{s3_bucket}/kept")
    one, other = await replica(place), await replica(place)
    one.documents.storage._clock = LeaseClock(lease_s=0.0)  # others may take it at once
    ids = [put(one.documents, f"{number}.md", f"lunar tax {number}") for number in range(3)]
    await asyncio.gather(one.step(Parser()), other.step(Parser()))
    for each in (one, other):
        await each.refresh()
        assert await found(each) == sorted(ids)
    other.documents.storage._clock = LeaseClock(lease_s=0.0)
    await other.step(Parser())
    held = [document.id for segment in other.additions.segments for document in segment.documents]
    assert sorted(held) == sorted(ids)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    asyncio.run(proven_index(settings_at(home)))
    return home


@pytest.mark.slow
async def test_killed_before_any_write_it_goes_on_and_ends_in_the_same_state(home: Path):
    with killing("tests.documents.work:add_and_index", str(home)) as killed:
        killed(1)  # the first also builds the index
        for write in range(2, 60, 4):
            shutil.rmtree(home / "home" / "documents", ignore_errors=True)
            code = killed(write)
            served = await replica(settings_at(home))
            await served.catch_up(Parser(), pause_s=0.02)
            known = {record.id for record in served.documents.current.live}
            assert set(await found(served)) == known  # what was acknowledged is found
            assert killed(1000) == 0  # the whole work again
            await served.catch_up(Parser(), pause_s=0.02)
            await served.refresh()
            assert await found(served) == [f"wiki/{NAMES[0]}", f"wiki/{NAMES[2]}"]
            assert await found(served, "paid leave") == []
            assert len(list(served.documents.storage.list("files/"))) <= 2 + 1  # one of a killed writer goes after an hour
            if code == 0:
                break
            assert code == -signal.SIGKILL
        else:
            pytest.fail("it never came to its end")
        assert write > 8


async def test_a_damaged_segment_is_named_and_not_searched(tmp_path: Path):
    place = settings_at(tmp_path)
    one = await replica(place)
    put(one.documents, "moon.md", "lunar tax")
    await one.step(Parser())
    [key] = [entry.key for entry in one.documents.storage.list("additions/") if entry.key.endswith(".bin")]
    blob = one.documents.storage.get(key)
    one.documents.storage.put(key, blob.data[:-1] + bytes([blob.data[-1] ^ 1]))
    other = await replica(place)
    with pytest.raises(IntegrityError, match=r"segment .* is not what was written"):
        await other.refresh()


async def test_the_same_bytes_that_are_added_by_two_at_once_are_one_document(storage_uri: str, tmp_path: Path):
    place = settings_at(tmp_path, storage_uri)
    stores = [open_documents(place) for _ in range(3)]
    await asyncio.gather(*(asyncio.to_thread(put, store, "moon.md", "lunar") for store in stores))
    assert len(stores[0].refresh().records) == 1
    assert len(list(stores[0].storage.list("files/"))) == 1
