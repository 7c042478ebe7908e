"""Brings the documents of a source into the store: what is unchanged is left alone, so a run that was stopped goes on where it ended."""

import mimetypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from harness.ingest.source import SourceFolder
from serving.documents.record import DocumentRecord, NewDocument, content_digest
from serving.documents.store import Addition, DocumentStore
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.index.access import Access, AccessRule
from serving.pipeline.index.corpus import corpus_files, load_jsonl_corpus
from serving.pipeline.index.corpus_files import LINES_FILE
from serving.pipeline.index.facts import FACTS_FOLDER, SETTINGS_FILE
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.reading import CorpusFile, SkippedFile
from serving.pipeline.progress import Progress
from serving.pipeline.registry import Spec
from serving.pipeline.types import PUBLIC, Document

BATCH_DOCUMENTS, BATCH_BYTES = 64, 16_000_000  # in one change of the store
Removing = Callable[[Sequence[DocumentRecord]], AbstractContextManager[object]]

mimetypes.add_type("text/markdown", ".md")
mimetypes.add_type("text/markdown", ".markdown")


@dataclass(frozen=True, slots=True)
class IngestAccess:
    """Who may read what is ingested, beyond what its own rules narrow; and its domain, where that is said for all."""

    tenant: str = PUBLIC
    groups: tuple[str, ...] = ()
    domain: str = ""

    def access(self) -> Access:
        """The access that the source's own rules may narrow."""
        rule = AccessRule(self.tenant if self.tenant != PUBLIC else "", self.groups, where={"tenant": "--tenant", "groups": "--groups"})
        return Access().narrowed(rule)


@dataclass(slots=True)
class IngestResult:
    """What a run did, or would do; ids."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    gone: list[str] = field(default_factory=list)  # in the store and not in the source any more
    pruned: bool = False  # whether those were removed
    skipped: list[SkippedFile] = field(default_factory=list)


class Ingest:
    """One run over one source."""

    def __init__(self, store: DocumentStore, source: SourceFolder, readers: IngestAccess, *, prefix: str | None, uploader: str) -> None:
        self._store = store
        self._source = source
        self._readers = readers
        self._prefix = source.name if prefix is None else prefix.strip("/")
        self._uploader = uploader
        self._rules = digest_of([_rules_text(source.path), readers.tenant, list(readers.groups), readers.domain, self._prefix])

    def run(
        self,
        *,
        prune: bool,
        dry_run: bool,
        may_be_empty: bool = False,
        progress: Progress | None = None,
        removing: Removing = lambda records: nullcontext(),
    ) -> IngestResult:
        """Add what is new, replace what changed, and remove what is gone where that is asked for, within `removing`."""
        self._store.refresh()
        done, seen = IngestResult(skipped=list(self._source.skipped)), set[str]()
        batch: list[Addition] = []
        for addition in self._additions(done, seen, progress):
            self._count(addition, done)
            batch.append(addition)
            if len(batch) >= BATCH_DOCUMENTS or sum(len(one.data) for one in batch) >= BATCH_BYTES:
                self._put(batch, dry_run)
                batch = []
        if not seen and (prune or not may_be_empty):
            shown = "; ".join(f"{skip.path}: {skip.reason.rstrip('.')}" for skip in done.skipped[:5])
            raise DataError(f"{self._source.collection}: holds no document.{f' Skipped: {shown}.' if shown else ''} Nothing was changed.")
        self._put(batch, dry_run)
        kept = seen | {self._id(skip.path) for skip in done.skipped}  # a file that cannot be read now is not gone
        ours = (record for record in self._store.current.records.values() if record.collection == self._source.collection)
        done.gone = sorted(record.id for record in ours if record.state != "deleted" and record.id not in kept)
        if prune and done.gone and not dry_run:
            with removing([self._store.current.records[ident] for ident in done.gone]):
                self._store.delete(done.gone)
            done.pruned = True
        return done

    def _additions(self, done: IngestResult, seen: set[str], progress: Progress | None) -> Iterator[Addition]:
        path = self._source.path
        lines = path if path.suffix == ".jsonl" and path.is_file() else path / LINES_FILE
        if lines.is_file():
            corpus = load_jsonl_corpus(lines, progress=progress)
            done.skipped += corpus.skipped
            for document in corpus.documents:
                addition = self._addition(document, document.text.encode(), f"{document.id}.txt", seen)
                if self._is_known(addition):
                    done.unchanged += 1
                else:
                    yield addition
            return
        if path.is_file():
            raise DataError(f"{path}: is one file. Give the folder it lies in, or a .jsonl file.")
        for one in corpus_files(path, known=self._known, progress=progress):
            if isinstance(one, SkippedFile):
                done.skipped.append(one)
            elif one.document is None:
                seen.add(self._id(one.id))
                done.unchanged += 1
            else:
                addition = self._of_file(one, one.document, seen)
                if self._is_known(addition):
                    done.unchanged += 1
                else:
                    yield addition

    def _of_file(self, file: CorpusFile, document: Document, seen: set[str]) -> Addition:
        return self._addition(document, file.data, file.path.name, seen)

    def _addition(self, document: Document, data: bytes, name: str, seen: set[str]) -> Addition:
        ident = self._id(document.id)
        seen.add(ident)
        where = {"tenant": document.id, "groups": document.id}
        own = AccessRule(document.tenant if document.tenant != PUBLIC else "", document.groups, where=where)
        access = self._readers.access().narrowed(own)
        metadata = dict(document.metadata)
        about = NewDocument(
            id=ident,
            name=name,
            title=document.title,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            tenant=access.tenant,
            groups=access.groups,
            domain=self._readers.domain or document.domain,
            version=document.version,
            source="" if document.source == document.id else document.source,
            status=metadata.pop("status", ""),
            metadata=metadata,
            uploader=self._uploader,
            collection=self._source.collection,
            rules=self._rules_of(name),
        )
        return Addition(about, data, document.text)

    def _known(self, ident: str, data: bytes) -> bool:
        """Whether the store has a file as it is, read by the same rules."""
        record = self._store.get(self._id(ident))
        if record is None or not record.live or record.collection != self._source.collection:
            return False
        return record.rules == self._rules_of(ident) and record.sha256 == sha256(data).hexdigest()

    def _is_known(self, addition: Addition) -> bool:
        record = self._store.get(addition.about.id)
        return record is not None and record.live and record.content == _content(addition) and record.collection == self._source.collection

    def _rules_of(self, name: str) -> str:
        suffix = Path(name).suffix.lower()
        return digest_of([self._rules, LOADERS.version(Spec(name=suffix)) if suffix in LOADERS.names() else ""])

    def _count(self, addition: Addition, done: IngestResult) -> None:
        before: DocumentRecord | None = self._store.get(addition.about.id)
        (done.changed if before is not None and before.state != "deleted" else done.added).append(addition.about.id)

    def _put(self, batch: Sequence[Addition], dry_run: bool) -> None:
        if batch and not dry_run:
            self._store.put_all(batch)

    def _id(self, ident: str) -> str:
        return f"{self._prefix}/{ident}" if self._prefix else ident


def _content(addition: Addition) -> str:
    return content_digest(addition.about, addition.about.id, sha256(addition.data).hexdigest())


def _rules_text(folder: Path) -> list[str]:
    """What the files beside the documents say of them."""
    base = folder.parent if folder.is_file() else folder
    files = [base / SETTINGS_FILE, *sorted((base / FACTS_FOLDER).glob("*.yaml"))]
    return [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
