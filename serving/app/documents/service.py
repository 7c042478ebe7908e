"""Takes, shows and removes documents, for callers who may."""

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from serving.app.core.audit import ApiAudit
from serving.app.core.problems import Rejected, forbidden_document, invalid, not_found, quota_reached, unsupported_file
from serving.app.core.stores import StoreCalls
from serving.app.documents.access import UploadReaders, front_matter_fields, readers_of
from serving.app.documents.kinds import LOOKED_AT, MEDIA_TYPES, TAKEN, objection, suffix_of
from serving.app.documents.upload import Upload
from serving.app.documents.wire import DocumentOut, DocumentsOut, DocumentTextOut, UploadIn, cursor_of, place_of
from serving.app.release.added import DocumentFollower
from serving.app.release.manager import ReleaseManager
from serving.app.settings import AppSettings
from serving.audit.record import Act, Detail
from serving.documents.record import DocumentRecord, NewDocument, safe_name
from serving.documents.store import Added
from serving.keys import Caller
from serving.pipeline.index.base import LAST_ORDINAL, Filter
from serving.pipeline.types import STATUS, Chunk, Principal

MOST_TEXT: Final = 200_000  # characters of one answer


@dataclass(frozen=True, slots=True)
class Text:
    """A document's text with what is shown beside it."""

    title: str
    version: str
    status: str
    text: str


