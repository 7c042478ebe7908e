"""Builds an index from a corpus, once per recipe, and opens it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from uuid import uuid4

import numpy as np
from langchain_core.embeddings import Embeddings

from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.config import IndexConfig, RagConfig
from serving.pipeline.errors import DataError, IntegrityError, StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.base import HealthChecked, Releasable, Store
from serving.pipeline.index.chunk_rows import ChunkRows
from serving.pipeline.index.content import ContentDigest
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.layered.store import LayeredStore
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.index.manifest import FILE, IndexManifest, forget_outdated, index_storage, read_manifest, write_manifest
from serving.pipeline.index.resident.open import searchable
from serving.pipeline.index.sums import check_sums, damaged, write_sums
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.progress import Progress
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage
from serving.storage.draft import draft_folder, publish_folder
from serving.storage.place import absolute, below, is_remote


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """An index ready to be searched, with the model that embeds its queries."""

    manifest: IndexManifest
    store: Store
    embeddings: Embeddings

    @property
    def digest(self) -> str:
        """Digest of the recipe: what the index was made of, and how."""
        return self.manifest.recipe

    @property
    def version(self) -> str:
        """The version of the data that is searched: the proven index's, and what was added and removed since."""
        return self._changed(lambda view: view.version)

    def version_for(self, tenant: str) -> str:
        """The same of what a tenant's answers depend on: documents that are added for another tenant do not change it."""
        return self._changed(lambda view: view.version_for(tenant))

    def _changed(self, version: Callable[[LayeredView], str]) -> str:
        proven = self.manifest.store_version
        since = version(self.store.view) if isinstance(self.store, LayeredStore) else ""
        return f"{proven}+{since}" if since else proven

    def close(self) -> None:
        """Let go of the memory that the store holds; its next use opens it again."""
        if isinstance(self.store, Releasable):
            self.store.close()

    async def probe(self) -> None:
        """Read one row from where the index lies; raises when questions could not be answered from it."""
        if isinstance(self.store, HealthChecked):
            await self.store.probe()
            return
        async for rows in self.store.rows(limit=1):
            if rows:
                return
        raise StoreError(f"The index {self.digest} gives no rows any more. Is its place still there?")

    async def check(self) -> None:
        """Read every row and raise an `IntegrityError` unless rows and vectors are those that were built."""
        digest = ContentDigest()
        async for rows in self.store.rows():
            digest.add(rows)
        if digest.hexdigest() != self.manifest.content_digest:
            raise damaged(self.digest, "its rows or vectors are not those that were built")


async def ensure_index(
    corpus: Corpus,
    config: RagConfig,
    *,
    settings: PipelineSettings,
    embeddings: Embeddings | None = None,
    progress: Progress | None = None,
) -> OpenIndex:
    """The index of a corpus, built if it is not there yet."""
    uri = index_uri(config, corpus.digest, settings)
    manifest = await asyncio.to_thread(read_manifest, uri, settings)
    if manifest is not None and manifest.format == 1:
        await asyncio.to_thread(forget_outdated, uri, settings)
        manifest = await asyncio.to_thread(read_manifest, uri, settings)
    if manifest is None:
        return await build_index(corpus, config, settings=settings, embeddings=embeddings, progress=progress)
    return await open_index(config, corpus.digest, settings=settings, embeddings=embeddings)


async def open_index(
    config: RagConfig, corpus_digest: str, *, settings: PipelineSettings, embeddings: Embeddings | None = None
) -> OpenIndex:
    """The index built before for this configuration and corpus."""
    uri, recipe = index_uri(config, corpus_digest, settings), config.digest("index", corpus=corpus_digest)
    index = await open_index_at(uri, settings, embeddings)
    if index.digest != recipe:
        raise IntegrityError(f"{absolute(uri)}: holds the index {index.digest}, not {recipe}. Remove it and run: touchstone index")
    return index


async def open_index_at(uri: str, settings: PipelineSettings, embeddings: Embeddings | None = None, *, whole: bool = False) -> OpenIndex:
    """The index at a place, wherever it was built; every file is checked against its sum before the store reads it.

    With `whole`, objects in a bucket are fetched for it as well, and the rows and vectors are checked one by one.
    """
    manifest = await asyncio.to_thread(read_manifest, uri, settings)
    if manifest is None:
        raise StoreError(f"No index in {absolute(uri)}. Build it: touchstone index")
    if manifest.format == 1:
        raise IntegrityError(f"{absolute(uri)}: is from a version that kept no sums of an index. Remove it and run: touchstone index")
    if not manifest.detector_version:
        raise IntegrityError(
            f"{absolute(uri)}: is from a version that looked for no orders in passages. Remove it and run: touchstone index"
        )
    version = EMBEDDINGS.version(manifest.index.embedder)
    if version != manifest.embedder_version:
        built_with = manifest.embedder_version
        raise IntegrityError(
            f"{absolute(uri)}: was built with version {built_with!r} of its embedding model; this is {version!r}. Build it anew."
        )
    storage = index_storage(uri, settings)
    await asyncio.to_thread(check_sums, absolute(uri), manifest.data, manifest.sums_sha256, storage, whole=whole)
    store = await searchable(
        _store(manifest.index, below(uri, manifest.data), manifest.dimensions, settings),
        folders=[*([] if is_remote(uri) else [Path(uri)]), settings.home / "resident" / manifest.recipe],
        index=manifest.recipe,
        data_version=manifest.store_version,
        chunks=manifest.chunks,
        content=manifest.content_digest,
    )
    count, data_version = await store.count(), await store.data_version()
    if count != manifest.chunks:
        raise damaged(absolute(uri), f"it holds {count} chunks where its manifest says {manifest.chunks}")
    if data_version != manifest.store_version:
        raise damaged(absolute(uri), f"its store has version {data_version} where its manifest says {manifest.store_version}")
    index = OpenIndex(manifest, store, embeddings or _connect(manifest.index, settings))
    if whole:
        await index.check()
    return index


