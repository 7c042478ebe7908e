"""The stored state of an unfinished build: the documents of parts, and which parts' rows are in the table.

<indexes>/.building/loads/<corpus>/<part>.jsonl     the documents of a part
<indexes>/.building/loads/<corpus>/<part>.json      their ids and digests; written last
<indexes>/.building/rows/<recipe>/<plan>/<part>.digests     the digests of a part's rows
<indexes>/.building/rows/<recipe>/<plan>/<part>.json        whether they are in the table
<indexes>/.building/tables/<recipe>/<plan>/         the table, where indexes lie in a folder
"""

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.errors import IntegrityError, StoreError
from serving.pipeline.index.corpus import CorpusPart
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import PUBLIC, Document
from serving.storage.base import Storage
from serving.storage.open import open_storage
from serving.storage.place import below

FOLDER = ".building"  # hidden, so that nothing that lists indexes sees it


class BuildFile(BaseModel):
    """A file of a build."""

    model_config = ConfigDict(frozen=True, extra="forbid")


File = TypeVar("File", bound=BuildFile)


class LoadedPart(BuildFile):
    """What is known of a part that was read."""

    documents: tuple[tuple[str, str], ...]  # id and digest
    skipped: tuple[tuple[str, str], ...]  # path and reason
    silent: tuple[str, ...]
    public: int


class LedgerEntry(BuildFile):
    """Whether the rows of a part are in the table."""

    state: Literal["appending", "appended"]
    tries: int  # how often they may have been appended: above 1, an earlier writer may still be running
    chunks: int = 0


def building_place(settings: PipelineSettings) -> str:
    """The folder of unfinished builds."""
    return below(settings.index_root, FOLDER)


def building_storage(settings: PipelineSettings) -> Storage:
    """The storage there."""
    return open_storage(building_place(settings), settings, purpose="index", setting="TOUCHSTONE_INDEXES")


class LoadedParts:
    """The documents of a corpus, part by part."""

    def __init__(self, storage: Storage, corpus: str) -> None:
        self._storage = storage
        self._prefix = f"loads/{corpus}"

    def parts(self) -> set[str]:
        """The parts that are there."""
        names = (entry.key.removeprefix(f"{self._prefix}/") for entry in self._storage.list(f"{self._prefix}/"))
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}

    def has(self, part: str) -> bool:
        """Whether a part is there."""
        return self._storage.get(f"{self._prefix}/{part}.json") is not None

    def write(self, part: str, loaded: CorpusPart) -> None:
        """Keep the documents of a part."""
        lines = [json.dumps(_document_fields(document), ensure_ascii=False) for document in loaded.documents]
        about = LoadedPart(
            documents=tuple((document.id, document.digest) for document in loaded.documents),
            skipped=tuple((one.path, one.reason) for one in loaded.skipped),
            silent=loaded.silent,
            public=sum(1 for document in loaded.documents if document.tenant == PUBLIC and not document.groups),
        )
        self._storage.put(f"{self._prefix}/{part}.jsonl", "".join(f"{line}\n" for line in lines).encode())
        self._storage.put(f"{self._prefix}/{part}.json", about.model_dump_json().encode())

    def read(self, part: str) -> LoadedPart:
        """What is known of a part."""
        return _parsed(LoadedPart, _needed(self._storage, f"{self._prefix}/{part}.json"), f"{self._prefix}/{part}.json")

    def documents(self, part: str) -> Iterator[Document]:
        """The documents of a part, each checked against its digest."""
        key = f"{self._prefix}/{part}.jsonl"
        lines = _needed(self._storage, key).decode().split("\n")[:-1]
        expected = self.read(part).documents
        if len(lines) != len(expected):
            raise IntegrityError(f"{self._storage.place}/{key}: is not what was written. Remove it and run the command again.")
        for line, (_, digest) in zip(lines, expected, strict=True):
            document = _document(json.loads(line))
            if document.digest != digest:
                raise IntegrityError(f"{self._storage.place}/{key}: is not what was written. Remove it and run the command again.")
            yield document

    def forget(self) -> None:
        """Remove them all."""
        forget(self._storage, f"{self._prefix}/")


class RowsLedger:
    """Which parts' rows are in a table."""

    def __init__(self, storage: Storage, recipe: str, plan: str) -> None:
        self._storage = storage
        self._prefix = f"rows/{recipe}/{plan}"

    def read(self, part: str) -> LedgerEntry | None:
        """What is known of a part's rows; nothing where no worker was at it."""
        key = f"{self._prefix}/{part}.json"
        blob = self._storage.get(key)
        return None if blob is None else _parsed(LedgerEntry, blob.data, key)

    def write(self, part: str, entry: LedgerEntry) -> None:
        """Record what is known of a part's rows."""
        self._storage.put(f"{self._prefix}/{part}.json", entry.model_dump_json().encode())

    def digests(self, part: str) -> bytes | None:
        """The digests of a part's rows."""
        blob = self._storage.get(f"{self._prefix}/{part}.digests")
        return None if blob is None else blob.data

    def write_digests(self, part: str, digests: bytes) -> None:
        """Store the digests of a part's rows."""
        self._storage.put(f"{self._prefix}/{part}.digests", digests)

    def forget_digests(self, part: str) -> None:
        """Remove them, so that the part's rows are made again."""
        self._storage.delete(f"{self._prefix}/{part}.digests")

    def forget(self) -> None:
        """Remove all that is known of the table."""
        forget(self._storage, f"{self._prefix}/")


def forget(storage: Storage, prefix: str) -> None:
    """Remove all that begins with a prefix."""
    for entry in list(storage.list(prefix)):
        storage.delete(entry.key)


def _needed(storage: Storage, key: str) -> bytes:
    blob = storage.get(key)
    if blob is None:
        raise StoreError(f"{storage.place}/{key} is not there, though it was written: every worker must see the same TOUCHSTONE_INDEXES.")
    return blob.data


def _parsed(model: type[File], data: bytes, key: str) -> File:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise IntegrityError(f"{key}: cannot be read: {error.errors(include_url=False)[0]['msg']}. Remove it and run again.") from None


def _document_fields(document: Document) -> dict[str, Any]:
    fields = {name: getattr(document, name) for name in Document.__slots__}
    return fields | {"groups": list(document.groups), "metadata": dict(document.metadata)}


def _document(fields: dict[str, Any]) -> Document:
    return Document(**fields | {"groups": tuple(fields["groups"]), "metadata": MappingProxyType(fields["metadata"])})
