"""What is known of an added document, and what somebody says who adds one."""

import re
import unicodedata
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from serving.pipeline.digest import digest_of
from serving.pipeline.index.base import Filter
from serving.pipeline.types import PUBLIC, Chunk, Document, Principal

State = Literal["waiting", "parsing", "indexing", "ready", "failed", "deleted"]
STATES: tuple[State, ...] = get_args(State)
LIVE: frozenset[State] = frozenset({"waiting", "parsing", "indexing", "ready"})  # wanted in the index, or in it already
UPLOADS = "uploads"  # the first name of an uploaded document's id
LONGEST_NAME = 120  # characters of a file's name that are kept in an id
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\\/?#%]|[\ud800-\udfff]")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _About(BaseModel):
    """What is said of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", max_length=1000)  # of its file
    title: str = Field(default="", max_length=1000)
    media_type: str = Field(default="", max_length=200)
    tenant: str = Field(default=PUBLIC, min_length=1, max_length=200)
    groups: tuple[str, ...] = ()  # who may read it; empty: everyone of the tenant
    domain: str = Field(default="general", min_length=1, max_length=200)
    version: str = Field(default="", max_length=200)
    status: str = Field(default="", max_length=200)  # current, superseded, …
    source: str = Field(default="", max_length=2000)  # where it is from, as it is shown; empty: its id
    metadata: Mapping[str, str] = Field(default_factory=dict)  # what else can be filtered by
    uploader: str = Field(default="", max_length=300)  # the id of a principal
    collection: str = Field(default="", max_length=1000)  # the place it was ingested from; empty: it was uploaded
    rules: str = Field(default="", max_length=200)  # digest of what gave it its readers and facts, where that was no person

    @field_validator("groups")
    @classmethod
    def _sorted(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if not all(groups):
            raise ValueError("a group has no name")
        return tuple(sorted(set(groups)))


class NewDocument(_About):
    """A document to be added."""

    id: str = Field(default="", max_length=1000)  # empty: made of its bytes, its readers and its name

    def identified(self, data: bytes) -> str:
        """Its id: the one that is given, else the same for the same bytes with the same readers."""
        if self.id:
            return self.id
        digest = digest_of([sha256(data).hexdigest(), self.tenant, list(self.groups), self.domain])
        return f"{UPLOADS}/{digest}/{safe_name(self.name)}"


class DocumentRecord(_About):
    """An added document, or the tombstone of one that was deleted: also of one that belongs to a release's own corpus."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a replica of an older version reads on while others are newer

    id: str = Field(min_length=1, max_length=1000)
    sha256: Sha256 | Literal[""] = ""  # of its bytes; empty: it was never added, only removed
    bytes: int = Field(default=0, ge=0)
    created_at: str  # ISO 8601, UTC
    updated_at: str
    state: State = "waiting"
    reason: str = Field(default="", max_length=2000)  # of a failure
    chunks: int = Field(default=0, ge=0)  # in the index that held it first
    progress: float = Field(default=0.0, ge=0, le=1)  # the share of a large document's chunks that are embedded, in whole tenths
    content: str = ""  # digest of all that its chunks are made of
    stored: str = ""  # the name under which its bytes and its text are kept: of this version alone
    revision: int = Field(default=0, ge=0)  # of the store, when this record was last changed

    @property
    def live(self) -> bool:
        """Whether it is to be found, now or soon."""
        return self.state in LIVE

    @property
    def suffix(self) -> str:
        """The suffix of its file, which says how it is read."""
        return PurePosixPath(self.name or self.id).suffix.lower()

    def readable_by(self, reader: Principal) -> bool:
        """Whether a caller may find it: the rule of every search."""
        where = Filter(reader.tenant, reader.groups, reader.domains)
        return where.admits(Chunk("", self.id, 0, 0, "", domain=self.domain, tenant=self.tenant, groups=self.groups))

    def document(self, text: str, title: str = "") -> Document:
        """The document that is cut into chunks; `title` is the file's own, for where nobody gave one."""
        stem = PurePosixPath(self.name or self.id).stem
        return Document(
            id=self.id,
            text=text,
            title=self.title or title or stem,
            domain=self.domain,
            source=self.source or self.id,
            version=self.version,
            tenant=self.tenant,
            groups=self.groups,
            metadata=dict(sorted({**self.metadata, **({"status": self.status} if self.status else {})}.items())),
        )

    def tombstone(self, at: str) -> "DocumentRecord":
        """What is left of it after it was deleted: nothing of its words, its names included."""
        kept = {
            name: getattr(self, name) for name in ("id", "sha256", "tenant", "groups", "domain", "uploader", "collection", "created_at")
        }
        return DocumentRecord(**kept, updated_at=at, state="deleted")


def content_digest(about: _About, ident: str, digest: str) -> str:
    """The digest of everything that a document's chunks depend on."""
    facts = [ident, digest, about.name, about.title, about.tenant, list(about.groups), about.domain]
    facts += [about.version, about.status, about.source]
    return digest_of([*facts, dict(about.metadata)])


def safe_name(name: str) -> str:
    """The last part of a file's name with nothing in it that breaks a path, an address or a line."""
    last = unicodedata.normalize("NFC", name.replace("\\", "/")).rpartition("/")[2]
    plain = " ".join(_ODD.sub(" ", last).split()).lstrip(".")
    suffix = PurePosixPath(plain).suffix[:20]
    return (plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - len(suffix)] + suffix) or "document"
