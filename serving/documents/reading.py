"""Reads the texts of added documents, each once, and says how far they are."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.documents.record import DocumentRecord, State
from serving.documents.store import DocumentStore, ReadText
from serving.pipeline.errors import DataError, RefusedFile, StoreError
from serving.pipeline.index.loaders import LOADERS, unread
from serving.pipeline.index.parse import Parser

CHARACTERS = 20_000_000  # of one document


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document with its text."""

    record: DocumentRecord
    read: ReadText


@dataclass(frozen=True, slots=True)
class ReadDocuments:
    """Documents with their texts, and those that none can be had of."""

    readable: list[ReadDocument]
    failed: list[DocumentRecord]


class DocumentReading:
    """Gives documents their texts."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def read(self, records: Sequence[DocumentRecord], parser: Parser) -> ReadDocuments:
        """The texts of documents, parsed where nobody did so before; one that is deleted meanwhile is left out."""
        done = ReadDocuments([], [])
        unread: list[DocumentRecord] = []
        for record in records:
            known = await asyncio.to_thread(self._documents.text, record)
            if known is None:
                unread.append(record)
            else:
                done.readable.append(ReadDocument(record, known))
        await self._advance(unread, "parsing")
        for record in unread:
            try:
                data = await asyncio.to_thread(self._documents.data, record)
                read = await asyncio.to_thread(_parsed, record, data, parser)
            except RefusedFile as refusal:
                done.failed.append(failed_record(record, refusal.reason))
            except DataError as error:
                done.failed.append(failed_record(record, str(error)))
            except StoreError:
                if await asyncio.to_thread(self._is_wanted, record):
                    raise
            else:
                await asyncio.to_thread(self._documents.put_text, record.stored, read)
                done.readable.append(ReadDocument(record, read))
        await self._advance([one.record for one in done.readable], "indexing")
        return done

    async def _advance(self, records: Iterable[DocumentRecord], state: State) -> None:
        """Record the state of documents that are not ready under any configuration."""
        changed = [record.model_copy(update={"state": state}) for record in records if record.state not in ("ready", state)]
        await asyncio.to_thread(self._documents.advance, changed)

    def _is_wanted(self, record: DocumentRecord) -> bool:
        """Whether a document is still wanted, in the version that a record has."""
        now = self._documents.refresh().records.get(record.id)
        return now is not None and now.live and now.stored == record.stored


def failed_record(record: DocumentRecord, reason: str) -> DocumentRecord:
    """The record of a document that cannot be indexed, and why."""
    return record.model_copy(update={"state": "failed", "reason": reason[:2000], "progress": 0.0})


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
