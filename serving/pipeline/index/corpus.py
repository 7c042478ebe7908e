"""Reads a folder of files, or one JSONL file, as the documents of a corpus."""

import json
import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from serving.pipeline.digest import digest_all
from serving.pipeline.errors import DataError, RefusedFile
from serving.pipeline.index.facts import FACTS_FOLDER, SETTINGS_FILE, check_all_used, corpus_settings, document_of, facts_by_id
from serving.pipeline.index.headings import headings
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.parse import IN_PROCESS, ParseLimits, Parser
from serving.pipeline.index.read_file import read_file, real_path
from serving.pipeline.registry import Spec
from serving.pipeline.types import Document

Progress = Callable[[int, int], None]  # files read, files to read

ABOUT_FILES = frozenset({"CARD.md", "README.md", "SHA256", "LICENSE"})  # about the corpus, not of it, when at its top
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # would break a line, or turn it around


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file of the folder that is no document, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Corpus:
    """Documents sorted by id, under the digest of all they hold."""

    name: str
    documents: tuple[Document, ...]
    digest: str
    skipped: tuple[SkippedFile, ...] = ()
    loaders: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # version of the loader behind each suffix; raising one changes texts

    def __repr__(self) -> str:
        return f"<Corpus {self.name}: {len(self.documents)} documents, digest {self.digest}>"

    @classmethod
    def of(cls, name: str, documents: Iterable[Document], skipped: Iterable[SkippedFile] = ()) -> "Corpus":
        """The corpus of some documents."""
        ordered = tuple(sorted(documents, key=lambda document: document.id))
        for before, after in pairwise(ordered):
            if before.id == after.id:
                raise DataError(f"{name}: two documents have the id {after.id!r}.")
        suffixes = sorted({PurePosixPath(document.id).suffix.lower() for document in ordered} & set(LOADERS.names()))
        versions = MappingProxyType({suffix: LOADERS.version(Spec(name=suffix)) for suffix in suffixes})
        return cls(name, ordered, digest_all(document.digest for document in ordered), tuple(skipped), versions)

    def get(self, ident: str) -> Document | None:
        """The document of an id, if there is one."""
        index = bisect_left(self.documents, ident, key=lambda document: document.id)
        candidates = self.documents[index : index + 1]
        return candidates[0] if candidates and candidates[0].id == ident else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a corpus may hold at most."""

    file_bytes: int = 50_000_000
    characters: int = 20_000_000  # of one document


def load_corpus(folder: Path, *, progress: Progress | None = None, bounds: Bounds | None = None) -> Corpus:
    """The documents of a folder (or of one `.jsonl` file); a file that is no document is listed in `skipped`."""
    bounds = bounds or Bounds()
    if folder.suffix == ".jsonl" and not folder.is_dir():
        return load_jsonl_corpus(folder, progress=progress, bounds=bounds)
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}. A corpus is a folder of {_suffixes()} files, or one .jsonl file.")
    if (folder / "corpus.jsonl").is_file():
        return load_jsonl_corpus(folder / "corpus.jsonl", progress=progress, bounds=bounds)
    settings, facts = corpus_settings(folder), facts_by_id(folder)
    files, skipped = _files(folder)
    documents: list[Document] = []
    with Parser(ParseLimits(characters=bounds.characters)) as parser:
        if any(path.suffix.lower() not in IN_PROCESS for path in files):
            parser.warm()  # while it starts, plain files are read
        for done, path in enumerate(files, 1):
            try:
                document = _document(path, folder, facts, settings, bounds, parser)
            except RefusedFile as refusal:
                skipped.append(SkippedFile(_id_of(path, folder), refusal.reason))
            else:
                if document.text.strip():
                    documents.append(document)
                else:
                    skipped.append(SkippedFile(document.id, "empty"))
            if progress:
                progress(done, len(files))
    if not documents:
        raise DataError(f"{folder}: holds no document. Known suffixes: {_suffixes()}.{_skipped_list(skipped)}")
    check_all_used(facts, {document.id for document in documents} | {skip.path for skip in skipped})
    return Corpus.of(str(settings.get("name") or folder.resolve().name), documents, sorted(skipped, key=lambda skip: skip.path))


def load_jsonl_corpus(path: Path, *, progress: Progress | None = None, bounds: Bounds | None = None) -> Corpus:
    """The documents of a file with one `{"id", "title", "text", "metadata"}` (or BEIR's `_id`) per line, texts as they stand."""
    bounds = bounds or Bounds()
    documents: dict[str, Document] = {}
    lines: dict[str, int] = {}
    skipped: list[SkippedFile] = []
    for number, document in _lines(path, bounds):
        if document.id in lines:
            raise DataError(f"{path}:{number}: id {document.id!r} is already that of line {lines[document.id]}.")
        lines[document.id] = number
        if document.text.strip():
            documents[document.id] = document
        else:
            skipped.append(SkippedFile(document.id, "empty"))
        if progress and number % 1000 == 0:
            progress(number, number)
    if not documents:
        raise DataError(f'{path}: holds no document. Each line is a document: {{"id": …, "title": …, "text": …, "metadata": {{…}}}}.')
    if progress:
        progress(len(lines), len(lines))
    return Corpus.of(path.parent.name if path.stem == "corpus" else path.stem, documents.values(), skipped)


def _files(folder: Path) -> tuple[list[Path], list[SkippedFile]]:
    """The files to load, in order, and those that no loader reads; hidden files are neither."""
    root = real_path(folder)
    files: list[Path] = []
    skipped: list[SkippedFile] = []
    for walked, folders, names in os.walk(folder, onerror=_raise_unreadable):
        path_of_folder = Path(walked)
        is_root = path_of_folder == folder
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (is_root and name == FACTS_FOLDER))
        for name in [*folders, *sorted(names)]:
            path = path_of_folder / name
            if name.startswith(".") or (is_root and name == SETTINGS_FILE):
                continue
            if UNPRINTABLE.search(name):
                skipped.append(SkippedFile(ascii(_id_of(path, folder))[1:-1], "a name with control characters"))
                folders[:] = [other for other in folders if other != name]
                continue
            if path.is_symlink() and not real_path(path).is_relative_to(root):
                raise DataError(f"{path}: is a link to {str(real_path(path))!r}, outside the corpus. Copy the file in, or remove the link.")
            if name in folders:
                if path.is_symlink():
                    skipped.append(SkippedFile(_id_of(path, folder), "a link to another folder of the corpus"))
            elif is_root and name in ABOUT_FILES:
                skipped.append(SkippedFile(name, "about the corpus"))
            elif not path.is_file():
                skipped.append(SkippedFile(_id_of(path, folder), "not a file"))
            elif path.suffix.lower() not in LOADERS.names():
                skipped.append(SkippedFile(_id_of(path, folder), f"no loader for {path.suffix!r}"))
            else:
                files.append(path)
    return sorted(files, key=lambda path: _id_of(path, folder)), skipped


