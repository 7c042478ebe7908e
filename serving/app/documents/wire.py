"""Documents as they go over the wire."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, field_validator

from serving.app.core.wire import Wire
from serving.documents.record import DocumentRecord, State
from serving.pipeline.index.corpus_files import UNPRINTABLE
from serving.pipeline.types import STATUS, Chunk

Origin = Literal["upload", "ingest", "release"]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)]
Value = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Group = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
CURSOR: Final = "^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2,3})?$"  # base64 for addresses, without its padding: every such text can be decoded
FIELDS: Final = ("title", "domain", "version", "status", "metadata", "groups")
UPLOADED: Final[JsonValue] = {
    "id": "uploads/9c1f0d3b/leave-policy.pdf",
    "name": "leave-policy.pdf",
    "title": "Leave policy",
    "bytes": 48_213,
    "media_type": "application/pdf",
    "tenant": "acme",
    "groups": ["hr"],
    "domain": "hr",
    "version": "3.1",
    "status": "current",
    "uploader": "ann",
    "created_at": "2026-11-29T09:30:00.000+00:00",
    "updated_at": "2026-11-29T09:30:00.000+00:00",
    "state": "waiting",
    "reason": "",
    "chunks": 0,
    "progress": 0.0,
    "origin": "upload",
    "duplicate": False,
}


class UploadIn(Wire):
    """What is said of an upload beside its file."""

    title: Line = ""
    domain: Word = ""
    version: Word = ""
    status: Word = ""
    groups: tuple[Group, ...] | None = Field(default=None, max_length=64)  # None: nothing was said
    metadata: dict[Word, Value] = Field(default_factory=dict, max_length=32)

    @field_validator("title", "domain", "version", "status", "groups", "metadata")
    @classmethod
    def _printable(cls, value: object) -> object:
        texts = [value] if isinstance(value, str) else [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if isinstance(texts, Sequence) and any(UNPRINTABLE.search(str(text)) for text in texts):
            raise ValueError("control characters, and those that turn text around, are not taken")
        return value

    @field_validator("metadata")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        if "" in value:
            raise ValueError("a name is empty")
        return value


def cursor_of(place: str) -> str:
    """A place in a listing as it stands in an address as it is."""
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place_of(cursor: str) -> str:
    """The place that a cursor stands for."""
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode(errors="replace")


class DocumentOut(Wire):
    """A document, and how far it is on its way to be found."""

    model_config = ConfigDict(json_schema_extra={"examples": [UPLOADED]})

    id: str
    name: str = Field(default="", description="of its file, without what would break a path or a line")
    title: str = ""
    bytes: int = Field(default=0, description="of the file; 0 for one that the release brought")
    media_type: str = ""
    tenant: str
    groups: tuple[str, ...] = Field(default=(), description="who may read it; none: everyone of the tenant")
    domain: str
    version: str = ""
    status: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)
    uploader: str = Field(default="", description="whose key uploaded it")
    created_at: str = ""
    updated_at: str = ""
    state: State = Field(description="waiting, parsing, indexing, ready; or failed, with a reason")
    reason: str = ""
    chunks: int = 0
    progress: float = Field(default=0.0, description="the share of a large document's chunks that are embedded; 1 when it is ready")
    origin: Origin = Field(description="upload: over this API; ingest: by touchstone ingest; release: of the corpus that was proven")
    duplicate: bool = Field(default=False, description="the same bytes with the same readers were there already")

    @classmethod
    def of(cls, record: DocumentRecord, *, duplicate: bool = False) -> Self:
        """An added document."""
        shown = {name: getattr(record, name) for name in (*_SHARED, "name", "bytes", "media_type", "uploader", "chunks", "reason", "state")}
        at = {"created_at": record.created_at, "updated_at": record.updated_at}
        origin: Origin = "ingest" if record.collection else "upload"
        shown["progress"] = 1.0 if record.state == "ready" else record.progress
        return cls(**shown, **at, status=record.status, metadata=dict(record.metadata), origin=origin, duplicate=duplicate)

    @classmethod
    def of_release(cls, chunks: Sequence[Chunk]) -> Self:
        """A document of the release's own corpus, by its chunks."""
        first = chunks[0]
        shown = {name: getattr(first, name) for name in _SHARED if name != "id"}
        metadata = dict(first.metadata)
        status = metadata.pop(STATUS, "")
        return cls(
            id=first.document_id,
            **shown,
            status=status,
            metadata=metadata,
            state="ready",
            chunks=len(chunks),
            progress=1.0,
            origin="release",
        )


_SHARED = ("id", "title", "tenant", "groups", "domain", "version")


class DocumentsOut(Wire):
    """Added documents that the caller may read, the newest first."""

    documents: tuple[DocumentOut, ...]
    next: str | None = Field(description="give it as `cursor` for those that are older; null: there are none")
    added: int = Field(description="documents added to the release's corpus that the caller may read")
    release_documents: int = Field(description="documents of the corpus that the release was proven on")
    corpus_version: str = Field(description="what is searched: the proven corpus, and behind a + what was added and removed since")


class DocumentTextOut(Wire):
    """A part of a document's text, by the offsets that citations have."""

    document: str
    title: str = ""
    version: str = ""
    status: str = ""
    text: str
    start: int
    end: int
    total: int = Field(description="characters of the whole text")
