"""The driver of a build on several machines: it lists parts, hands them out, checks the whole, and publishes the index."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.index_build.context import STORE, BuildContext, LoadedCorpus, RowsPart, Workers
from harness.index_build.orders import LoadOrder, check_reply, order_settings
from harness.index_build.plan import PartLimits, SourcePart, plan_corpus
from harness.index_build.state import FOLDER, LoadedParts, building_storage, forget
from harness.index_build.table import TableBuild
from harness.progress import TaskProgress
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_all, digest_of
from serving.pipeline.errors import ConfigError, DataError, LockedError
from serving.pipeline.index.build import index_uri, open_index_at
from serving.pipeline.index.corpus import check_whole
from serving.pipeline.index.manifest import IndexManifest, forget_outdated, index_storage, read_manifest
from serving.pipeline.index.reading import SkippedFile
from serving.pipeline.models.connect import connect_embeddings
from serving.storage.base import Storage
from serving.storage.place import below, is_remote


@dataclass(frozen=True, slots=True)
class ShardedIndex:
    """An index that several workers built, with notes on its corpus."""

    manifest: IndexManifest
    public: int  # documents that everyone may read
    skipped: tuple[SkippedFile, ...]
    unused_rules: tuple[str, ...]


async def build_sharded(
    config: RagConfig,
    corpus: str,
    settings: HarnessSettings,
    workers: AbstractAsyncContextManager[Workers],
    *,
    progress: TaskProgress,
    limits: PartLimits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ShardedIndex:
    """Build the index of a corpus by workers, or go on where a killed build stopped; it appears complete or not at all."""
    if config.index.store.name != STORE:
        raise ConfigError(f"index.store.name: {config.index.store.name!r} takes one writer; --engine ray needs {STORE!r}. Or leave it out.")
    plan = await asyncio.to_thread(plan_corpus, corpus, settings, limits or PartLimits())
    storage = building_storage(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_locked(storage, f"locks/{plan.key}", progress))
        sent = await stack.enter_async_context(workers)
        build = _ShardedBuild(config.complete(), plan, settings, order_settings(settings), storage, sent, progress, now)
        loaded = await build.load()
        await stack.enter_async_context(_locked(storage, f"locks/{config.digest('index', corpus=loaded.digest)}", progress))
        manifest = await build.index(loaded)
    return ShardedIndex(manifest, loaded.public, tuple(loaded.skipped), loaded.unused_rules)


@dataclass(frozen=True, slots=True)
class _ShardedBuild(BuildContext):
    """One build: the corpus is loaded, then its rows are made."""

    async def load(self) -> LoadedCorpus:
        """Have every missing part read; what `load_corpus` would refuse is refused."""
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
            await TableBuild(self, loaded, recipe, uri, embeddings).run()
        await asyncio.to_thread(self._forget, uri, recipe)
        index = await open_index_at(uri, self.settings)
        index.close()
        return index.manifest

    def _forget(self, uri: str, recipe: str) -> None:
        """Remove the state for resuming, and what builds with other divisions left."""
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
            settings=self.order_settings,
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


@asynccontextmanager
async def _locked(storage: Storage, key: str, progress: TaskProgress) -> AsyncIterator[None]:
    """Hold a lock against other drivers; a killed driver's lock ends by itself, in a bucket after a minute."""
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
