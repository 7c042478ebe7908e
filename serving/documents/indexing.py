"""Brings the index of one configuration to what the store of documents wants: reads, chunks, embeds, and shows what is there."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

import numpy as np

from serving.documents.record import DocumentRecord, State
from serving.documents.store import DocumentSet, DocumentStore, ReadText
from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_all, digest_of
from serving.pipeline.errors import DataError, LockedError, ModelError, RefusedFile, RequestError
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.index.chunk_rows import ChunkRows
from serving.pipeline.index.embed import embed
from serving.pipeline.index.layered.additions import Additions
from serving.pipeline.index.layered.segment import IndexedDocument, LiveSegment, Segment, SegmentRecipe, pack_segment
from serving.pipeline.index.layered.store import LayeredStore
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.index.loaders import LOADERS, unread
from serving.pipeline.index.parse import Parser
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.types import PUBLIC, Chunk

DOCUMENTS = 64  # indexed under one lease
ROWS = 2048  # from which a segment is written before the last document of a batch is indexed
EMBEDDED = 64  # chunks embedded at a time: a question in between waits for no more
MERGED = 4  # segments of about a size that become one
LARGEST = 16_384  # rows of a merged segment
REWRITE_S = 60.0  # between two large segments that are written anew because a document in them was deleted
PLAIN_TEXT = "A plain sentence."  # which every embedding model can embed
CHARACTERS = 20_000_000  # of one document

Progress = Callable[[int, int], None]  # documents indexed, documents to index


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one round of indexing did."""

    documents: int = 0
    failed: int = 0
    busy: bool = False  # another process holds the lease


