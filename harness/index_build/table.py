"""The table of a build: rows are made by workers, checked against what they report, and published as an index."""

import asyncio
import json
import shutil
from contextlib import aclosing
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.index_build.context import STORE, BuildContext, LoadedCorpus, RowsPart
from harness.index_build.orders import RowsOrder, check_reply
from harness.index_build.spilled import SpilledDigest
from harness.index_build.state import FOLDER, LedgerEntry, RowsLedger, forget
from serving.pipeline.errors import DataError, IntegrityError, StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.build import StoredRows, summed_manifest
from serving.pipeline.index.content import ContentDigest
from serving.pipeline.index.embed import embed
from serving.pipeline.index.manifest import FILE, IndexManifest, index_storage, read_manifest, write_manifest
from serving.pipeline.index.stores.lance import LanceStore
from serving.storage.draft import publish_folder
from serving.storage.place import below, is_remote


class TableBuild:
    """The table of one build: in a bucket where the index will be, in a folder beside it until it is whole."""

    def __init__(self, build: BuildContext, loaded: LoadedCorpus, recipe: str, uri: str, embeddings: Embeddings) -> None:
        self._build = build
        self._loaded = loaded
        self._recipe = recipe
        self._target = uri
        self._embeddings = embeddings
        self._plan = loaded.plan
        self._ledger = RowsLedger(build.storage, recipe, self._plan)
        remote = is_remote(uri)
        self._uri = uri if remote else below(build.settings.index_root, FOLDER, "tables", recipe, self._plan)
        self._data = f"{STORE}-part-{self._plan}" if remote else STORE

    async def run(self) -> None:
        """Fill the table, check it, and publish the index."""
        build, config = self._build, self._build.config
        dimensions = int((await embed(self._embeddings, ["dimensions"])).shape[1])
        store = STORES.build(config.index.store, uri=below(self._uri, self._data), dimensions=dimensions, settings=build.settings)
        assert isinstance(store, LanceStore)
        await store.add([], [], np.empty((0, dimensions), np.float32))  # so that workers find a table, and do not all make one
        await self._rows(self._loaded.parts, dimensions)
        content, chunks = await asyncio.to_thread(self._expected_content)
        if chunks == 0:
            raise DataError(f"Corpus {self._loaded.name!r} has nothing to index: {self._loaded.documents} documents, no text.")
        version = await self._finished(store)
        if await self._stored_content(store, chunks) != content:
            await self._rows(await asyncio.to_thread(self._suspect_parts), dimensions, again=True)
            content, chunks = await asyncio.to_thread(self._expected_content)
            version = await self._finished(store)
            if await self._stored_content(store, chunks) != content:
                store.close()
                await asyncio.to_thread(self._discard)
                raise IntegrityError(
                    f"{below(self._uri, self._data)}: the table does not hold what the workers made. It is removed: run the command again."
                )
        store.close()
        stored = StoredRows(
            corpus=self._loaded.name,
            corpus_digest=self._loaded.digest,
            documents=self._loaded.documents,
            chunks=chunks,
            dimensions=dimensions,
            store_version=version,
            content_digest=content,
        )
        build.progress("writing sums", 0, 1)
        manifest = await summed_manifest(self._uri, self._data, config, stored, build.settings, build.now)
        build.progress("opening the index", 0, 1)
        await asyncio.to_thread(self._publish, manifest)

    async def _rows(self, parts: list[RowsPart], dimensions: int, *, again: bool = False) -> None:
        done, total = 0, sum(part.documents for part in parts)
        what = "embedding again, documents" if again else "embedding, documents"
        self._build.progress(what, 0, total)
        async with aclosing(self._build.workers.run(self._row_order(part, dimensions) for part in parts)) as replies:
            async for place, reply in replies:
                check_reply(reply)
                done += parts[place].documents
                self._build.progress(what, done, total)

    async def _finished(self, store: LanceStore) -> str:
        self._build.progress("indexing the table", 0, 1)
        store.close()  # workers have written since it was opened
        await store.finish()
        return await store.forget_versions()

    async def _stored_content(self, store: LanceStore, chunks: int) -> str:
        """The content digest of what the table holds."""
        with SpilledDigest() as total:
            async for rows in store.rows():
                digest = ContentDigest()
                digest.add(rows)
                total.add(digest.row_digests())
                self._build.progress("checking chunks", total.rows, chunks)
            return total.hexdigest()

    def _expected_content(self) -> tuple[str, int]:
        """The content digest and number of the rows that the workers made."""
        with SpilledDigest() as total:
            for part in self._loaded.parts:
                digests = self._ledger.digests(part.key)
                if digests is None:
                    raise StoreError("What workers said they made is not there: every worker must see the same TOUCHSTONE_INDEXES.")
                total.add(digests)
            return total.hexdigest(), total.rows

    def _suspect_parts(self) -> list[RowsPart]:
        """The parts that were given out more than once, to be made again: a worker given up for dead may have appended late."""
        suspects = []
        for part in self._loaded.parts:
            entry = self._ledger.read(part.key)
            if entry is None or entry.tries > 1:
                self._ledger.forget_digests(part.key)
                self._ledger.write(part.key, LedgerEntry(state="appending", tries=entry.tries if entry else 1))
                suspects.append(part)
        return suspects

    def _discard(self) -> None:
        """Remove the table, then its state, so that the next build starts over."""
        if is_remote(self._uri):
            forget(index_storage(self._uri, self._build.settings), f"{self._data}/")
        else:
            shutil.rmtree(self._uri, ignore_errors=True)
        self._ledger.forget()

    def _publish(self, manifest: IndexManifest) -> None:
        settings = self._build.settings
        if is_remote(self._target):
            if read_manifest(self._target, settings) is None:
                write_manifest(self._target, manifest, settings)
            return
        write_manifest(self._uri, manifest, settings)
        publish_folder(Path(self._uri), Path(self._target), FILE)

    def _row_order(self, part: RowsPart, dimensions: int) -> str:
        build = self._build
        return RowsOrder(
            settings=build.order_settings,
            shares=build.workers.workers,
            corpus=build.corpus.key,
            source=part.source,
            part=part.key,
            recipe=self._recipe,
            corpus_digest=self._loaded.digest,
            plan=self._plan,
            config=json.loads(build.config.model_dump_json()),
            table=below(self._uri, self._data),
            dimensions=dimensions,
        ).model_dump_json()
