"""Reads a folder of files, or one JSONL file, as the documents of a corpus."""

import hashlib
import json
import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from serving.pipeline.digest import digest_all
from serving.pipeline.errors import DataError, RefusedFile
from serving.pipeline.index.facts import (
    FACTS_FOLDER,
    HEAD_BYTES,
    SETTINGS_FILE,
    CorpusRules,
    Fields,
    check_all_stated,
    check_all_used,
    corpus_rules,
    document_of,
    top_folder,
)
from serving.pipeline.index.front_matter import NOTHING, read_front_matter, refuse_unread
from serving.pipeline.index.headings import first_heading
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.loaders.base import decoded
from serving.pipeline.index.parse import IN_PROCESS, ParseLimits, Parser
from serving.pipeline.index.read_file import open_file, read_file, real_path
from serving.pipeline.registry import Spec
from serving.pipeline.types import PUBLIC, Document

Progress = Callable[[int, int], None]  # files read, files to read

LINES_FILE = "corpus.jsonl"  # where it stands in a folder, it is the whole corpus
PACKED_FILES = frozenset({".pdf", ".docx"})  # whose bytes are no text
FRONT_MATTER_FILES = frozenset({".md", ".markdown"})
ABOUT_FILES = frozenset({"CARD.md", "README.md", "SHA256", "LICENSE"})  # about the corpus, not of it, when at its top
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # would break a line, or turn it around


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


@dataclass(frozen=True, slots=True, repr=False)
class Corpus:
    """Documents sorted by id, under the digest of all they hold."""

    name: str
    documents: tuple[Document, ...]
    digest: str
    skipped: tuple[SkippedFile, ...] = ()
    unused_rules: tuple[str, ...] = ()  # entries of corpus.yaml and corpus.d that matched no document
    loaders: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # version of the loader behind each suffix; raising one changes texts

    def __repr__(self) -> str:
        return f"<Corpus {self.name}: {len(self.documents)} documents, digest {self.digest}>"

    @property
    def public(self) -> int:
        """How many documents everyone may read."""
        return sum(1 for document in self.documents if document.tenant == PUBLIC and not document.groups)

    @classmethod
    def of(
        cls, name: str, documents: Iterable[Document], skipped: Iterable[SkippedFile] = (), unused_rules: Iterable[str] = ()
    ) -> "Corpus":
        """The corpus of some documents."""
        ordered = tuple(sorted(documents, key=lambda document: document.id))
        for before, after in pairwise(ordered):
            if before.id == after.id:
                raise DataError(f"{name}: two documents have the id {after.id!r}.")
        suffixes = sorted({PurePosixPath(document.id).suffix.lower() for document in ordered} & set(LOADERS.names()))
        versions = MappingProxyType({suffix: LOADERS.version(Spec(name=suffix)) for suffix in suffixes})
        return cls(name, ordered, digest_all(document.digest for document in ordered), tuple(skipped), tuple(unused_rules), versions)

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


def load_corpus(folder: Path, *, progress: Progress | None = None, bounds: Bounds | None = None, trusted: bool = True) -> Corpus:
    """The documents of a folder (or of one `.jsonl` file); a file that is no document is listed in `skipped`.

    Files that are not trusted, such as uploads, have no say about their tenant, groups and domain: `corpus.yaml` or `corpus.d` must.
    """
    bounds = bounds or Bounds()
    if folder.suffix == ".jsonl" and not folder.is_dir():
        return load_jsonl_corpus(folder, progress=progress, bounds=bounds, trusted=trusted)
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}. A corpus is a folder of {_suffixes()} files, or one .jsonl file.")
    if os.path.lexists(folder / LINES_FILE):
        lines = load_jsonl_corpus(folder / LINES_FILE, progress=progress, bounds=bounds, trusted=trusted)
        return replace(lines, skipped=(*lines.skipped, *_beside_lines(folder)))
    loading = _Loading(corpus_rules(folder), bounds, trusted)
    documents: list[Document] = []
    skipped: list[SkippedFile] = []
    for one in _each_file(folder, loading, progress, lambda ident, data: False):
        if isinstance(one, SkippedFile):
            skipped.append(one)
        elif one.document is not None:
            documents.append(one.document)
    if not documents:
        raise DataError(f"{folder}: holds no document. Known suffixes: {_suffixes()}.{_skipped_list(skipped)}")
    return loading.corpus(str(folder), folder.resolve().name, documents, sorted(skipped, key=lambda skip: skip.path))


