"""A build in parts: the same index as one process builds, no part made twice, no row there twice, and nothing left over."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from harness.index_build import rows as rows_module
from harness.index_build.orders import read_order
from harness.index_build.plan import PartLimits, plan_corpus
from harness.index_build.spilled import SpilledDigest
from harness.index_build.state import LedgerEntry, RowsLedger, building_storage
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError, IntegrityError, StoreError, TouchstoneError
from serving.pipeline.index.content import ContentDigest
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.index.stores.lance import LanceStore
from tests.index_build.making import CONFIG, SMALL, Here, assert_same, build_alone, build_here, opened, write_corpus, write_lines
from tests.support.s3 import s3_bucket, s3_server

__all__ = ["s3_bucket", "s3_server"]


def settings_in(folder: Path) -> HarnessSettings:
    return HarnessSettings(home=folder / "home", datasets=folder / "datasets")


class Dying(Here):
    """The process that drives dies before the n-th order of a kind, or after it was carried out and before it was heard of."""

    def __init__(self, do: str, number: int) -> None:
        super().__init__()
        self._do, self._number = do, number

    def carried_out(self, order: str) -> str:
        reply = super().carried_out(order)
        if self.count(self._do) == self._number:
            raise KeyboardInterrupt
        return reply


async def test_parts_make_the_index_that_one_process_makes(tmp_path: Path) -> None:
    corpus, settings, workers = write_corpus(tmp_path / "acme"), settings_in(tmp_path), Here()
    built = await build_here(corpus, settings, workers)
    assert workers.count("load") > 3
    assert workers.count("rows") > 3
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))
    whole = load_corpus(corpus)
    assert (built.public, built.unused_rules) == (whole.public, whole.unused_rules)
    assert built.skipped == whole.skipped
    assert [name for name in os.listdir(settings.index_root) if not name.startswith(".")] == [built.manifest.recipe]
    assert not list(building_storage(settings).list())


@pytest.mark.parametrize("name", ["lines.jsonl", "folder/corpus.jsonl"])
async def test_a_file_of_lines_is_read_in_ranges(tmp_path: Path, name: str) -> None:
    path, settings, workers = write_lines(tmp_path / "docs" / name), settings_in(tmp_path), Here()
    corpus = path.parent if name.endswith("corpus.jsonl") else path
    built = await build_here(corpus, settings, workers)
    assert workers.count("load") > 3
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_a_bucket_gives_the_index_of_the_same_files_in_a_folder(
    tmp_path: Path, s3_bucket: str, upload: Callable[[Path, str], None]
) -> None:
    corpus = write_corpus(tmp_path / "acme", documents=5)
    upload(corpus, s3_bucket)
    settings = HarnessSettings(home=tmp_path / "home", indexes=f"s3://{s3_bucket}/indexes")
    built = await build_here(f"s3://{s3_bucket}/acme", settings, limits=PartLimits(bytes=6000, files=6))
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))
    assert built.skipped == load_corpus(corpus).skipped
    assert not list(building_storage(settings).list("rows"))


@pytest.mark.parametrize(("do", "number"), [("load", 2), ("rows", 1), ("rows", 3)])
async def test_a_build_that_was_killed_goes_on_and_makes_no_part_again(tmp_path: Path, do: str, number: int) -> None:
    corpus, settings, first, second = write_corpus(tmp_path / "acme"), settings_in(tmp_path), Dying(do, number), Here()
    with pytest.raises(KeyboardInterrupt):
        await build_here(corpus, settings, first)
    built = await build_here(corpus, settings, second)
    parts = len(plan_corpus(str(corpus), settings, SMALL).parts)
    assert first.count("load") + second.count("load") == parts
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_rows_that_are_in_the_table_are_not_embedded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, settings, first = write_corpus(tmp_path / "acme"), settings_in(tmp_path), Dying("rows", 3)
    with pytest.raises(KeyboardInterrupt):
        await build_here(corpus, settings, first)
    orders = [order for order in first.orders if order["do"] == "rows"]
    ledger = RowsLedger(building_storage(settings), orders[0]["recipe"], orders[0]["plan"])
    ledger.write(orders[1]["part"], LedgerEntry(state="appending", tries=1))  # its worker died before it could say so

    appended: list[str] = []
    append = rows_module._append

    async def counted(store: LanceStore, rows: Any, ids: list[str]) -> None:
        appended.extend(ids)
        await append(store, rows, ids)

    monkeypatch.setattr(rows_module, "_append", counted)  # there is no other place to count what is stored
    built = await build_here(corpus, settings)
    index = await opened(built, settings)
    ids = {row.chunk.document_id async for rows in index.store.rows() for row in rows}
    assert set(appended) < ids
    assert len(ids) - len(appended) == sum(len(_documents(settings, order, corpus)) for order in orders[:3])


def _documents(settings: HarnessSettings, order: dict[str, Any], corpus: Path) -> list[str]:
    """The documents of an order, by the plan: what was kept of them is gone."""
    [part] = [part for part in plan_corpus(str(corpus), settings, SMALL).parts if part.key == order["source"]]
    known = {document.id for document in load_corpus(corpus).documents}
    return [one.name for one in part.files if one.name in known]


async def test_half_of_a_part_in_the_table_is_replaced(tmp_path: Path) -> None:
    corpus, settings, first = write_corpus(tmp_path / "acme"), settings_in(tmp_path), Dying("rows", 2)
    with pytest.raises(KeyboardInterrupt):
        await build_here(corpus, settings, first)
    order = next(order for order in first.orders if order["do"] == "rows")
    ledger = RowsLedger(building_storage(settings), order["recipe"], order["plan"])
    ledger.write(order["part"], LedgerEntry(state="appending", tries=1))
    store = LanceStore(LanceStore.Params(), uri=order["table"], dimensions=order["dimensions"], settings=settings)
    await store.remove(_documents(settings, order, corpus)[:1])
    await assert_same(await build_here(corpus, settings), settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_a_part_carried_out_twice_is_in_the_table_once(tmp_path: Path) -> None:
    class Twice(Here):
        def carried_out(self, order: str) -> str:
            return super().carried_out(order) or super().carried_out(order)

    corpus, settings = write_corpus(tmp_path / "acme", documents=4), settings_in(tmp_path)
    await assert_same(await build_here(corpus, settings, Twice()), settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_rows_of_a_worker_that_was_given_up_for_dead_and_was_not_are_found_and_removed(tmp_path: Path) -> None:
    class Haunted(Here):
        """The second part's first worker is silent for long, and appends once another has done its work."""

        def carried_out(self, order: str) -> str:
            reply = super().carried_out(order)
            asked = read_order(order)
            if asked.do == "rows" and self.count("rows") == 2:
                ledger = RowsLedger(building_storage(settings), asked.recipe, asked.plan)
                entry = ledger.read(asked.part)
                assert entry is not None
                ledger.write(asked.part, entry.model_copy(update={"tries": 2}))
                asyncio.run(_append_again(asked.table, asked.dimensions, settings))
            return reply

    corpus, settings = write_corpus(tmp_path / "acme", documents=4), settings_in(tmp_path)
    workers = Haunted()
    built = await build_here(corpus, settings, workers)
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def _append_again(table: str, dimensions: int, settings: HarnessSettings) -> None:
    """Append what was appended last once more."""
    store = LanceStore(LanceStore.Params(), uri=table, dimensions=dimensions, settings=settings)
    found = [row async for rows in store.rows() for row in rows]
    last = {found[-1].chunk.document_id}
    again = [row for row in found if row.chunk.document_id in last]
    await store.add([row.chunk for row in again], [row.text for row in again], np.stack([row.vector for row in again]))
    store.close()


