"""The store of added documents: what is wanted of each, its bytes and its text, on a folder or in a bucket.

log/…                      the records, as a log of changes (see `ChangeLog`)
files/<stored>             the bytes of one version of a document
texts/<stored>.json        what was read from them
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from serving.documents.record import DocumentRecord, NewDocument, content_digest
from serving.pipeline.digest import digest_all
from serving.pipeline.errors import DataError, StoreError
from serving.pipeline.types import Principal
from serving.storage.base import Storage
from serving.storage.log import SNAPSHOT_EVERY, ChangeLog

LOG, FILES, TEXTS = "log", "files", "texts"
REQUESTS = 8  # to a storage at a time
TRIES = 100  # to append a change while other writers are first
ORPHANED = timedelta(hours=1)  # after which bytes that no record names are those of a writer that was killed

T = TypeVar("T")
_RECORDS = TypeAdapter(tuple[DocumentRecord, ...])


@dataclass(frozen=True, slots=True)
class Addition:
    """A document with its bytes, to be added; its text too, where it was read before."""

    about: NewDocument
    data: bytes
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The record of a document that was added, or was there already with the same bytes and facts."""

    record: DocumentRecord
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ReadText:
    """The text of a document, and the title that its file has."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and where the next ones begin: empty where there are none."""

    records: tuple[DocumentRecord, ...]
    next: str


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """All records at one revision."""

    records: dict[str, DocumentRecord]
    revision: int = 0

    @property
    def live(self) -> list[DocumentRecord]:
        """The documents that are wanted."""
        return [record for record in self.records.values() if record.live]

    @property
    def version(self) -> str:
        """A digest of what is wanted and what is not, the same on every replica; empty where nothing was ever changed."""
        changed = [f"{record.id}\n{record.content if record.state != 'deleted' else 'deleted'}" for record in self.records.values()]
        return digest_all(changed) if changed else ""


