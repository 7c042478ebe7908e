"""What an index configuration holds that nobody serves any more is taken away, whoever comes back to it meanwhile."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import Filter
from serving.pipeline.index.layered.additions import Additions
from serving.pipeline.index.layered.unused import retire_unused
from serving.pipeline.index.parse import Parser
from serving.storage.base import Entry, Storage
from tests.documents.making import proven_index, put, replica, settings_at, small_config
from tests.support.killing import killing

OTHER = small_config(chunker={"name": "recursive", "size": 300, "overlap": 0})
DAYS = timedelta(days=8)
LOGGED = ["log/changes/000000000002.json"]  # kept for ten minutes, for who has the segments in memory


class Aged:
    """A storage in which the keys that are there now, and have one of these in them, were written eight days earlier."""

    def __init__(self, storage: Storage, *parts: str) -> None:
        self._storage = storage
        self._old = {entry.key for entry in storage.list() if any(part in entry.key for part in parts)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in self._storage.list(prefix):
            yield replace(entry, modified=entry.modified - DAYS) if entry.key in self._old else entry


async def found(served: IndexedDocuments, text: str = "lunar") -> list[str]:
    return sorted(hit.chunk.document_id for hit in await served.store.search_text(text, 99, Filter()))


def keys(served: IndexedDocuments) -> list[str]:
    """What there is of a configuration, without its lock."""
    prefix = f"additions/{served.additions.recipe.index}/"
    names = [entry.key.removeprefix(prefix) for entry in served.documents.storage.list(prefix)]
    return [name for name in names if name != "indexing.lock"]


def words(served: IndexedDocuments) -> bool:
    """Whether the word of the tests is anywhere below the segments' prefix."""
    storage = served.documents.storage
    return any(b"lunar" in storage.get(f"additions/{served.additions.recipe.index}/{key}").data for key in keys(served))


async def two(place) -> tuple[IndexedDocuments, IndexedDocuments, list[str]]:
    """A configuration that was served until another one took over, and that one; two documents in both."""
    last, now = await replica(place), await replica(place, OTHER)
    ids = [put(now.documents, name, f"lunar tax of {name}") for name in ("gone.md", "kept.md")]
    await last.catch_up(Parser())
    await now.catch_up(Parser())
    return last, now, ids


async def test_the_words_of_a_deleted_document_leave_a_configuration_that_nobody_serves(storage_uri: str, tmp_path: Path):
    last, now, (gone, kept) = await two(settings_at(tmp_path, storage_uri))
    now.documents.delete([gone])
    await now.step(Parser())
    assert words(last)  # nobody drops them there
    recipe = last.additions.recipe.index
    storage = Aged(now.documents.storage, recipe)
    assert retire_unused(now.documents.storage, {now.additions.recipe.index}) == []  # it was used today
    assert retire_unused(storage, {now.additions.recipe.index}) == [recipe]
    assert not words(last)
    assert keys(last) == [*LOGGED, "log/snapshot.json", "log/snapshots/000000000002.json", "used"]
    assert await found(now) == [kept]

    await last.refresh()  # it had the segments in memory all the time
    back = await replica(settings_at(tmp_path, storage_uri))  # a rollback
    await back.refresh()
    assert (await found(last), await found(back)) == ([], [])
    await back.catch_up(Parser())
    await last.refresh()
    assert (await found(last), await found(back)) == ([kept], [kept])
    again = [segment.name for segment in back.additions.segments]
    assert [segment.name for segment in last.additions.segments] == again


async def test_of_a_configuration_that_was_emptied_only_the_end_of_its_log_is_left(storage_uri: str, tmp_path: Path):
    last, now, _ = await two(settings_at(tmp_path, storage_uri))
    recipe, kept = last.additions.recipe.index, {now.additions.recipe.index}
    assert retire_unused(Aged(now.documents.storage, recipe), kept) == [recipe]
    assert retire_unused(Aged(now.documents.storage, recipe), kept) == []
    end = ["log/snapshot.json", "log/snapshots/000000000002.json", "used"]
    assert keys(last) == end
    assert retire_unused(Aged(now.documents.storage, recipe), kept) == []
    assert keys(last) == end


async def test_what_is_kept_or_marked_or_being_indexed_stays(storage_uri: str, tmp_path: Path):
    last, now, ids = await two(settings_at(tmp_path, storage_uri))
    recipe, other = last.additions.recipe.index, now.additions.recipe.index
    storage = now.documents.storage
    assert retire_unused(Aged(storage, recipe), {recipe, other}) == []
    assert retire_unused(Aged(storage, f"{recipe}/segments", f"{recipe}/log"), {other}) == []  # marked today
    with storage.lock(last.additions.lock_key):
        assert retire_unused(Aged(storage, recipe), {other}) == []
    await last.refresh()
    assert await found(last) == sorted(ids)
    assert retire_unused(storage, ()) == []