def _raise_unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}")


def _id_of(path: Path, folder: Path) -> str:
    name = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the name of a file is not UTF-8: {name!r}. Rename it.") from None
    return name


def _document(
    path: Path,
    folder: Path,
    facts: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    bounds: Bounds,
    parser: Parser,
) -> Document:
    document_id = _id_of(path, folder)
    data = read_file(path, most=bounds.file_bytes, inside=folder)
    loaded = parser.parse(data, str(path), path.suffix.lower())
    if len(loaded.text) > bounds.characters:
        raise RefusedFile(str(path), f"has {len(loaded.text):,} characters; at most {bounds.characters:,} are read. Split it.")
    top = document_id.split("/", 1)[0] if "/" in document_id else "general"
    domains = settings.get("domains", {})
    defaults = {"domain": domains.get(top, top), "source": document_id, **settings.get("defaults", {})}
    text_headings = [] if loaded.title else headings(loaded.text)
    title = loaded.title or (text_headings[0].title if text_headings else path.stem)
    return document_of(document_id, loaded.text, {"title": title, **defaults, **facts.get(document_id, {}), **loaded.facts}, str(path))


def _lines(path: Path, bounds: Bounds) -> Iterator[tuple[int, Document]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parsed(line, f"{path}:{number}", bounds)
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _parsed(line: str, where: str, bounds: Bounds) -> Document:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise DataError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: an object is needed, not {line.strip()[:60]!r}.")
    document_id, text, metadata = row.get("id", row.get("_id")), row.get("text"), row.get("metadata") or {}
    if not isinstance(document_id, str) or not document_id:
        raise DataError(f"{where}: 'id' must be a text, not {document_id!r}.")
    if not isinstance(text, str):
        raise DataError(f"{where}: 'text' must be a text, not {text!r}.")
    if not isinstance(metadata, dict):
        raise DataError(f"{where}: 'metadata' must be an object, not {metadata!r}.")
    if len(text) > bounds.characters:
        raise DataError(f"{where}: has {len(text):,} characters; at most {bounds.characters:,} are read. Split it.")
    extra = {key: value for key, value in row.items() if key not in ("id", "_id", "text", "metadata")}
    return document_of(document_id, text.replace("\0", " "), {"source": document_id, **metadata, **extra}, where)


def _suffixes() -> str:
    return ", ".join(LOADERS.names())


def _skipped_list(skipped: list[SkippedFile]) -> str:
    shown = "; ".join(f"{skip.path}: {skip.reason.rstrip('.')}" for skip in skipped[:5])
    return f" Skipped: {shown}{' …' if len(skipped) > 5 else ''}." if skipped else ""