class DocumentStore:
    """Added documents, safe under several threads, processes and machines. An outage is a `StoreError`; calls block.

    Reads are of the state at the last `refresh`, which every write brings up to date.
    """

    def __init__(self, storage: Storage, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.place = storage.place
        self.storage = storage
        self._log = ChangeLog(storage, LOG, now=now)
        self._now = now
        self._current = DocumentSet({})
        self._lock = threading.RLock()

    @property
    def current(self) -> DocumentSet:
        """The state at the last refresh."""
        return self._current

    def refresh(self) -> DocumentSet:
        """The state as it is now; one or two small requests where nothing changed."""
        with self._lock:
            logged = self._log.after(self._current.revision)
            if logged is not None:
                records = dict(self._current.records)
                if logged.snapshot is not None:
                    records = {record.id: record for record in self._read(logged.snapshot)}
                for change in logged.changes:
                    records |= {record.id: record for record in self._read(change)}
                self._current = DocumentSet(records, logged.revision)
            return self._current

    def get(self, ident: str) -> DocumentRecord | None:
        """The record of a document, also of one that was deleted."""
        return self._current.records.get(ident)

    def find(self, reader: Principal | None = None, *, words: str = "", after: str = "", limit: int = 50, deleted: bool = False,
             only: Callable[[DocumentRecord], bool] | None = None) -> Page:  # fmt: skip
        """The documents that a reader may find (`None`: all), the newest first; `words` stand in title or name, whatever their case.

        `only` leaves out more of them, before they are parted into pages.
        """
        wanted = words.casefold()
        found = [
            record
            for record in self._current.records.values()
            if (deleted or record.state != "deleted")
            and (reader is None or record.readable_by(reader))
            and (only is None or only(record))
            and wanted in f"{record.title}\n{record.name}\n{record.id}".casefold()
        ]
        found.sort(key=_place, reverse=True)
        if after:
            found = [record for record in found if _cursor(record) < after]
        page = found[:limit]
        return Page(tuple(page), _cursor(page[-1]) if len(found) > len(page) and page else "")

    def put(self, about: NewDocument, data: bytes, text: str | None = None) -> Added:
        """Add a document, or a new version of the one that has its id."""
        return self.put_all([Addition(about, data, text)])[0]

    def put_all(self, additions: Sequence[Addition]) -> list[Added]:
        """Add several in one change: all or none."""
        digests = [sha256(addition.data).hexdigest() for addition in additions]
        idents = [addition.about.identified(addition.data) for addition in additions]
        contents = [content_digest(one.about, ident, digest) for one, ident, digest in zip(additions, idents, digests, strict=True)]
        self.refresh()
        stored = [  # never a name that a deletion is about to remove
            "" if self._holds(ident, content) else f"{content}-{uuid4().hex[:12]}" for ident, content in zip(idents, contents, strict=True)
        ]
        _at_once(self._put_stored, [(name, addition) for name, addition in zip(stored, additions, strict=True) if name])
        added: dict[int, Added] = {}

        def change(current: DocumentSet, revision: int) -> list[DocumentRecord]:
            at, changed = self._at(), []
            for number, (addition, ident, digest, content) in enumerate(zip(additions, idents, digests, contents, strict=True)):
                before = current.records.get(ident)
                if before is not None and before.content == content and before.live:
                    added[number] = Added(before, True)
                    continue
                if not stored[number]:
                    raise StoreError(f"The document {ident!r} was deleted while it was added. Try again.")
                _refuse_other_collection(before, addition.about)
                record = DocumentRecord(
                    **(addition.about.model_dump() | {"id": ident}),
                    sha256=digest,
                    bytes=len(addition.data),
                    created_at=before.created_at if before and before.live else at,
                    updated_at=at,
                    state="waiting" if addition.text is None else "indexing",
                    content=content,
                    stored=stored[number],
                    revision=revision,
                )
                added[number] = Added(record, False)
                changed.append(record)
            return changed

        self._remove_objects(self._change(change))
        for number, one in added.items():
            if stored[number] and one.record.stored != stored[number]:  # another writer was first with the same
                self._remove_stored(stored[number])
        return [added[number] for number in range(len(additions))]

    def delete(self, idents: Iterable[str], *, expected: int | None = None) -> list[DocumentRecord]:
        """Leave tombstones in place of documents, and remove their bytes and texts; those that a release brought are hidden.

        With `expected`, only where the one record is still of that revision, else a `DataError`.
        """
        wanted = list(dict.fromkeys(idents))

        def change(current: DocumentSet, revision: int) -> list[DocumentRecord]:
            at, changed = self._at(), []
            for ident in wanted:
                before = current.records.get(ident)
                if expected is not None and (before.revision if before else 0) != expected:
                    raise DataError(f"The document {ident!r} was changed meanwhile. Look at it again.")
                if before is not None and before.state == "deleted":
                    continue
                old = before or DocumentRecord(id=ident, created_at=at, updated_at=at)
                changed.append(old.tombstone(at).model_copy(update={"revision": revision}))
            return changed

        self._remove_objects(self._change(change))
        return [self._current.records[ident] for ident in wanted]

    def advance(self, records: Iterable[DocumentRecord]) -> list[DocumentRecord]:
        """Write records in their new states, each only while its content is still the current one; those that were written."""
        wanted = list(records)
        written: list[DocumentRecord] = []

        def change(current: DocumentSet, revision: int) -> list[DocumentRecord]:
            written.clear()
            for record in wanted:
                before = current.records.get(record.id)
                if before is None or before.content != record.content or before.state == "deleted":
                    continue
                new = record.model_copy(update={"updated_at": self._at(), "revision": revision})
                if new.model_copy(update={"updated_at": before.updated_at, "revision": before.revision}) != before:
                    written.append(new)
            return written

        self._change(change)
        return written

    def data(self, record: DocumentRecord) -> bytes:
        """The bytes of a document."""
        blob = self.storage.get(f"{FILES}/{record.stored}")
        if blob is None:
            raise StoreError(f"The bytes of {record.id!r} are gone from {self.place}. Add it again.")
        return blob.data

    def text(self, record: DocumentRecord) -> ReadText | None:
        """The text of a document, where it has been read."""
        blob = self.storage.get(f"{TEXTS}/{record.stored}.json") if record.stored else None
        return ReadText(**json.loads(blob.data)) if blob else None

    def put_text(self, stored: str, read: ReadText) -> None:
        """Keep what was read from a document's bytes."""
        self.storage.put(f"{TEXTS}/{stored}.json", json.dumps({"text": read.text, "title": read.title}, ensure_ascii=True).encode())

    def remove_orphans(self) -> int:
        """Remove bytes and texts that no record names: of writers that were killed, or of documents deleted meanwhile; how many."""
        known = {record.stored for record in self.refresh().records.values() if record.stored}
        removed = 0
        for folder in (FILES, TEXTS):
            for entry in self.storage.list(f"{folder}/"):
                stored = entry.key.removeprefix(f"{folder}/").removesuffix(".json")
                if stored not in known and entry.modified < self._now() - ORPHANED:
                    self.storage.delete(entry.key)
                    removed += 1
        return removed

    def _change(self, change: Callable[[DocumentSet, int], list[DocumentRecord]]) -> list[DocumentRecord]:
        """Append what a change makes of the current state; the records that it replaced."""
        with self._lock:
            for _ in range(TRIES):
                current = self.refresh()
                revision = current.revision + 1
                records = change(current, revision)
                if not records:
                    return []
                if not self._log.append(current.revision, _RECORDS.dump_json(tuple(records), exclude_defaults=True)):
                    continue
                replaced = [current.records[record.id] for record in records if record.id in current.records]
                self._current = DocumentSet(current.records | {record.id: record for record in records}, revision)
                if revision % SNAPSHOT_EVERY == 0:
                    self._log.write_snapshot(revision, _RECORDS.dump_json(tuple(self._current.records.values()), exclude_defaults=True))
                return replaced
        raise StoreError(f"{self.place}: other writers were first {TRIES} times in a row. Try again.")

    def _remove_objects(self, replaced: Iterable[DocumentRecord]) -> None:
        """Remove the bytes and texts of records that were replaced by others."""
        now = self._current.records
        _at_once(self._remove_stored, [old.stored for old in replaced if old.stored and now[old.id].stored != old.stored])

    def _put_stored(self, one: tuple[str, Addition]) -> None:
        stored, addition = one
        self.storage.put(f"{FILES}/{stored}", addition.data)
        if addition.text is not None:
            self.put_text(stored, ReadText(addition.text))

    def _remove_stored(self, stored: str) -> None:
        self.storage.delete(f"{FILES}/{stored}")
        self.storage.delete(f"{TEXTS}/{stored}.json")

    def _holds(self, ident: str, content: str) -> bool:
        record = self._current.records.get(ident)
        return record is not None and record.content == content and record.live

    def _read(self, data: bytes) -> tuple[DocumentRecord, ...]:
        try:
            return _RECORDS.validate_json(data)
        except ValidationError as error:
            raise StoreError(f"{self.place}: a change in the log of documents cannot be read: {error.errors()[0]['msg']}.") from None

    def _at(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


def _at_once(do: Callable[[T], None], items: Sequence[T]) -> None:
    """Something that waits for a storage, for several items at a time."""
    if len(items) < 2:
        for item in items:
            do(item)
        return
    with ThreadPoolExecutor(REQUESTS) as pool:
        list(pool.map(do, items))


def _place(record: DocumentRecord) -> tuple[str, str]:
    return record.created_at, record.id


def _cursor(record: DocumentRecord) -> str:
    return "\n".join(_place(record))


def _refuse_other_collection(before: DocumentRecord | None, about: NewDocument) -> None:
    """An id belongs to where it came from."""
    if before is not None and before.live and before.collection != about.collection:
        whose = before.collection or "an upload"
        raise DataError(f"The document {before.id!r} is from {whose}, not from {about.collection or 'an upload'}. Give it another id.")
