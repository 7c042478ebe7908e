"""A damaged or changed index is refused when it is opened: it never gives other hits."""

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import pytest

from serving.pipeline.config import RagConfig
from serving.pipeline.errors import IntegrityError, StoreError
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import OpenIndex, build_index, ensure_index, open_index_at
from serving.pipeline.index.content import content_digest
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.embed import embed
from serving.pipeline.index.manifest import read_manifest, write_manifest
from serving.pipeline.index.resident.open import FILE
from serving.pipeline.index.stores.lance import LanceStore
from serving.pipeline.index.sums import write_sums
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document
from serving.storage.folder import FolderStorage

CORPUS = Corpus.of(
    "acme",
    [
        Document(
            f"doc{n}.md", f"# Doc {n}\n\nLeave rule {n}: 25 days. " * 4, groups=("hr",) if n % 2 else (), metadata={"status": "current"}
        )
        for n in range(6)
    ],
)
HERE = PipelineSettings(_env_file=None)


def config(store: str = "lancedb") -> RagConfig:
    return RagConfig().replace({"index.embedder.name": "local:hashing", "index.store.name": store, "index.chunker.size": 160})


async def build(home: Path, store: str = "lancedb", **params: int) -> Path:
    chosen = config(store).replace({f"index.store.{name}": value for name, value in params.items()})
    index = await build_index(CORPUS, chosen, settings=HERE.model_copy(update={"indexes": str(home)}))
    return home / index.digest


async def hits(index: OpenIndex) -> list[Any]:
    [query] = await embed(index.embeddings, ["Leave rule 4"])
    found = [await index.store.search_vector(query, 9, Filter()), await index.store.search_text("rule 3", 9, Filter())]
    return [*found, await index.store.slice("doc2.md", 0, 9, Filter())]


@pytest.mark.parametrize("store", ["lancedb", "memory"])
async def test_the_content_digest_is_that_of_what_the_store_holds(tmp_path: Path, store: str) -> None:
    first, second = await build(tmp_path / "a", store), await build(tmp_path / "b", store)
    opened = [await open_index_at(str(path), HERE, whole=True) for path in (first, second)]
    assert opened[0].manifest.content_digest == opened[1].manifest.content_digest
    rows = [row async for batch in opened[0].store.rows() for row in batch]
    assert content_digest(reversed(rows)) == opened[0].manifest.content_digest
    assert len(rows) == opened[0].manifest.chunks
    assert len([row async for batch in opened[0].store.rows(limit=2) for row in batch]) == 2


@pytest.mark.parametrize("store", ["memory", pytest.param("lancedb", marks=pytest.mark.slow)])
async def test_a_flipped_byte_in_any_file_is_refused_or_changes_no_hit(tmp_path: Path, store: str) -> None:
    place = await build(tmp_path, store)
    expected = await hits(await open_index_at(str(place), HERE))
    # a damaged resident file is made anew from the store of record: tests/index/test_resident.py
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.name != FILE)
    chance = random.Random(7)
    outcomes = dict.fromkeys(("refused", "same"), 0)
    for path in filter(lambda path: path.stat().st_size, files):
        whole = path.read_bytes()
        for place_in_file in {0, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(4))}:
            changed = bytearray(whole)
            changed[place_in_file] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            try:
                found = await hits(await open_index_at(str(place), HERE))
            except IntegrityError:
                outcomes["refused"] += 1
                continue
            assert found == expected, (path, place_in_file)
            outcomes["same"] += 1
        path.write_bytes(whole)
    assert outcomes["same"] <= 2  # white space in index.json
    assert outcomes["refused"] > 4 * len(files)
    assert await hits(await open_index_at(str(place), HERE)) == expected


def remove_one(data: Path) -> None:
    next(path for path in sorted(data.rglob("*")) if path.is_file()).unlink()


def add_one(data: Path) -> None:
    (data / "extra").write_bytes(b"x")


def cut_one(data: Path) -> None:
    path = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])