def corpus_files(
    folder: Path, *, known: Callable[[str, bytes], bool], progress: Progress | None = None, bounds: Bounds | None = None
) -> Iterator["CorpusFile | SkippedFile"]:
    """The files of a folder one by one, as `load_corpus` reads them; a file whose id and bytes are `known` is not read again.

    What `load_corpus` refuses at the end, such as rules that match no document, is refused at the end here too.
    """
    loading = _Loading(corpus_rules(folder), bounds or Bounds(), True)
    seen: set[str] = set()
    for one in _each_file(folder, loading, progress, known):
        seen.add(one.path if isinstance(one, SkippedFile) else one.id)
        yield one
    check_all_used(loading.rules.facts, seen)
    if loading.rules.required:
        check_all_stated(str(folder), sorted(loading.silent), f"{SETTINGS_FILE} says `access: required`")


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """What a part of a corpus' files or lines holds; rules that concern the whole are checked once all parts are known."""

    documents: tuple[Document, ...]
    skipped: tuple[SkippedFile, ...]
    silent: tuple[str, ...]  # documents of which nothing says who may read them


@dataclass(frozen=True, slots=True)
class LineRange:
    """Some lines of a `.jsonl` file."""

    first: int  # number of the first one, from 1
    offset: int  # bytes before it
    bytes: int
    sha256: str = ""


def list_files(folder: Path) -> tuple[list[Path], list[SkippedFile]]:
    """The files that `load_corpus` would read, in order, and those that it would not."""
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}. A corpus is a folder of {_suffixes()} files, or one .jsonl file.")
    return _files(folder)


def list_beside_lines(folder: Path) -> list[SkippedFile]:
    """The files of a folder of which one file of lines is the corpus."""
    return _beside_lines(folder)


def load_files(folder: Path, files: Iterable[Path], rules: CorpusRules, bounds: Bounds | None = None) -> CorpusPart:
    """Some files of a folder, as `load_corpus` reads them."""
    loading = _Loading(rules, bounds or Bounds(), True)
    documents: list[Document] = []
    skipped: list[SkippedFile] = []
    for one in _each_of(list(files), folder, loading, None, lambda ident, data: False):
        if isinstance(one, SkippedFile):
            skipped.append(one)
        elif one.document is not None:
            documents.append(one.document)
    return CorpusPart(tuple(documents), tuple(skipped), tuple(loading.silent))


def load_lines(path: Path, lines: LineRange, rules: CorpusRules, bounds: Bounds | None = None) -> CorpusPart:
    """Some lines of a `.jsonl` file, as `load_corpus` reads them."""
    loading = _Loading(rules, bounds or Bounds(), True)
    read = [document for _, document in _lines(path, loading, lines)]
    documents = tuple(document for document in read if document.text.strip())
    empty = tuple(SkippedFile(document.id, "empty") for document in read if not document.text.strip())
    return CorpusPart(documents, empty, tuple(loading.silent))


def line_ranges(path: Path, most_bytes: int, bounds: Bounds | None = None) -> Iterator[LineRange]:
    """The lines of a `.jsonl` file in ranges of about so many bytes, each with the sum of what it holds."""
    longest = 8 * (bounds or Bounds()).characters
    first, offset, size, total = 1, 0, 0, hashlib.sha256()
    with open_file(path, inside=path.parent) as file:
        for number, line in enumerate(iter(lambda: file.readline(longest + 1), b""), 1):
            if len(line) > longest:
                raise DataError(f"{path}:{number}: has more than {longest / 1e6:g} MB; no document is that long.")
            size += len(line)
            total.update(line)
            if size >= most_bytes:
                yield LineRange(first, offset, size, total.hexdigest())
                first, offset, size, total = number + 1, offset + size, 0, hashlib.sha256()
    if size:
        yield LineRange(first, offset, size, total.hexdigest())