async def test_a_table_that_does_not_hold_what_was_made_is_never_published(tmp_path: Path) -> None:
    class Meddled(Here):
        def carried_out(self, order: str) -> str:
            reply = super().carried_out(order)
            asked = read_order(order)
            if asked.do == "rows" and self.count("rows") == 2:
                asyncio.run(_append_again(asked.table, asked.dimensions, settings))
            return reply

    corpus, settings = write_corpus(tmp_path / "acme", documents=4), settings_in(tmp_path)
    with pytest.raises(IntegrityError, match="does not hold what the workers made"):
        await build_here(corpus, settings, Meddled())
    assert os.listdir(settings.index_root) == [".building"]
    await assert_same(await build_here(corpus, settings), settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_a_failed_append_is_tried_again_with_nothing_of_it_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, failed = LanceStore.add, []

    async def fails_late(self: LanceStore, chunks: Any, texts: Any, vectors: Any) -> None:
        await add(self, chunks, texts, vectors)
        if len(chunks) and len(failed) < 2:
            failed.append(1)
            raise StoreError("the answer of a commit was lost")

    monkeypatch.setattr(LanceStore, "add", fails_late)  # a failure after the commit cannot be had otherwise
    monkeypatch.setattr(rows_module, "PAUSE_S", 0.0)
    corpus, settings = write_corpus(tmp_path / "acme", documents=3), settings_in(tmp_path)
    built = await build_here(corpus, settings)
    assert len(failed) == 2
    monkeypatch.undo()
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_an_index_that_is_there_is_found_and_nothing_is_embedded(tmp_path: Path) -> None:
    corpus, settings, workers = write_corpus(tmp_path / "acme", documents=3), settings_in(tmp_path), Here()
    alone = await build_alone(corpus, settings)
    built = await build_here(corpus, settings, workers)
    assert built.manifest == alone.manifest
    assert workers.count("rows") == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corpus.d/x.yaml": "hr/rule99.md: {title: Gone}\n"}, "describes 'hr/rule99.md'"),
        ({"corpus.yaml": "access: required\n"}, "nothing says who may read"),
        ({"hr/bad.md": "---\ngroup: [legal]\n---\nText.\n"}, "looks like a restriction and is none"),
        ({"hr/corpus.yaml": "access: required\n"}, "is not read, so what it says about access would not hold"),
    ],
)
async def test_what_one_process_refuses_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    corpus = write_corpus(tmp_path / "acme", documents=4)
    for name, text in changes.items():
        (corpus / name).write_text(text)
    messages = []
    for build in (lambda: build_here(corpus, settings_in(tmp_path)), lambda: build_alone(corpus, settings_in(tmp_path / "alone"))):
        with pytest.raises(DataError, match=words) as caught:
            await build()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