def drop_sums(data: Path) -> None:
    (data.parent / "lancedb.files.json").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_one, "is missing"),
        (add_one, "extra was added"),
        (cut_one, r"has \d+ bytes, not"),
        (drop_sums, "lancedb.files.json is missing"),
    ],
)
async def test_what_was_done_to_the_files_is_said(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    place = await build(tmp_path)
    change(place / "lancedb")
    with pytest.raises(IntegrityError, match=rf"{place}: the index is damaged: .*{message}.*Remove it and run: touchstone index"):
        await open_index_at(str(place), HERE)


async def change_rows(place: Path, **values: str) -> None:
    """What anybody can do who has LanceDB and the folder."""
    table = await (await lancedb.connect_async(str(place / "lancedb"))).open_table("chunks")
    await table.update(updates_sql=values)


CHANGES = [{"text": "replace(text, '25', '99')"}, {"open": "true"}, {"tenant": "'public'"}, {"facts": "make_array('x')"}]


@pytest.mark.parametrize("values", CHANGES[:2])
async def test_rows_changed_with_the_stores_own_library_are_refused(tmp_path: Path, values: dict[str, str]) -> None:
    place = await build(tmp_path)
    await change_rows(place, **values)
    with pytest.raises(IntegrityError, match="was added"):
        await open_index_at(str(place), HERE)


@pytest.mark.parametrize("values", [CHANGES[0], CHANGES[1], CHANGES[3]])
async def test_rows_changed_under_new_sums_are_found_by_reading_them(tmp_path: Path, values: dict[str, str]) -> None:
    place = await build(tmp_path, ann_above=1)  # too large for a resident searcher, which reads them when it is made
    manifest = read_manifest(str(place), HERE)
    assert manifest
    await change_rows(place, **values)
    sums = write_sums(str(place), "lancedb", FolderStorage(place))
    write_manifest(str(place), manifest.model_copy(update={"sums_sha256": sums}), HERE)
    with pytest.raises(IntegrityError, match="store has version"):
        await open_index_at(str(place), HERE)
    table = await (await lancedb.connect_async(str(place / "lancedb"))).open_table("chunks")
    renamed = manifest.model_copy(update={"sums_sha256": sums, "store_version": str(await table.version())})
    write_manifest(str(place), renamed, HERE)
    assert await open_index_at(str(place), HERE)
    with pytest.raises(IntegrityError, match="rows or vectors are not those that were built"):
        await open_index_at(str(place), HERE, whole=True)


async def test_an_index_from_before_there_were_sums_is_refused_and_built_anew_where_it_can_be(tmp_path: Path) -> None:
    place = await build(tmp_path)
    manifest = read_manifest(str(place), HERE)
    assert manifest
    write_manifest(str(place), manifest.model_copy(update={"format": 1, "content_digest": "", "sums_sha256": ""}), HERE)
    with pytest.raises(IntegrityError, match="kept no sums of an index. Remove it and run: touchstone index"):
        await open_index_at(str(place), HERE)
    again = await ensure_index(CORPUS, config(), settings=HERE.model_copy(update={"indexes": str(tmp_path)}))
    assert again.manifest.content_digest == manifest.content_digest


async def test_the_resident_searcher_is_made_of_the_rows_that_were_built_or_not_at_all(tmp_path: Path) -> None:
    place = await build(tmp_path)
    expected = await hits(await open_index_at(str(place), HERE))
    manifest = read_manifest(str(place), HERE)
    assert manifest
    await change_rows(place, **CHANGES[0])
    sums = write_sums(str(place), "lancedb", FolderStorage(place))
    write_manifest(str(place), manifest.model_copy(update={"sums_sha256": sums}), HERE)
    assert await hits(await open_index_at(str(place), HERE)) == expected, "the file has what was built"
    (place / FILE).unlink()
    with pytest.raises(IntegrityError, match="rows or vectors are not those that were built"):
        await open_index_at(str(place), HERE)
    assert not (place / FILE).exists()


@pytest.mark.parametrize("store", ["lancedb", "memory"])
async def test_a_probe_succeeds_while_questions_can_be_answered(tmp_path: Path, store: str) -> None:
    index = await open_index_at(str(await build(tmp_path, store)), HERE)
    await index.probe()  # raises where it could not be read
    assert await index.store.count() == index.manifest.chunks


async def test_a_probe_fails_when_the_index_was_moved_away(tmp_path: Path) -> None:
    place = await build(tmp_path)
    index = await open_index_at(str(place), HERE)
    await index.probe()
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        await index.probe()


async def test_a_panic_of_the_stores_rust_code_is_an_integrity_error(tmp_path: Path) -> None:
    class PanicException(BaseException):
        """Named as pyo3 names it, and like it no Exception."""

    store = LanceStore(LanceStore.Params(), uri=str(tmp_path / "x" / "lancedb"), dimensions=2, settings=HERE)
    with pytest.raises(IntegrityError, match="LanceDB gave up on it .*Remove .*/x and run: touchstone index"), store._lance_errors("read"):
        raise PanicException("index out of bounds")
    with pytest.raises(asyncio.CancelledError), store._lance_errors("read"):
        raise asyncio.CancelledError


async def test_a_damaged_copy_does_not_touch_the_original(tmp_path: Path) -> None:
    place = await build(tmp_path)
    shutil.copytree(place, tmp_path / "copy")
    cut_one(tmp_path / "copy" / "lancedb")
    with pytest.raises(IntegrityError):
        await open_index_at(str(tmp_path / "copy"), HERE)
    assert await open_index_at(str(place), HERE, whole=True)