def check_whole(where: str, rules: CorpusRules, ids: set[str], skipped: Iterable[str], silent: Iterable[str]) -> tuple[str, ...]:
    """The rules that matched no document of a whole corpus; a `DataError` where `load_corpus` would raise one."""
    check_all_used(rules.facts, ids | set(skipped))
    if rules.required:
        check_all_stated(where, sorted(ids & set(silent)), f"{SETTINGS_FILE} says `access: required`")
    return rules.unused(ids)


def _each_file(
    folder: Path, loading: "_Loading", progress: Progress | None, known: Callable[[str, bytes], bool]
) -> Iterator["CorpusFile | SkippedFile"]:
    files, skipped = _files(folder)
    yield from skipped
    yield from _each_of(files, folder, loading, progress, known)


def _each_of(
    files: list[Path], folder: Path, loading: "_Loading", progress: Progress | None, known: Callable[[str, bytes], bool]
) -> Iterator["CorpusFile | SkippedFile"]:
    with Parser(ParseLimits(characters=loading.bounds.characters)) as parser:
        if any(path.suffix.lower() not in IN_PROCESS for path in files):
            parser.warm()  # while it starts, plain files are read
        for done, path in enumerate(files, 1):
            ident = _id_of(path, folder)
            try:
                data = read_file(path, most=loading.bounds.file_bytes, inside=folder)
                document = None if known(ident, data) else _document(path, data, folder, loading, parser)
            except RefusedFile as refusal:
                yield SkippedFile(ident, refusal.reason)
            else:
                empty = document is not None and not document.text.strip()
                yield SkippedFile(ident, "empty") if empty else CorpusFile(ident, path, data, document)
            if progress:
                progress(done, len(files))


def load_jsonl_corpus(path: Path, *, progress: Progress | None = None, bounds: Bounds | None = None, trusted: bool = True) -> Corpus:
    """The documents of a file with one `{"id", "title", "text", "metadata"}` (or BEIR's `_id`) per line, texts as they stand.

    The rules beside it hold for them.
    """
    loading = _Loading(corpus_rules(path.parent, below=path.name == LINES_FILE), bounds or Bounds(), trusted)
    documents: dict[str, Document] = {}
    lines: dict[str, int] = {}
    skipped: list[SkippedFile] = []
    for number, document in _lines(path, loading):
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
    named = path.name == LINES_FILE
    return loading.corpus(str(path), path.parent.name if named else path.stem, documents.values(), skipped, named=named)


@dataclass(frozen=True, slots=True)
class _Loading:
    """What holds for every document of a corpus while it is read."""

    rules: CorpusRules
    bounds: Bounds
    trusted: bool
    silent: list[str] = field(default_factory=list)  # documents of which nothing says who may read them

    def document(self, name: str, text: str, where: str, values: Mapping[str, Any], *own: Fields) -> Document:
        """The document of a text, under the corpus' rules narrowed by its own; `values` are what stands where nobody says otherwise."""
        said = own if self.trusted else tuple(fields.without_access() for fields in own)
        access = self.rules.access(name, *said)
        if not access.stated:
            self.silent.append(name)
        return document_of(name, text, {**values, **self.rules.values(name, *said)}, access, where)

    def corpus(self, where: str, name: str, documents: Iterable[Document], skipped: list[SkippedFile], *, named: bool = True) -> Corpus:
        """The corpus of all documents, or a `DataError` where a rule matches none or a document lacks one."""
        read = list(documents)
        check_all_used(self.rules.facts, {document.id for document in read} | {skip.path for skip in skipped})
        ids = {document.id for document in read}
        if self.rules.required or not self.trusted:
            why = f"{SETTINGS_FILE} says `access: required`" if self.rules.required else "its files are not trusted to say it"
            check_all_stated(where, sorted(ids & set(self.silent)), why)
        return Corpus.of((self.rules.name if named else "") or name, read, skipped, self.rules.unused(ids))


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


