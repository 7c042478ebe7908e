"""The rules and limits for every document of a corpus while it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.pipeline.index.facts import CorpusRules, Fields, document_of
from serving.pipeline.types import Document


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file of the folder that is no document, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file of the folder with its document; none where it is known already."""

    id: str
    path: Path
    data: bytes
    document: Document | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a corpus may hold at most."""

    file_bytes: int = 50_000_000
    characters: int = 20_000_000  # of one document


@dataclass(frozen=True, slots=True)
class Loading:
    """What holds for every document of a corpus while it is read."""

    rules: CorpusRules
    bounds: Bounds
    trusted: bool
    silent: list[str] = field(default_factory=list)  # documents of which nothing says who may read them

    def document(self, name: str, text: str, where: str, values: Mapping[str, Any], *own: Fields) -> Document:
        """The document of a text, under the corpus' rules narrowed by its own; `values` are what stands where nobody says otherwise."""
        trusted_fields = own if self.trusted else tuple(fields.without_access() for fields in own)
        access = self.rules.access(name, *trusted_fields)
        if not access.stated:
            self.silent.append(name)
        return document_of(name, text, {**values, **self.rules.values(name, *trusted_fields)}, access, where)