async def build_index(
    corpus: Corpus,
    config: RagConfig,
    *,
    settings: PipelineSettings,
    embeddings: Embeddings | None = None,
    progress: Progress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> OpenIndex:
    """Build an index; it appears complete or not at all. Of concurrent builders one wins, and all return its index."""
    uri = index_uri(config, corpus.digest, settings)
    build = _IndexBuild(corpus, config.complete(), settings, embeddings or _connect(config.index, settings), progress, now)
    if is_remote(uri):
        data = f"{build.config.index.store.name}-{uuid4().hex[:12]}"  # concurrent builders must not share a folder
        try:
            manifest = await build.run(uri, data)
        except BaseException:
            await asyncio.to_thread(_remove, index_storage(uri, settings), f"{data}/")
            raise
        await asyncio.to_thread(write_manifest, uri, manifest, settings)
    else:
        with draft_folder(Path(uri)) as folder:
            manifest = await build.run(str(folder), build.config.index.store.name)
            write_manifest(str(folder), manifest, settings)
            publish_folder(folder, Path(uri), FILE)
    return await open_index_at(uri, settings, build.embeddings)


def index_uri(config: RagConfig, corpus_digest: str, settings: PipelineSettings) -> str:
    """Where the index of a configuration and a corpus lies, or would lie."""
    return below(settings.index_root, config.digest("index", corpus=corpus_digest))


@dataclass(frozen=True, slots=True)
class _IndexBuild:
    """One build."""

    corpus: Corpus
    config: RagConfig
    settings: PipelineSettings
    embeddings: Embeddings
    progress: Progress | None
    now: Callable[[], datetime]

    async def run(self, uri: str, data: str) -> IndexManifest:
        """Chunk, embed and store everything below a place; at no time are more than a batch's vectors in memory."""
        index = self.config.index
        steps = ChunkRows(index, self.embeddings)
        total = sum(1 for _ in steps.chunks(self.corpus.documents))  # chunking twice costs far less than embedding once
        if total == 0:
            raise DataError(f"Corpus {self.corpus.name!r} has nothing to index: {len(self.corpus.documents)} documents, no text.")
        store: Store | None = None
        content = ContentDigest()
        done = dimensions = 0
        async for rows in steps.batches(steps.chunks(self.corpus.documents)):
            vectors = np.stack([row.vector for row in rows])
            dimensions = vectors.shape[1]
            store = store or _store(index, below(uri, data), dimensions, self.settings)
            await store.add([row.chunk for row in rows], [row.text for row in rows], vectors)
            content.add(rows)
            done += len(rows)
            if self.progress:
                self.progress(done, total)
        assert store is not None
        stored = StoredRows(
            corpus=self.corpus.name,
            corpus_digest=self.corpus.digest,
            documents=len(self.corpus.documents),
            chunks=done,
            dimensions=dimensions,
            store_version=await store.finish(),
            content_digest=content.hexdigest(),
        )
        return await summed_manifest(uri, data, self.config, stored, self.settings, self.now)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What a finished store holds, and of which corpus."""

    corpus: str
    corpus_digest: str
    documents: int
    chunks: int
    dimensions: int
    store_version: str
    content_digest: str


async def summed_manifest(
    uri: str, data: str, config: RagConfig, stored: StoredRows, settings: PipelineSettings, now: Callable[[], datetime]
) -> IndexManifest:
    """Write the sums of a finished store's files; returns the manifest, which makes the index complete once it is written."""
    sums_sha256 = await asyncio.to_thread(write_sums, absolute(uri), data, index_storage(uri, settings))
    return IndexManifest(
        recipe=config.digest("index", corpus=stored.corpus_digest),
        corpus=stored.corpus,
        corpus_digest=stored.corpus_digest,
        documents=stored.documents,
        chunks=stored.chunks,
        index=config.index,
        embedder_version=EMBEDDINGS.version(config.index.embedder),
        detector_version=detector_version(),
        dimensions=stored.dimensions,
        store_version=stored.store_version,
        lancedb=installed("lancedb"),
        data=data,
        created_at=now().isoformat(timespec="seconds"),
        content_digest=stored.content_digest,
        sums_sha256=sums_sha256,
    )


def _remove(storage: Storage, prefix: str) -> None:
    """Remove the files of a failed build, as far as possible."""
    with suppress(StoreError):  # leftovers cost space and nothing else
        for entry in storage.list(prefix):
            storage.delete(entry.key)


def _store(index: IndexConfig, uri: str, dimensions: int, settings: PipelineSettings) -> Store:
    return STORES.build(index.store, uri=uri, dimensions=dimensions, settings=settings)


def _connect(index: IndexConfig, settings: PipelineSettings) -> Embeddings:
    from serving.pipeline.models.connect import connect_embeddings

    return connect_embeddings(index.embedder, settings)