async def test_a_folder_from_before_the_mark_goes_by_its_newest_object(storage_uri: str, tmp_path: Path):
    last, now, _ = await two(settings_at(tmp_path, storage_uri))
    recipe, storage = last.additions.recipe.index, now.documents.storage
    storage.delete(f"additions/{recipe}/used")
    kept = {now.additions.recipe.index}
    assert retire_unused(Aged(storage, f"{recipe}/segments"), kept) == []
    assert retire_unused(Aged(storage, f"{recipe}/segments", f"{recipe}/log"), kept) == [recipe]  # its lock was just taken
    assert not words(last)


async def test_a_mark_that_was_set_while_it_waited_keeps_the_configuration(tmp_path: Path):
    last, now, ids = await two(settings_at(tmp_path))
    recipe = last.additions.recipe.index

    class MarkedMeanwhile(Aged):
        def lock(self, key: str, *, wait: bool = True):
            self._old.discard(f"additions/{recipe}/used")
            return self._storage.lock(key, wait=wait)

    assert retire_unused(MarkedMeanwhile(now.documents.storage, recipe), ()) == []
    await last.refresh()
    assert await found(last) == sorted(ids)


async def test_what_was_begun_goes_too(tmp_path: Path):
    last, now, _ = await two(settings_at(tmp_path))
    recipe, storage = last.additions.recipe.index, now.documents.storage
    storage.put(f"additions/{recipe}/begun/0123/part.bin", b"vectors")
    assert retire_unused(Aged(storage, recipe), ()) == [recipe]
    assert [key for key in keys(last) if key.startswith("begun/")] == []


async def test_a_mark_is_written_once_a_day_and_by_whoever_indexes(tmp_path: Path):
    served = await replica(settings_at(tmp_path))
    put(served.documents, "moon.md", "lunar tax")
    await served.step(Parser())
    assert "used" in keys(served)
    at = [datetime(2026, 1, 1, tzinfo=UTC)]
    additions = Additions(served.documents.storage, served.additions.recipe, now=lambda: at[0])
    mark = f"additions/{additions.recipe.index}/used"
    written = []
    for hours in (0, 23, 2, 24):
        at[0] += timedelta(hours=hours)
        served.documents.storage.delete(mark)
        additions.mark_used()
        written.append(served.documents.storage.get(mark) is not None)
    assert written == [True, False, True, True]


async def test_a_release_kept_for_a_rollback_drops_deleted_documents_at_the_sweep(tmp_path: Path):
    last, now, (gone, kept) = await two(settings_at(tmp_path))
    now.documents.delete([gone, kept])
    last.tidy()
    assert not words(last)
    await last.refresh()
    assert last.additions.segments == ()


async def test_segments_that_are_gone_are_named_with_a_mend_that_mends(tmp_path: Path):
    last, _, ids = await two(settings_at(tmp_path))
    folder = Path(last.documents.storage.place) / "additions" / last.additions.recipe.index
    shutil.rmtree(folder / "segments")
    back = await replica(settings_at(tmp_path))
    with pytest.raises(StoreError, match="Stop the servers and remove that folder"):
        await back.refresh()
    shutil.rmtree(folder)
    back = await replica(settings_at(tmp_path))
    await back.catch_up(Parser())
    assert await found(back) == sorted(ids)


@pytest.mark.slow
async def test_killed_at_any_write_the_next_sweep_goes_on_and_whoever_comes_back_indexes_anew(tmp_path: Path):
    home = tmp_path / "first"
    place = settings_at(home)
    await proven_index(place)
    last, now, (gone, kept) = await two(place)
    more = put(now.documents, "more.md", "lunar tax of more")
    await last.step(Parser())
    await now.step(Parser())
    now.documents.delete([gone])
    recipe = last.additions.recipe.index
    for path in (Path(last.documents.storage.place) / "additions" / recipe).rglob("*"):
        os.utime(path, (old := (datetime.now(UTC) - DAYS).timestamp(), old))
    assert words(last)
    work = tmp_path / "work"
    with killing("tests.documents.work:retire", str(work)) as killed:
        for write in range(1, 30):
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(home, work)  # with the times
            code = killed(write)
            shutil.rmtree(tmp_path / "again", ignore_errors=True)
            shutil.copytree(work, tmp_path / "again")
            back = await replica(settings_at(tmp_path / "again"))  # somebody serves it again, right now
            await back.catch_up(Parser())
            await back.step(Parser())
            assert await found(back) == sorted([kept, more])
            back.additions.remove_orphans()
            assert len([key for key in keys(back) if key.startswith("segments/")]) == len(back.additions.segments)
            retire_unused(open_documents(settings_at(work)).storage, {now.additions.recipe.index})  # or nobody does
            left = await replica(settings_at(work))
            assert not words(left)
            assert not [key for key in keys(left) if key.startswith(("segments/", "begun/"))]
            if code == 0:
                break
            assert code == -signal.SIGKILL
        else:
            pytest.fail("it never came to its end")
        assert write > 6