async def test_an_object_whose_name_no_file_can_have_is_named(tmp_path: Path, s3_bucket: str, upload: Callable[[Path, str], None]) -> None:
    corpus = write_corpus(tmp_path / "acme", documents=1)
    upload(corpus, s3_bucket)
    client = boto3.Session().client("s3", endpoint_url=HarnessSettings().s3_endpoint, region_name="us-east-1")
    client.put_object(Bucket=s3_bucket, Key="acme/" + "n" * 300 + ".md", Body=b"A text.")
    with pytest.raises(DataError, match="no file can be named so"):
        await build_here(f"s3://{s3_bucket}/acme", settings_in(tmp_path))


async def test_a_file_that_changes_while_the_index_is_built_is_refused(tmp_path: Path) -> None:
    class Changing(Here):
        def carried_out(self, order: str) -> str:
            (corpus / "hr/rule3.md").write_text("Another text.")
            return super().carried_out(order)

    corpus = write_corpus(tmp_path / "acme", documents=4)
    with pytest.raises(DataError, match=r"rule3\.md: was changed while the index was built"):
        await build_here(corpus, settings_in(tmp_path), Changing())


async def test_a_text_that_changed_since_a_killed_build_is_read_again(tmp_path: Path) -> None:
    corpus, settings = write_corpus(tmp_path / "acme"), settings_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        await build_here(corpus, settings, Dying("rows", 3))
    (corpus / "hr/rule3.md").write_text("# Rule 3\n\nIt gives 33 weeks now.\n")
    await assert_same(await build_here(corpus, settings), settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_another_division_of_the_same_corpus_begins_a_table_of_its_own(tmp_path: Path) -> None:
    corpus, settings = write_corpus(tmp_path / "acme"), settings_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        await build_here(corpus, settings, Dying("rows", 3))
    built = await build_here(corpus, settings, limits=PartLimits(bytes=9000, files=5))
    await assert_same(built, settings, await build_alone(corpus, settings_in(tmp_path / "alone")))


async def test_workers_that_keep_their_parts_elsewhere_are_found_out(tmp_path: Path) -> None:
    class Elsewhere(Here):
        def carried_out(self, order: str) -> str:
            raw = json.loads(order)
            raw["settings"]["indexes"] = str(tmp_path / "elsewhere")
            return super().carried_out(json.dumps(raw))

    with pytest.raises(StoreError, match="every worker must see the same TOUCHSTONE_INDEXES"):
        await build_here(write_corpus(tmp_path / "acme", documents=3), settings_in(tmp_path), Elsewhere())


async def test_a_corpus_without_text_leaves_no_index(tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.md").write_text(" \n")
    with pytest.raises(DataError, match=r"holds no document. Skipped: a.md: empty"):
        await build_here(tmp_path / "blank", settings_in(tmp_path))


async def test_a_store_of_one_writer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    config = CONFIG.replace({"index.store.name": "memory"})
    with pytest.raises(ConfigError, match=r"index\.store\.name: 'memory' takes one writer"):
        await build_here(tmp_path / "nowhere", settings_in(tmp_path), config=config)


def test_a_worker_with_other_code_refuses_its_order(tmp_path: Path) -> None:
    class Other(Here):
        def carried_out(self, order: str) -> str:
            raw = json.loads(order)
            return super().carried_out(json.dumps(raw | ({"recipe": "0" * 16} if raw["do"] == "rows" else {})))

    with pytest.raises(TouchstoneError, match="other code than the driver"):
        asyncio.run(build_here(write_corpus(tmp_path / "acme", documents=3), settings_in(tmp_path), Other()))


def test_a_spilled_digest_is_the_content_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.index_build import spilled

    monkeypatch.setattr(spilled, "SPILL_BYTES", 200)
    chance = np.random.default_rng(0)
    digests = [chance.bytes(32) for _ in range(300)]
    expected = ContentDigest()
    expected._rows = list(digests)
    with SpilledDigest() as total:
        total.add(b"".join(digests[:123]))
        total.add(b"".join(digests[123:]))
        assert total.rows == 300
        assert total.hexdigest() == total.hexdigest() == expected.hexdigest()
