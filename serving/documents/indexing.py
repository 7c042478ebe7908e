"""Brings the index of one configuration to what the store of documents wants: reads, chunks, embeds, and shows what is there."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from serving.documents.merging import SegmentMerging, indexed_versions
from serving.documents.order import IndexingLimits, IndexingOrder, Version
from serving.documents.reading import DocumentReading, ReadDocument, failed_record
from serving.documents.record import DocumentRecord
from serving.documents.sliced import SlicedDocument, computed_of
from serving.documents.store import DocumentStore
from serving.documents.view import layered_view
from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError, LockedError, ModelError, RequestError
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.index.chunk_rows import ChunkKey, ChunkRows, ComputedChunk
from serving.pipeline.index.embed import embed
from serving.pipeline.index.layered.additions import Additions
from serving.pipeline.index.layered.segment import IndexedDocument, SegmentRecipe, pack_segment
from serving.pipeline.index.layered.store import LayeredStore
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.index.parse import Parser
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.types import Chunk

DOCUMENTS = 64  # small ones indexed under one lease
EMBEDDED = 64  # chunks embedded at a time: a question in between waits for no more
OPEN_DOCUMENTS = 2  # large documents whose chunks stay in memory between two slices
READING_S = 0.2  # between two looks for small documents while a large one is read
PLAIN_TEXT = "A plain sentence."  # which every embedding model can embed

Progress = Callable[[int, int], None]  # documents indexed, documents to index


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one round of indexing did."""

    documents: int = 0
    failed: int = 0
    busy: bool = False  # another process holds the lease
    chunks: int = 0  # of a large document that is not finished yet

    @property
    def anything(self) -> bool:
        """Whether it came any further, so that another round may as well."""
        return bool(self.documents or self.failed or self.chunks)

    def and_then(self, more: "Indexed") -> "Indexed":
        """What both did."""
        return Indexed(self.documents + more.documents, self.failed + more.failed, self.busy or more.busy, self.chunks + more.chunks)


@dataclass(frozen=True, slots=True)
class _Chunked:
    record: DocumentRecord
    chunks: list[Chunk]


@dataclass(frozen=True, slots=True)
class _Rows:
    record: DocumentRecord
    rows: list[StoredRow]
    reason: str  # why there are none; empty: there are some


def segment_recipe(config: RagConfig) -> SegmentRecipe:
    """What decides the rows of a document under a configuration, whatever the corpus: its digest names the segments."""
    index = config.complete().index
    stop_words = str(index.store.params.get("stop_words", "drop"))
    version, detector = EMBEDDINGS.version(index.embedder), detector_version()
    return SegmentRecipe(
        index=digest_of([config.digest("index"), version, detector]),
        embedder=index.embedder.name,
        embedder_version=version,
        detector_version=detector,
        context=index.context,
        stop_words=stop_words,
    )