def _beside_lines(folder: Path) -> list[SkippedFile]:
    """The files of a folder of which one file of lines is the corpus."""
    files, others = _files(folder)
    left_out = [SkippedFile(_id_of(file, folder), f"{LINES_FILE} is the corpus") for file in files]
    return sorted([*left_out, *(other for other in others if other.path != LINES_FILE)], key=lambda skip: skip.path)


def _raise_unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}")


def _id_of(path: Path, folder: Path) -> str:
    name = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the name of a file is not UTF-8: {name!r}. Rename it.") from None
    return name


def _document(path: Path, data: bytes, folder: Path, loading: _Loading, parser: Parser) -> Document:
    document_id, bounds = _id_of(path, folder), loading.bounds
    own = _own_fields(data, path, loading, document_id)
    loaded = parser.parse(data, str(path), path.suffix.lower())
    if len(loaded.text) > bounds.characters:
        raise RefusedFile(str(path), f"has {len(loaded.text):,} characters; at most {bounds.characters:,} are read. Split it.")
    if not _is_stated(own, document_id, loading):
        refuse_unread(loaded.text, str(path))
    heading = None if loaded.title else first_heading(loaded.text)
    title = loaded.title or (heading.title if heading else path.stem)
    top = top_folder(document_id)
    values = {"title": title, "domain": loading.rules.domains.get(top, top)}
    return loading.document(document_id, loaded.text, str(path), values, Fields(loaded.facts, own.where))


def _own_fields(data: bytes, path: Path, loading: _Loading, document_id: str) -> Fields:
    """What a file says of itself, read before its loader sees it: with the lines, and with an eye for what no loader would read."""
    located, first, text = NOTHING, 1, ""
    if path.suffix.lower() in FRONT_MATTER_FILES:
        text = decoded(data)[0]
        located, first = read_front_matter(text, str(path))
    elif path.suffix.lower() not in PACKED_FILES:
        text = decoded(data[:HEAD_BYTES])[0]
    lines = located.lines
    own = Fields(located.data, lambda keys: f"{path}:{lines[keys]}" if keys in lines else str(path))
    if not _is_stated(own, document_id, loading):
        refuse_unread("\n".join(text.split("\n", first + 200)[first - 1 : first + 199]), str(path), first)
    return own


def _is_stated(own: Fields, document_id: str, loading: _Loading) -> bool:
    """Whether an entry in corpus.d or the front matter says who may read a document, so that nothing else can have been meant to."""
    entry = loading.rules.facts.get(document_id)
    return any(fields and {"tenant", "groups", "access"} & fields.values.keys() for fields in (entry, own))


def _lines(path: Path, loading: _Loading, part: LineRange | None = None) -> Iterator[tuple[int, Document]]:
    most = 8 * loading.bounds.characters  # bytes of a line, with all that JSON may write for a character
    try:
        with open_file(path, inside=path.parent) as file:
            file.seek(part.offset if part else 0)
            end = part.offset + part.bytes if part else None
            lines = iter(lambda: b"" if file.tell() == end else file.readline(most + 1), b"")
            for number, line in enumerate(lines, part.first if part else 1):
                if len(line) > most:
                    raise DataError(f"{path}:{number}: has more than {most / 1e6:g} MB; no document is that long.")
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield number, _parsed(text, f"{path}:{number}", loading)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _parsed(line: str, where: str, loading: _Loading) -> Document:
    bounds = loading.bounds
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, a key twice, or a number of thousands of digits
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
    domain = loading.rules.domains.get(top_folder(document_id), "general")
    if not any({"tenant", "groups", "access"} & fields.keys() for fields in (metadata, extra)):
        refuse_unread(text[:HEAD_BYTES], f"{where}: text", unfenced=False)
    own = (Fields(metadata, lambda _: where), Fields(extra, lambda _: where))
    return loading.document(document_id, text.replace("\0", " "), where, {"domain": domain}, *own)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, or a `ValueError` for a key that stands twice in it."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return values


def _suffixes() -> str:
    return ", ".join(LOADERS.names())


def _skipped_list(skipped: list[SkippedFile]) -> str:
    shown = "; ".join(f"{skip.path}: {skip.reason.rstrip('.')}" for skip in skipped[:5])
    return f" Skipped: {shown}{' …' if len(skipped) > 5 else ''}." if skipped else ""
