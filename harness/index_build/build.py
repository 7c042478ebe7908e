"""The driver of a build on several machines: it lists parts, hands them out, checks the whole, and publishes the index."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.index_build.orders import LoadOrder, RowsOrder, check_reply, told_settings
from harness.index_build.plan import CorpusPlan, PartLimits, SourcePart, plan_corpus
from harness.index_build.spilled import SpilledDigest
from harness.index_build.state import FOLDER, LedgerEntry, LoadedParts, RowsLedger, building_storage, forget
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_all, digest_of
from serving.pipeline.errors import ConfigError, DataError, IntegrityError, LockedError, StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.build import StoredRows, index_uri, open_index_at, summed_manifest
from serving.pipeline.index.content import ContentDigest
from serving.pipeline.index.corpus import check_whole
from serving.pipeline.index.embed import embed
from serving.pipeline.index.manifest import FILE, IndexManifest, forget_outdated, index_storage, read_manifest, write_manifest
from serving.pipeline.index.reading import SkippedFile
from serving.pipeline.index.stores.lance import LanceStore
from serving.pipeline.models.connect import connect_embeddings
from serving.storage.base import Storage
from serving.storage.draft import publish_folder
from serving.storage.place import below, is_remote

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is
STORE = "lancedb"  # the one store that several writers may append to


class Workers(Protocol):
    """Carries out orders somewhere, several at a time."""

    workers: int

    def run(self, orders: Iterable[str]) -> AsyncGenerator[tuple[int, str], None]:
        """The replies as they come, with the places of their orders."""
        ...


@dataclass(frozen=True, slots=True)
class ShardedIndex:
    """An index that several workers built, and what is to be said of its corpus."""

    manifest: IndexManifest
    public: int  # documents that everyone may read
    skipped: tuple[SkippedFile, ...]
    unused_rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowsPart:
    """The documents of a part by what they hold, wherever they were read from."""

    key: str
    source: str  # the part of the corpus that they are kept as
    documents: int


@dataclass
class LoadedCorpus:
    """A corpus whose documents lie in parts: here are only their ids and digests."""

    name: str
    digest: str = ""
    documents: int = 0
    public: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)
    unused_rules: tuple[str, ...] = ()
    parts: list[RowsPart] = field(default_factory=list)

    @property
    def plan(self) -> str:
        """The digest of how the documents are divided: rows that were stored under another division are of no use."""
        return digest_of([part.key for part in self.parts])


async def build_sharded(
    config: RagConfig,
    corpus: str,
    settings: HarnessSettings,
    workers: AbstractAsyncContextManager[Workers],
    *,
    progress: Progress,
    limits: PartLimits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ShardedIndex:
    """Build the index of a corpus by workers, or go on where a killed build stopped; it appears complete or not at all."""
    if config.index.store.name != STORE:
        raise ConfigError(f"index.store.name: {config.index.store.name!r} takes one writer; --engine ray needs {STORE!r}. Or leave it out.")
    plan = await asyncio.to_thread(plan_corpus, corpus, settings, limits or PartLimits())
    storage = building_storage(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_held(storage, f"locks/{plan.key}", progress))
        sent = await stack.enter_async_context(workers)
        build = _ShardedBuild(config.complete(), plan, settings, told_settings(settings), storage, sent, progress, now)
        loaded = await build.load()
        await stack.enter_async_context(_held(storage, f"locks/{config.digest('index', corpus=loaded.digest)}", progress))
        manifest = await build.index(loaded)
    return ShardedIndex(manifest, loaded.public, tuple(loaded.skipped), loaded.unused_rules)


@dataclass(frozen=True, slots=True)
class _ShardedBuild:
    """One build."""

    config: RagConfig
    corpus: CorpusPlan
    settings: HarnessSettings
    told: dict[str, Any]  # what workers are told of them
    storage: Storage
    workers: Workers
    progress: Progress
    now: Callable[[], datetime]

    async def load(self) -> LoadedCorpus:
        """Have every part read that is not there yet; what `load_corpus` would refuse is refused."""
        loads = LoadedParts(self.storage, self.corpus.key)
        there = await asyncio.to_thread(loads.parts)
        missing = [part for part in self.corpus.parts if part.key not in there]
        total = sum(part.weight for part in self.corpus.parts)
        done = total - sum(part.weight for part in missing)
        self.progress("reading", done, total)
        async with aclosing(self.workers.run(map(self._load_order, missing))) as replies:
            async for place, reply in replies:
                check_reply(reply)
                done += missing[place].weight
                self.progress("reading", done, total)
        return await asyncio.to_thread(self._gathered, loads)

    def _gathered(self, loads: LoadedParts) -> LoadedCorpus:
        """The whole corpus from its parts: ids and digests, and the rules that only apply to the whole."""
        loaded, digests, silent = LoadedCorpus(self.corpus.name), dict[str, str](), list[str]()
        loaded.skipped += self.corpus.skipped
        for source in self.corpus.parts:
            part = loads.read(source.key)
            for ident, digest in part.documents:
                if ident in digests:
                    raise DataError(f"{self.corpus.place}: two documents have the id {ident!r}.")
                digests[ident] = digest
            silent += part.silent
            loaded.skipped += [SkippedFile(path, reason) for path, reason in part.skipped]
            loaded.public += part.public
            if part.documents:
                loaded.parts.append(RowsPart(digest_of([list(pair) for pair in part.documents]), source.key, len(part.documents)))
        if not digests:
            shown = "; ".join(f"{one.path}: {one.reason.rstrip('.')}" for one in loaded.skipped[:5])
            raise DataError(f"{self.corpus.place}: holds no document.{f' Skipped: {shown}' if shown else ''}")
        skipped = [one.path for one in loaded.skipped]
        loaded.unused_rules = check_whole(self.corpus.place, self.corpus.rules, set(digests), skipped, silent)
        loaded.skipped.sort(key=lambda one: one.path)
        loaded.digest, loaded.documents = digest_all(digests.values()), len(digests)
        return loaded

    async def index(self, loaded: LoadedCorpus) -> IndexManifest:
        """Have the rows of every part made that are not in the table yet; check the table, and publish it."""
        uri, recipe = index_uri(self.config, loaded.digest, self.settings), self.config.digest("index", corpus=loaded.digest)
        await asyncio.to_thread(forget_outdated, uri, self.settings)
        if await asyncio.to_thread(read_manifest, uri, self.settings) is None:
            embeddings = connect_embeddings(self.config.index.embedder, self.settings)
            await _TableBuild(self, loaded, recipe, uri, embeddings).run()
        await asyncio.to_thread(self._forget, uri, recipe)
        index = await open_index_at(uri, self.settings)
        index.close()
        return index.manifest

    def _forget(self, uri: str, recipe: str) -> None:
        """Remove what was kept for going on, and what builds under other divisions left."""
        LoadedParts(self.storage, self.corpus.key).forget()
        forget(self.storage, f"rows/{recipe}/")
        if is_remote(uri):
            manifest, storage = read_manifest(uri, self.settings), index_storage(uri, self.settings)
            for entry in list(storage.list(f"{STORE}-part-")):
                if manifest is not None and not entry.key.startswith((f"{manifest.data}/", f"{manifest.data}.")):
                    storage.delete(entry.key)
        else:
            tables = Path(below(self.settings.index_root, FOLDER, "tables"))
            shutil.rmtree(tables / recipe, ignore_errors=True)
            with suppress(OSError):  # others are being built
                tables.rmdir()

    def _load_order(self, part: SourcePart) -> str:
        return LoadOrder(
            settings=self.told,
            shares=self.workers.workers,
            corpus=self.corpus.key,
            part=part.key,
            kind=self.corpus.kind,
            place=self.corpus.place,
            rules=self.corpus.rules_digest,
            rule_files=self.corpus.rule_files,
            files=part.files,
            lines=part.lines,
        ).model_dump_json()


class _TableBuild:
    """The table of one build: in a bucket where the index will be, in a folder beside it until it is whole."""

    def __init__(self, build: _ShardedBuild, loaded: LoadedCorpus, recipe: str, uri: str, embeddings: Embeddings) -> None:
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
        content, chunks = await asyncio.to_thread(self._promised)
        if chunks == 0:
            raise DataError(f"Corpus {self._loaded.name!r} has nothing to index: {self._loaded.documents} documents, no text.")
        version = await self._finished(store)
        if await self._found(store, chunks) != content:
            await self._rows(await asyncio.to_thread(self._doubted), dimensions, again=True)
            content, chunks = await asyncio.to_thread(self._promised)
            version = await self._finished(store)
            if await self._found(store, chunks) != content:
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

    async def _found(self, store: LanceStore, chunks: int) -> str:
        """The content digest of what the table holds."""
        with SpilledDigest() as total:
            async for rows in store.rows():
                digest = ContentDigest()
                digest.add(rows)
                total.add(digest.row_digests())
                self._build.progress("checking chunks", total.rows, chunks)
            return total.hexdigest()

    def _promised(self) -> tuple[str, int]:
        """The content digest and number of the rows that the workers made."""
        with SpilledDigest() as total:
            for part in self._loaded.parts:
                digests = self._ledger.digests(part.key)
                if digests is None:
                    raise StoreError("What workers said they made is not there: every worker must see the same TOUCHSTONE_INDEXES.")
                total.add(digests)
            return total.hexdigest(), total.rows

    def _doubted(self) -> list[RowsPart]:
        """The parts that were given out more than once, to be made again: a worker given up for dead may have appended late."""
        doubted = []
        for part in self._loaded.parts:
            entry = self._ledger.read(part.key)
            if entry is None or entry.tries > 1:
                self._ledger.forget_digests(part.key)
                self._ledger.write(part.key, LedgerEntry(state="appending", tries=entry.tries if entry else 1))
                doubted.append(part)
        return doubted

    def _discard(self) -> None:
        """Remove the table, and then what is known of it, so that the next build begins again."""
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
            settings=build.told,
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


@asynccontextmanager
async def _held(storage: Storage, key: str, progress: Progress) -> AsyncIterator[None]:
    """Hold a key against other drivers; one that was killed lets go of it by itself, in a bucket after a minute."""
    try:
        lock = storage.lock(key, wait=False)
        await asyncio.to_thread(lock.__enter__)
    except LockedError:
        progress("waiting for another build", 0, 1)
        lock = storage.lock(key)
        await asyncio.to_thread(lock.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(lock.__exit__, None, None, None)