class DocumentService:
    """The documents of one running API."""

    def __init__(
        self,
        settings: AppSettings,
        follower: DocumentFollower,
        manager: ReleaseManager,
        audit: ApiAudit,
        log: FilteringBoundLogger,
        *,
        calls: StoreCalls,
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._follower = follower
        self._store = follower.documents
        self._manager = manager
        self._audit = audit
        self._log = log
        self._adding = asyncio.Lock()  # one file in memory at a time, and no two count the same quota

    async def add(self, upload: Upload, caller: Caller) -> DocumentOut:
        """Keep an upload and have it read; the same bytes with the same readers are kept once."""
        name = safe_name(upload.name)
        suffix = suffix_of(name)
        if not suffix:
            raise unsupported_file(f"{name!r} is none of the files that are taken: {TAKEN}.")
        await upload.file.seek(0)
        if why := objection(suffix, await upload.file.read(8 * LOOKED_AT)):
            raise unsupported_file(f"{name!r} {why}. Files that are taken: {TAKEN}.")
        readers = readers_of(caller, upload.fields)
        async with self._adding:
            data = await upload.data()
            added = await self._calls.run(self._put, name, suffix, upload, data, readers, caller)
        record = added.record
        event = "document known already" if added.duplicate else "document uploaded"
        self._log.info(event, document=record.id, by=caller.id, tenant=record.tenant, bytes=record.bytes, sha256=record.sha256)
        if not added.duplicate:
            self._follower.wake()
        return self._shown(record, duplicate=added.duplicate)

    async def find(self, caller: Caller, *, words: str, cursor: str, limit: int, own: bool) -> DocumentsOut:
        """Added documents that a caller may read."""
        await self._calls.run(self._store.refresh)
        reader = caller.principal()
        current = self._store.current

        def shown(record: DocumentRecord) -> bool:
            return not own or _is_uploader(caller, record)

        page = self._store.find(reader, words=words, after=place_of(cursor), limit=limit, only=shown)
        loaded = self._manager.serving
        manifest = loaded.pipeline.index.manifest if loaded else None
        return DocumentsOut(
            documents=tuple(map(self._shown, page.records)),
            next=cursor_of(page.next) or None,
            added=sum(1 for record in current.live if record.readable_by(reader) and shown(record)),
            release_documents=manifest.documents if manifest else 0,
            corpus_version="+".join(part for part in (manifest.corpus_digest if manifest else "", self._follower.view.version) if part),
        )

    async def get(self, ident: str, caller: Caller, *, own: bool) -> DocumentOut:
        """A document that a caller may read, added or of the release's corpus."""
        record = await self._readable(ident, caller)
        if own and not (record and _is_uploader(caller, record)):
            raise _missing(ident)
        if record is not None:
            return self._shown(record)
        return DocumentOut.of_release(await self._chunks(ident, caller.principal()))

    async def text(self, ident: str, caller: Caller, start: int, end: int | None) -> DocumentTextOut:
        """A part of a document's text."""
        record = await self._readable(ident, caller)
        whole = await self._text_of(record) if record else _joined(await self._chunks(ident, caller.principal()))
        if whole is None:
            raise not_found(f"The document {ident!r} has no text (yet): it is {record.state if record else 'not there'}.")
        total = len(whole.text)
        first = min(start, total)
        last = min(max(total if end is None else end, first), total, first + MOST_TEXT)
        about = {"title": whole.title, "version": whole.version, "status": whole.status}
        return DocumentTextOut(document=ident, **about, text=whole.text[first:last], start=first, end=last, total=total)

    async def delete(self, ident: str, caller: Caller) -> None:
        """Remove a document and what was made of its words: one's own upload, or as an administrator any of the tenant."""
        record = await self._readable(ident, caller)
        tenant = record.tenant if record else (await self._chunks(ident, caller.principal()))[0].tenant
        mine = record is not None and _is_uploader(caller, record)
        about: dict[str, Detail] = {"origin": "release"}
        if record is not None:
            about = {"origin": "added", "sha256": record.sha256, "bytes": record.bytes}
        act = self._audit.act(caller, "document.delete", ident, about, tenant=tenant)
        if not (mine or ("admin" in caller.scopes and tenant == caller.tenant)):
            await self._audit.refused(act, forbidden_document())
            raise forbidden_document()
        await self._calls.run(self._delete, ident, act)
        self._log.info("document deleted", document=ident, by=caller.id, tenant=tenant, origin="release" if record is None else "added")
        self._follower.wake()
        await self._follower.refresh()  # here at once; every other server sees it at its next look

    async def may_read(self, idents: list[str], reader: Principal) -> set[str]:
        """Those of some documents that a reader may read as things are now."""
        records = {ident: self._store.get(ident) for ident in idents}
        readable = {ident for ident, record in records.items() if record and record.state != "deleted" and record.readable_by(reader)}
        loaded = self._manager.serving
        if loaded is not None:
            where = Filter(reader.tenant, reader.groups, reader.domains)
            others = [ident for ident, record in records.items() if record is None]
            first = await asyncio.gather(*(loaded.pipeline.index.store.slice(ident, 0, 0, where) for ident in others))
            readable |= {ident for ident, chunks in zip(others, first, strict=True) if chunks}
        return readable

    def _shown(self, record: DocumentRecord, *, duplicate: bool = False) -> DocumentOut:
        """A record, whose state is what holds for the release that is served here."""
        return DocumentOut.of(record.model_copy(update={"state": self._follower.state_of(record)}), duplicate=duplicate)

    async def _readable(self, ident: str, caller: Caller) -> DocumentRecord | None:
        """The record of an added document; none for one that only a release may have, a 404 for one that the caller may not find."""
        await self._calls.run(self._store.refresh)
        record = self._store.get(ident)
        if record is not None and (record.state == "deleted" or not record.readable_by(caller.principal())):
            raise _missing(ident)
        return record

    async def _chunks(self, ident: str, reader: Principal) -> list[Chunk]:
        """The chunks of a document in the index that is served."""
        loaded = self._manager.serving
        where = Filter(reader.tenant, reader.groups, reader.domains)
        chunks = await loaded.pipeline.index.store.slice(ident, 0, LAST_ORDINAL, where) if loaded else []
        if not chunks:
            raise _missing(ident)
        return chunks

    async def _text_of(self, record: DocumentRecord) -> Text | None:
        read = await self._calls.run(self._store.text, record)
        return None if read is None else Text(record.document(read.text, read.title).title, record.version, record.status, read.text)

    def _put(self, name: str, suffix: str, upload: Upload, data: bytes, readers: UploadReaders, caller: Caller) -> Added:
        in_file = front_matter_fields(data, name, suffix, readers_given=upload.fields.groups is not None)
        about = _about(name, suffix, upload.fields, in_file, readers, caller)
        self._store.refresh()
        existing = self._same(about, data)
        if existing is not None:
            if not _is_uploader(caller, existing):
                return Added(existing, duplicate=True)
            about = about.model_copy(update={"id": existing.id, "name": existing.name, **_earlier_values(existing, upload)})
        facts: dict[str, Detail] = {"sha256": sha256(data).hexdigest(), "bytes": len(data), "replaces": existing is not None}
        with self._audit.doing(self._audit.act(caller, "document.add", about.identified(data), facts, tenant=readers.tenant)) as result:
            if existing is None and (why := self._beyond_quota(readers.tenant, len(data))):
                raise quota_reached(why)
            added = self._store.put(about, data)
            if added.duplicate:
                result["unchanged"] = True
        return added

    def _delete(self, ident: str, act: Act) -> None:
        with self._audit.doing(act):
            self._store.delete([ident])

    def _same(self, about: NewDocument, data: bytes) -> DocumentRecord | None:
        """The upload with the same bytes and readers, whatever its name."""
        ident = about.identified(data).rpartition("/")[0]
        records = self._store.current.records.values()
        return next((record for record in records if record.live and record.id.rpartition("/")[0] == ident), None)

    def _beyond_quota(self, tenant: str, size: int) -> str:
        stored = [record for record in self._store.current.records.values() if record.tenant == tenant and record.state != "deleted"]
        most, most_bytes = self._settings.tenant_documents, self._settings.tenant_document_bytes
        if len(stored) >= most:
            return f"{most} documents"
        return f"{most_bytes} bytes of documents" if sum(record.bytes for record in stored) + size > most_bytes else ""


def _about(name: str, suffix: str, fields: UploadIn, in_file: UploadIn, readers: UploadReaders, caller: Caller) -> NewDocument:
    """A new document: what its upload says, and where that says nothing, what its file does."""
    try:
        return NewDocument(
            name=name,
            title=fields.title or in_file.title,
            media_type=MEDIA_TYPES[suffix],
            tenant=readers.tenant,
            groups=readers.groups,
            domain=readers.domain,
            version=fields.version or in_file.version,
            status=fields.status or fields.metadata.get(STATUS, "") or in_file.status,
            metadata={name: value for name, value in {**in_file.metadata, **fields.metadata}.items() if name != STATUS},
            uploader=caller.id,
        )
    except ValidationError as error:  # of the key's own names, which are longer than any document may have them
        raise invalid(error.errors(include_url=False, include_input=False)) from None


def _earlier_values(existing: DocumentRecord, upload: Upload) -> dict[str, object]:
    """What an earlier upload of the same file said and this one does not."""
    fields = upload.fields
    given = {"title": fields.title, "version": fields.version, "status": fields.status, "metadata": fields.metadata}
    return {name: getattr(existing, name) for name, value in given.items() if not value}


def _joined(chunks: list[Chunk]) -> Text:
    """A document's text, rebuilt of its chunks with every character in its place; what no chunk holds is white space."""
    parts: list[str] = []
    end = 0
    for chunk in chunks:
        gap = chunk.start - end
        if gap > 0:
            parts.append(" " if gap == 1 else "\n" * gap)
        if chunk.end > end:
            parts.append(chunk.text[max(0, -gap) :])
            end = chunk.end
    first = chunks[0]
    return Text(first.title, first.version, first.metadata.get(STATUS, ""), "".join(parts))


def _is_uploader(caller: Caller, record: DocumentRecord) -> bool:
    return record.uploader == caller.id and record.tenant == caller.tenant and not record.collection


def _missing(ident: str) -> Rejected:
    return not_found(f"There is no document {ident!r} that you may read.")
