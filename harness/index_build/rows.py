"""A worker's second task: chunk, embed and store the documents of a part, by one commit to the table."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.index_build.orders import RowsOrder, config_of
from harness.index_build.state import LedgerEntry, LoadedParts, RowsLedger, building_storage
from serving.pipeline.errors import IntegrityError, StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.chunk_rows import ChunkRows
from serving.pipeline.index.content import DIGEST_BYTES, ContentDigest
from serving.pipeline.index.stores.lance import LanceStore
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

COMMIT_TRIES = 6  # LanceDB itself tries again before
PAUSE_S = 0.5


async def make_rows(order: RowsOrder, settings: PipelineSettings) -> None:
    """Carry out the order; rows that are in the table are not made again, and none is in it twice."""
    config = config_of(order)
    if config.digest("index", corpus=order.corpus_digest) != order.recipe:
        raise IntegrityError("A worker has other code than the driver: it would build another index. Give all of them the same image.")
    storage = building_storage(settings)
    ledger = RowsLedger(storage, order.recipe, order.plan)
    entry = ledger.read(order.part)
    if entry is not None and entry.state == "appended":
        return
    documents = list(LoadedParts(storage, order.corpus).documents(order.source))
    ids = [document.id for document in documents]
    store = STORES.build(config.index.store, uri=order.table, dimensions=order.dimensions, settings=settings)
    assert isinstance(store, LanceStore)
    try:
        tries = entry.tries if entry else 0
        if entry is not None:  # an earlier worker was at it
            digests = ledger.digests(order.part)
            if digests is not None and await store.count_of(ids) == len(digests) // DIGEST_BYTES:
                ledger.write(order.part, LedgerEntry(state="appended", tries=tries, chunks=len(digests) // DIGEST_BYTES))
                return
            await _tried(lambda: store.remove(ids))
        ledger.write(order.part, LedgerEntry(state="appending", tries=tries + 1))
        steps = ChunkRows(config.index, _model(config.index.embedder.model_dump_json(), settings))
        rows = [row async for batch in steps.batches(steps.chunks(documents)) for row in batch]
        content = ContentDigest()
        content.add(rows)
        ledger.write_digests(order.part, content.row_digests())
        if rows:
            await _append(store, rows, ids)
        ledger.write(order.part, LedgerEntry(state="appended", tries=tries + 1, chunks=len(rows)))
    finally:
        store.close()


async def _append(store: LanceStore, rows: Sequence[StoredRow], ids: Sequence[str]) -> None:
    """Append rows; where that fails, whatever may have come of it is removed before it is tried again."""
    vectors = np.stack([row.vector for row in rows])
    failed = False

    async def append() -> None:
        nonlocal failed
        if failed:
            await store.remove(ids)
        failed = True
        await store.add([row.chunk for row in rows], [row.text for row in rows], vectors)

    await _tried(append)


async def _tried(commit: Callable[[], Awaitable[None]]) -> None:
    """Commit to the table; other workers may come between, and a bucket may be slow."""
    for attempt in range(1, COMMIT_TRIES):
        with suppress(StoreError):
            return await commit()
        await asyncio.sleep(PAUSE_S * attempt * (1 + os.getpid() % 8 / 8))  # not all at the same moment
    await commit()


_models: dict[str, Embeddings] = {}  # of this process: loading one takes longer than most parts


def _model(embedder: str, settings: PipelineSettings) -> Embeddings:
    if embedder not in _models:
        _models[embedder] = connect_embeddings(Spec.model_validate_json(embedder), settings)
    return _models[embedder]