@dataclass(frozen=True, slots=True)
class _Readable:
    record: DocumentRecord
    read: ReadText


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
        self, documents: DocumentStore, config: RagConfig, index: OpenIndex, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.documents = documents
        self.additions = Additions(documents.storage, segment_recipe(config))
        self.store = LayeredStore(index.store, index.manifest.dimensions, "keep" if self.additions.recipe.stop_words == "keep" else "drop")
        self.embeddings = index.embeddings
        self._rows = ChunkRows(config.index, index.embeddings)
        self._shown = (-1, -1)  # revisions of documents and segments
        self._found: frozenset[tuple[str, str]] = frozenset()  # the versions of documents that are shown
        self._showing = asyncio.Lock()
        self._held_at: tuple[int, frozenset[tuple[str, str]]] = (-1, frozenset())  # by the revision of the segments
        self._clock = clock
        self._rewritten_at = -REWRITE_S

    @property
    def view(self) -> LayeredView:
        """What is searched."""
        return self.store.current

    def holds(self, record: DocumentRecord) -> bool:
        """Whether a document is found in the version that its record has."""
        return (record.id, record.content) in self._found

    def missing(self) -> list[DocumentRecord]:
        """The documents that are wanted and not indexed, the oldest change first."""
        held = self._held()
        wanted = (record for record in self.documents.current.records.values() if record.live)
        return sorted((record for record in wanted if (record.id, record.content) not in held), key=lambda one: (one.revision, one.id))

    def unsaid(self) -> list[DocumentRecord]:
        """Documents that are indexed though their records do not say so: deleted, and added again before their rows were dropped."""
        held = self._held()
        found = [one for one in self.documents.current.live if one.state != "ready" and (one.id, one.content) in held]
        chunks = {(one.id, one.content): one.chunks for segment in self.additions.segments for one in segment.documents} if found else {}
        return [one.model_copy(update={"state": "ready", "reason": "", "chunks": chunks[one.id, one.content]}) for one in found]

    @property
    def unfinished(self) -> bool:
        """Whether there is something to index, or to say."""
        return bool(self.missing() or self.unsaid())

    async def refresh(self, *, documents: bool = True) -> bool:
        """Take in what was changed since, and show it; whether anything was. Without `documents`, their store was just read."""
        async with self._showing:
            if documents:
                await asyncio.to_thread(self.documents.refresh)
            await asyncio.to_thread(self.additions.refresh)
            revisions = (self.documents.current.revision, self.additions.revision)
            if revisions == self._shown:
                return False
            wanted, segments = self.documents.current, self.additions.segments
            changed = [record.id for record in wanted.records.values()]
            proven = await self.store.proven_chunks(changed)
            self.store.show(await asyncio.to_thread(layered_view, wanted, segments, proven))
            self._found = frozenset((one.id, one.content) for segment in segments for one in segment.documents)
            self._shown = revisions
            return True

    async def step(self, parser: Parser, *, most: int = DOCUMENTS) -> Indexed:
        """Index some of what is missing, unless another process does so."""
        await self.refresh()
        if not self.unfinished and not self._to_merge():
            return Indexed()
        held = ExitStack()
        try:
            await asyncio.to_thread(held.enter_context, self.documents.storage.lock(self.additions.lock_key, wait=False))
        except LockedError:
            return Indexed(busy=True)
        try:
            await self.refresh()
            await asyncio.to_thread(self.documents.advance, self.unsaid())
            done = await self._index(self.missing()[:most], parser)
            await asyncio.to_thread(self._tidy)
        finally:
            with suppress(LockedError):  # the lease was lost: what another holder wrote of the same documents is the same
                await asyncio.to_thread(held.close)
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

    async def _index(self, records: Sequence[DocumentRecord], parser: Parser) -> Indexed:
        readable, failed = await self._read(records, parser)
        await self._advance([one.record for one in readable], "indexing")
        done = 0
        rows: list[StoredRow] = []
        indexed: list[_Rows] = []
        for group in self._grouped(readable, failed):
            for one in await self._rows_of(group):
                if one.reason:
                    failed.append(_failed(one.record, one.reason))
                    continue
                indexed.append(one)
                rows += one.rows
            if len(rows) >= ROWS:
                done += await self._write(indexed)
                rows, indexed = [], []
        done += await self._write(indexed)
        await asyncio.to_thread(self.documents.advance, failed)
        return Indexed(done, len(failed))

    def _grouped(self, readable: Iterable["_Readable"], failed: list[DocumentRecord]) -> Iterator[list["_Chunked"]]:
        """Documents in groups whose chunks are embedded together."""
        group: list[_Chunked] = []
        for one in readable:
            document = one.record.document(one.read.text, one.read.title)
            try:
                group.append(_Chunked(one.record, list(self._rows.chunks([document]))))
            except Exception as error:  # noqa: BLE001 — a chunker that breaks at one document must not keep the others waiting for ever
                failed.append(_failed(one.record, f"It could not be cut into chunks: {type(error).__name__}: {error}"))
            if sum(len(each.chunks) for each in group) >= EMBEDDED:
                yield group
                group = []
        if group:
            yield group

    async def _rows_of(self, group: Sequence["_Chunked"]) -> list["_Rows"]:
        """The rows of documents, or why one has none; what a model refuses of one keeps no other out."""
        chunks = [chunk for one in group for chunk in one.chunks]
        try:
            rows = [row async for batch in self._rows.batches(chunks, EMBEDDED) for row in batch]
        except (RequestError, DataError, ModelError) as error:
            if len(group) > 1:
                return [each for one in group for each in await self._rows_of([one])]
            if isinstance(error, ModelError):
                await embed(self.embeddings, [PLAIN_TEXT])  # raises where it is the model that is out, and not this text that it chokes on
            return [_Rows(group[0].record, [], str(error))]
        found: list[_Rows] = []
        for one in group:
            own, rows = rows[: len(one.chunks)], rows[len(one.chunks) :]
            found.append(_Rows(one.record, own, "" if own else "It has no text."))
        return found

    async def _read(self, records: Sequence[DocumentRecord], parser: Parser) -> tuple[list["_Readable"], list[DocumentRecord]]:
        """The documents with their texts, and those that none can be had of."""
        readable: list[_Readable] = []
        failed: list[DocumentRecord] = []
        unread: list[DocumentRecord] = []
        for record in records:
            known = await asyncio.to_thread(self.documents.text, record)
            if known is None:
                unread.append(record)
            else:
                readable.append(_Readable(record, known))
        await self._advance(unread, "parsing")
        for record in unread:
            try:
                data = await asyncio.to_thread(self.documents.data, record)
                read = await asyncio.to_thread(_parsed, record, data, parser)
            except RefusedFile as refusal:
                failed.append(_failed(record, refusal.reason))
            except DataError as error:
                failed.append(_failed(record, str(error)))
            else:
                await asyncio.to_thread(self.documents.put_text, record.stored, read)
                readable.append(_Readable(record, read))
        return readable, failed

    async def _write(self, indexed: Sequence["_Rows"]) -> int:
        """A segment of these rows; then their documents are ready."""
        if not indexed:
            return 0
        documents = [IndexedDocument(one.record.id, one.record.content, len(one.rows)) for one in indexed]
        rows = [row for one in indexed for row in one.rows]
        data = await asyncio.to_thread(pack_segment, self.additions.recipe, documents, rows)
        await asyncio.to_thread(self.additions.replace, (), data)
        waiting = [one for one in indexed if one.record.state != "ready"]
        ready = [one.record.model_copy(update={"state": "ready", "reason": "", "chunks": len(one.rows)}) for one in waiting]
        await asyncio.to_thread(self.documents.advance, ready)
        await self.refresh()
        return len(indexed)

    async def _advance(self, records: Sequence[DocumentRecord], state: State) -> None:
        """Say what happens to documents that are not ready under any configuration."""
        changed = [record.model_copy(update={"state": state}) for record in records if record.state not in ("ready", state)]
        await asyncio.to_thread(self.documents.advance, changed)

    def _held(self) -> frozenset[tuple[str, str]]:
        """The versions of documents that are in segments."""
        if self._held_at[0] != self.additions.revision:
            held = frozenset((one.id, one.content) for segment in self.additions.segments for one in segment.documents)
            self._held_at = (self.additions.revision, held)
        return self._held_at[1]

    def _to_merge(self) -> list[Segment]:
        """Segments to be written anew as one: one with rows of documents that are gone, else some of about a size."""
        wanted = {(record.id, record.content) for record in self.documents.current.live}
        seen: set[tuple[str, str]] = set()
        tiers: dict[int, list[Segment]] = {}
        for segment in self.additions.segments:
            held = {(one.id, one.content) for one in segment.documents}
            if (not held <= wanted or held & seen) and (len(segment) < ROWS or self._clock() - self._rewritten_at >= REWRITE_S):
                return [segment]
            seen |= held
            tiers.setdefault(int(np.log2(len(segment))) // 2, []).append(segment)
        for tier in tiers.values():
            fitting = [segment for segment, rows in zip(tier, accumulate(map(len, tier)), strict=True) if rows <= LARGEST]
            if len(tier) >= MERGED and len(fitting) > 1:
                return fitting
        return []

    def _tidy(self) -> None:
        """Merge segments and drop dead rows until nothing is left to do."""
        while chosen := self._to_merge():
            wanted = {(record.id, record.content) for record in self.documents.refresh().live}
            before: set[tuple[str, str]] = set()
            for segment in self.additions.segments:
                if segment is chosen[0]:
                    break
                before |= {(one.id, one.content) for one in segment.documents}
            rows: list[StoredRow] = []
            kept: list[IndexedDocument] = []
            for segment in chosen:
                alive = [one for one in segment.documents if (one.id, one.content) in wanted and (one.id, one.content) not in before]
                before |= {(one.id, one.content) for one in alive}
                names = {one.id for one in alive}
                rows += segment.stored_rows(segment.without(one.id for one in segment.documents if one.id not in names))
                kept += alive
            if len(chosen) == 1 and len(chosen[0]) >= ROWS:
                self._rewritten_at = self._clock()
            data = pack_segment(self.additions.recipe, kept, rows) if rows else None
            self.additions.replace([segment.name for segment in chosen], data)


def layered_view(wanted: DocumentSet, segments: Sequence[Segment], proven: dict[str, int]) -> LayeredView:
    """What is to be searched: each wanted document that is indexed, and of the proven index what was not deleted or replaced."""
    contents = {record.id: record.content for record in wanted.records.values() if record.live}
    deleted = {record.id for record in wanted.records.values() if record.state == "deleted"}
    shown: set[str] = set()
    live: list[LiveSegment] = []
    for segment in segments:
        alive = {one.id for one in segment.documents if contents.get(one.id) == one.content and one.id not in shown}
        shown |= alive
        if alive:
            live.append(LiveSegment(segment, segment.without(one.id for one in segment.documents if one.id not in alive)))
    hidden = (deleted | shown) & proven.keys()
    by_tenant: dict[str, list[str]] = {}
    changed: list[str] = []
    for record in wanted.records.values():
        if record.id in shown or record.id in deleted:
            said = f"{record.id}\n{record.content if record.id in shown else 'deleted'}"
            changed.append(said)
            for tenant in _tenants(record, proven):
                by_tenant.setdefault(tenant, []).append(said)
    return LayeredView(
        segments=tuple(live),
        hidden=frozenset(hidden),
        version=digest_all(changed) if changed else "",
        versions=MappingProxyType({tenant: digest_all(said) for tenant, said in by_tenant.items()}),
        added=len(shown),
        removed=len(deleted & proven.keys()),
        added_chunks=sum(one.count for one in live),
        hidden_chunks=sum(proven[ident] for ident in hidden),
    )


def _tenants(record: DocumentRecord, proven: dict[str, int]) -> tuple[str, ...]:
    """Whose answers a change of a document may change: of one in the proven corpus, perhaps everybody's."""
    return (PUBLIC,) if record.id in proven else (record.tenant,)


def _failed(record: DocumentRecord, reason: str) -> DocumentRecord:
    return record.model_copy(update={"state": "failed", "reason": reason[:2000]})


def _parsed(record: DocumentRecord, data: bytes, parser: Parser) -> ReadText:
    """The text of a document's bytes, read in a process of its own."""
    if record.suffix not in LOADERS.names():
        raise RefusedFile(record.name, unread(record.suffix))
    loaded = parser.parse(data, record.name or record.id, record.suffix)
    if len(loaded.text) > CHARACTERS:
        raise RefusedFile(record.name, f"has {len(loaded.text):,} characters; at most {CHARACTERS:,} are read. Split it.")
    if not loaded.text.strip():
        raise RefusedFile(record.name, "It has no text.")
    return ReadText(loaded.text, loaded.title)