class IndexedDocuments:
    """The added documents of one index configuration: `refresh` shows what others did, `step` does what is to be done."""

    def __init__(
        self,
        documents: DocumentStore,
        config: RagConfig,
        index: OpenIndex,
        *,
        clock: Callable[[], float] = time.monotonic,
        limits: IndexingLimits | None = None,
    ) -> None:
        self.documents = documents
        self.additions = Additions(documents.storage, segment_recipe(config))
        self.store = LayeredStore(index.store, index.manifest.dimensions, "keep" if self.additions.recipe.stop_words == "keep" else "drop")
        self.embeddings = index.embeddings
        self._rows = ChunkRows(config.index, index.embeddings)
        self._order = IndexingOrder(limits)
        self._open_documents: dict[Version, SlicedDocument] = {}  # the one that had the last slice at the end
        self._shown_revisions = (-1, -1)  # revisions of documents and segments
        self._shown_versions: frozenset[Version] = frozenset()  # the versions of documents that are shown
        self._refresh_lock = asyncio.Lock()
        self._versions_at: tuple[int, frozenset[Version]] = (-1, frozenset())  # by the revision of the segments
        self._reading = DocumentReading(documents)
        self._merging = SegmentMerging(documents, self.additions, clock)

    @property
    def view(self) -> LayeredView:
        """What is searched."""
        return self.store.current

    def holds(self, record: DocumentRecord) -> bool:
        """Whether a document is found in the version that its record has."""
        return (record.id, record.content) in self._shown_versions

    def missing(self) -> list[DocumentRecord]:
        """The documents that are wanted and not indexed, the oldest change first."""
        indexed = self._indexed_versions()
        wanted = (record for record in self.documents.current.records.values() if record.live)
        return sorted((record for record in wanted if (record.id, record.content) not in indexed), key=lambda one: (one.revision, one.id))

    def unrecorded(self) -> list[DocumentRecord]:
        """Documents that are indexed though their records do not say so: deleted, and added again before their rows were dropped."""
        indexed = self._indexed_versions()
        found = [one for one in self.documents.current.live if one.state != "ready" and (one.id, one.content) in indexed]
        chunks = {(one.id, one.content): one.chunks for segment in self.additions.segments for one in segment.documents} if found else {}
        return [
            one.model_copy(update={"state": "ready", "reason": "", "chunks": chunks[one.id, one.content], "progress": 0.0}) for one in found
        ]

    @property
    def unfinished(self) -> bool:
        """Whether there is something to index, or to say."""
        return bool(self.missing() or self.unrecorded())

    async def refresh(self, *, documents: bool = True) -> bool:
        """Take in what was changed since, and show it; whether anything was. Without `documents`, their store was just read."""
        async with self._refresh_lock:
            if documents:
                await asyncio.to_thread(self.documents.refresh)
            await asyncio.to_thread(self.additions.refresh)
            revisions = (self.documents.current.revision, self.additions.revision)
            if revisions == self._shown_revisions:
                return False
            wanted, segments = self.documents.current, self.additions.segments
            changed = [record.id for record in wanted.records.values()]
            proven = await self.store.proven_chunks(changed)
            self.store.show(await asyncio.to_thread(layered_view, wanted, segments, proven))
            self._shown_versions = frozenset((one.id, one.content) for segment in segments for one in segment.documents)
            self._shown_revisions = revisions
            return True

    async def step(self, parser: Parser, *, most: int = DOCUMENTS) -> Indexed:
        """Index some of what is missing, unless another process does so: small documents, then a slice of a large one."""
        await self.refresh()
        if not self.unfinished and not self._merging.due() and not await asyncio.to_thread(self._has_obsolete):
            return Indexed()
        lease = ExitStack()
        try:
            await asyncio.to_thread(lease.enter_context, self.documents.storage.lock(self.additions.lock_key, wait=False))
        except LockedError:
            return Indexed(busy=True)
        try:
            await asyncio.to_thread(self.additions.mark_used)
            await self.refresh()
            await asyncio.to_thread(self.documents.advance, self.unrecorded())
            done = await self._index(self._order.small(self.missing(), most), parser)
            large = self._order.large(self.missing())
            if large is not None:
                done = done.and_then(await self._index_slices(large, parser))
            await asyncio.to_thread(self._drop_obsolete)
            await asyncio.to_thread(self._merging.tidy)
        finally:
            with suppress(LockedError):  # the lease was lost: what another holder wrote of the same documents is the same
                await asyncio.to_thread(lease.close)
        await self.refresh()
        return done

    async def catch_up(self, parser: Parser | None, *, progress: Progress | None = None, pause_s: float = 0.5) -> Indexed:
        """Index all that is missing, or wait until others have; without a parser, only wait."""
        total = documents = failed = 0
        while True:
            await self.refresh()
            left = len(self.missing())
            total = max(total, documents + left)
            if progress and total:
                progress(total - left, total)
            if not left:
                return Indexed(documents, failed)
            done = await self.step(parser) if parser else Indexed(busy=True)
            documents, failed = documents + done.documents, failed + done.failed
            if done.busy:
                await asyncio.sleep(pause_s)

    def remove_orphans(self) -> None:
        """Remove what writers left that were killed."""
        self.additions.remove_orphans()
        self.additions.begun.look()
        self.documents.refresh()
        self.additions.begun.drop_gone(record.id for record in self.missing())

    def tidy(self) -> None:
        """Drop the rows of deleted documents, unless another process indexes: for a release that is kept for a rollback."""
        self.documents.refresh()
        self.additions.refresh()
        if self._merging.due():
            with suppress(LockedError), self.documents.storage.lock(self.additions.lock_key, wait=False):
                self.additions.refresh()
                self._merging.tidy()

    async def _index(self, records: Sequence[DocumentRecord], parser: Parser) -> Indexed:
        """Index small documents, or some of them where they have many chunks."""
        if not records:
            return Indexed()
        read = await self._reading.read(records, parser)
        failed = read.failed
        indexed: list[_Rows] = []
        for group in await asyncio.to_thread(self._grouped, read.readable, failed):
            for one in await self._rows_of(group):
                if one.reason:
                    failed.append(failed_record(one.record, one.reason))
                    continue
                indexed.append(one)
        done = await self._write(indexed)
        await asyncio.to_thread(self.documents.advance, failed)
        return Indexed(done, len(failed))

    def _grouped(self, readable: Iterable[ReadDocument], failed: list[DocumentRecord]) -> list[list["_Chunked"]]:
        """Documents in groups whose chunks are embedded together, as many as a turn takes; large ones are left out."""
        groups: list[list[_Chunked]] = []
        open_group: list[_Chunked] = []
        left = self._order.room(self.missing())
        for one in readable:
            if left <= 0:
                break
            chunked = self._chunked(one, failed)
            if chunked is None:
                continue
            if len(chunked.chunks) > self._order.limits.small_chunks:
                self._order.found_large(one.record)
                continue
            left -= len(chunked.chunks)
            open_group.append(chunked)
            if sum(len(each.chunks) for each in open_group) >= EMBEDDED:
                groups.append(open_group)
                open_group = []
        return [*groups, open_group] if open_group else groups

    def _chunked(self, one: ReadDocument, failed: list[DocumentRecord]) -> "_Chunked | None":
        """A document cut into chunks, unless that fails."""
        try:
            return _Chunked(one.record, list(self._rows.chunks([one.record.document(one.read.text, one.read.title)])))
        except Exception as error:  # noqa: BLE001 — a chunker that breaks at one document must not keep the others waiting for ever
            failed.append(failed_record(one.record, f"It could not be cut into chunks: {type(error).__name__}: {error}"))
            return None

    async def _index_slices(self, record: DocumentRecord, parser: Parser) -> Indexed:
        """Embed some chunks of a large document, slice by slice until it is done, small ones came, or its turn is over."""
        version, done = (record.id, record.content), Indexed()
        if version in self._open_documents:
            one = self._open_documents.pop(version)
            one.merge(await asyncio.to_thread(self.additions.begun.fetch, record.id, one.parts))  # of another process that had the lease
        else:
            opening = asyncio.create_task(self._opened(record, parser))
            done = await self._index_until(opening, parser)
            one = await opening
        self._open_documents[version] = one
        while len(self._open_documents) > OPEN_DOCUMENTS:
            self._open_documents.pop(next(iter(self._open_documents)))
        limits = self._order.limits
        for number in range(1, limits.slices + 1):
            done = done.and_then(await self._index_slice(one, record))
            await asyncio.to_thread(self.documents.refresh)
            missing = self.missing()
            if version not in {(each.id, each.content) for each in missing}:
                return done
            over = number == limits.slices or bool(self._order.small(missing, 1))
            if one.unsaved and (over or len(one.unsaved) >= limits.saved_chunks):
                await asyncio.to_thread(self._save_part, one)
            if over:
                break
        if record.state != "ready" and one.tenths / 10 > record.progress:
            now = record.model_copy(update={"state": "indexing", "progress": one.tenths / 10})
            await asyncio.to_thread(self.documents.advance, [now])
        return done

    async def _index_until(self, opening: "asyncio.Task[SlicedDocument]", parser: Parser) -> Indexed:
        """Index small documents while a large one is read."""
        done = Indexed()
        try:
            while not (await asyncio.wait({opening}, timeout=READING_S))[0]:
                await asyncio.to_thread(self.documents.refresh)
                done = done.and_then(await self._index(self._order.small(self.missing(), DOCUMENTS), parser))
        finally:
            opening.cancel()  # of no effect where it is done
            await asyncio.gather(opening, return_exceptions=True)
        return done

    async def _index_slice(self, one: SlicedDocument, record: DocumentRecord) -> Indexed:
        """Embed one slice; after the last one the document has its rows."""
        chunks = one.left[: self._order.limits.slice_chunks] if not one.reason else []
        try:
            rows = [row async for batch in self._rows.batches(chunks, EMBEDDED) for row in batch]
        except (RequestError, DataError, ModelError) as error:
            one.reason = await self._failure_reason(error)
        if one.reason:
            written = await asyncio.to_thread(self.documents.advance, [failed_record(record, one.reason)])
            return Indexed(failed=len(written))  # none where it was deleted meanwhile
        one.add(rows)
        if one.left:
            return Indexed(chunks=len(chunks))
        rows = [row async for batch in self._rows.batches(one.chunks, known=one.computed) for row in batch]
        return Indexed(await self._write([_Rows(record, rows, "")]))

    async def _opened(self, record: DocumentRecord, parser: Parser) -> SlicedDocument:
        """A large document with its chunks, and what is known of them: of its last version, and of slices that were done before."""
        read = await self._reading.read([record], parser)
        chunked = [await asyncio.to_thread(self._chunked, one, read.failed) for one in read.readable]
        if read.failed:
            return SlicedDocument(record, [], [], {}, reason=read.failed[0].reason)
        chunks = chunked[0].chunks if chunked and chunked[0] else []
        return await asyncio.to_thread(self._sliced, record, chunks)

    def _sliced(self, record: DocumentRecord, chunks: list[Chunk]) -> SlicedDocument:
        keys = list(map(self._rows.key, chunks))
        one = SlicedDocument(record, chunks, keys, self._computed([record.id]), reason="" if chunks else "It has no text.")
        one.merge(self.additions.begun.fetch(record.id, one.parts))
        return one

    def _save_part(self, one: SlicedDocument) -> None:
        """Keep what was computed of a document, for whoever goes on with it."""
        one.parts.add(self.additions.begun.keep(one.record.id, one.unsaved))
        one.unsaved = {}

    def _computed(self, idents: Iterable[str]) -> dict[ChunkKey, ComputedChunk]:
        """What is known of documents from other versions of them."""
        return {
            key: computed
            for ident in idents
            for segment in self.additions.segments
            for key, computed in computed_of(segment.rows_of(ident)).items()
        }

    async def _failure_reason(self, error: RequestError | DataError | ModelError) -> str:
        """Why a document has no rows; raises where it is the model that is out, and not this text that it chokes on."""
        if isinstance(error, ModelError):
            await embed(self.embeddings, [PLAIN_TEXT])
        return str(error)

    def _drop_obsolete(self) -> None:
        """Drop what was begun of documents that nobody wants any more, or that are indexed."""
        missing = self.missing()
        versions = {(record.id, record.content) for record in missing}
        self._open_documents = {version: one for version, one in self._open_documents.items() if version in versions}
        self.additions.begun.drop_gone(record.id for record in missing)

    def _has_obsolete(self) -> bool:
        """Whether something is kept of a document that is not to be indexed any more."""
        missing = self.missing()
        versions = {(record.id, record.content) for record in missing}
        return not self._open_documents.keys() <= versions or bool(self.additions.begun.gone(record.id for record in missing))

    async def _rows_of(self, group: Sequence["_Chunked"]) -> list["_Rows"]:
        """The rows of documents, or why one has none; what a model refuses of one keeps no other out."""
        chunks = [chunk for one in group for chunk in one.chunks]
        known = self._computed(one.record.id for one in group)
        try:
            rows = [row async for batch in self._rows.batches(chunks, EMBEDDED, known) for row in batch]
        except (RequestError, DataError, ModelError) as error:
            if len(group) > 1:
                return [each for one in group for each in await self._rows_of([one])]
            return [_Rows(group[0].record, [], await self._failure_reason(error))]
        found: list[_Rows] = []
        for one in group:
            own, rows = rows[: len(one.chunks)], rows[len(one.chunks) :]
            found.append(_Rows(one.record, own, "" if own else "It has no text."))
        return found

    async def _write(self, indexed: Sequence["_Rows"]) -> int:
        """A segment of these rows; then their documents are ready."""
        if not indexed:
            return 0
        documents = [IndexedDocument(one.record.id, one.record.content, len(one.rows)) for one in indexed]
        rows = [row for one in indexed for row in one.rows]
        data = await asyncio.to_thread(pack_segment, self.additions.recipe, documents, rows)
        await asyncio.to_thread(self.additions.replace, (), data)
        waiting = [one for one in indexed if one.record.state != "ready"]
        ready = [
            one.record.model_copy(update={"state": "ready", "reason": "", "chunks": len(one.rows), "progress": 0.0}) for one in waiting
        ]
        await asyncio.to_thread(self.documents.advance, ready)
        await self.refresh()
        return len(indexed)

    def _indexed_versions(self) -> frozenset[Version]:
        """The versions of documents that are in segments."""
        if self._versions_at[0] != self.additions.revision:
            self._versions_at = (self.additions.revision, indexed_versions(self.additions))
        return self._versions_at[1]
