"""Reads the files of a folder as documents."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.pipeline.errors import DataError, RefusedFile
from serving.pipeline.index.facts import FACTS_FOLDER, HEAD_BYTES, SETTINGS_FILE, Fields, top_folder
from serving.pipeline.index.front_matter import NOTHING, read_front_matter, refuse_unread
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.loaders.base import decoded
from serving.pipeline.index.parse import IN_PROCESS, ParseLimits, Parser
from serving.pipeline.index.read_file import read_file, real_path
from serving.pipeline.index.reading import CorpusFile, Loading, SkippedFile
from serving.pipeline.progress import Progress
from serving.pipeline.text.headings import first_heading
from serving.pipeline.types import Document

LINES_FILE = "corpus.jsonl"  # where it stands in a folder, it is the whole corpus
PACKED_FILES = frozenset({".pdf", ".docx"})  # whose bytes are no text
FRONT_MATTER_FILES = frozenset({".md", ".markdown"})
ABOUT_FILES = frozenset({"CARD.md", "README.md", "SHA256", "LICENSE"})  # about the corpus, not of it, when at its top
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # would break a line, or turn it around


def list_files(folder: Path) -> tuple[list[Path], list[SkippedFile]]:
    """The files of a folder to read, in order, and those that no loader reads; hidden files are neither."""
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}. A corpus is a folder of {known_suffixes()} files, or one .jsonl file.")
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
                skipped.append(SkippedFile(ascii(id_of(path, folder))[1:-1], "a name with control characters"))
                folders[:] = [other for other in folders if other != name]
                continue
            if path.is_symlink() and not real_path(path).is_relative_to(root):
                raise DataError(f"{path}: is a link to {str(real_path(path))!r}, outside the corpus. Copy the file in, or remove the link.")
            if name in folders:
                if path.is_symlink():
                    skipped.append(SkippedFile(id_of(path, folder), "a link to another folder of the corpus"))
            elif is_root and name in ABOUT_FILES:
                skipped.append(SkippedFile(name, "about the corpus"))
            elif not path.is_file():
                skipped.append(SkippedFile(id_of(path, folder), "not a file"))
            elif path.suffix.lower() not in LOADERS.names():
                skipped.append(SkippedFile(id_of(path, folder), f"no loader for {path.suffix!r}"))
            else:
                files.append(path)
    return sorted(files, key=lambda path: id_of(path, folder)), skipped


def list_beside_lines(folder: Path) -> list[SkippedFile]:
    """The files of a folder of which one file of lines is the corpus."""
    files, others = list_files(folder)
    left_out = [SkippedFile(id_of(file, folder), f"{LINES_FILE} is the corpus") for file in files]
    return sorted([*left_out, *(other for other in others if other.path != LINES_FILE)], key=lambda skip: skip.path)


def read_each(
    files: list[Path], folder: Path, loading: Loading, progress: Progress | None, known: Callable[[str, bytes], bool]
) -> Iterator[CorpusFile | SkippedFile]:
    """Some files of a folder one by one, those that are `known` by id and bytes without their documents."""
    with Parser(ParseLimits(characters=loading.bounds.characters)) as parser:
        if any(path.suffix.lower() not in IN_PROCESS for path in files):
            parser.warm()  # while it starts, plain files are read
        for done, path in enumerate(files, 1):
            ident = id_of(path, folder)
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


def id_of(path: Path, folder: Path) -> str:
    """The id of a file's document: its path below the folder."""
    name = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the name of a file is not UTF-8: {name!r}. Rename it.") from None
    return name


def _raise_unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}")


def _document(path: Path, data: bytes, folder: Path, loading: Loading, parser: Parser) -> Document:
    document_id, bounds = id_of(path, folder), loading.bounds
    own = _own_fields(data, path, loading, document_id)
    loaded = parser.parse(data, str(path), path.suffix.lower())
    if len(loaded.text) > bounds.characters:
        raise RefusedFile(str(path), f"has {len(loaded.text):,} characters; at most {bounds.characters:,} are read. Split it.")
    if not is_stated(own, document_id, loading):
        refuse_unread(loaded.text, str(path))
    heading = None if loaded.title else first_heading(loaded.text)
    title = loaded.title or (heading.title if heading else path.stem)
    top = top_folder(document_id)
    values = {"title": title, "domain": loading.rules.domains.get(top, top)}
    return loading.document(document_id, loaded.text, str(path), values, Fields(loaded.facts, own.where))


def _own_fields(data: bytes, path: Path, loading: Loading, document_id: str) -> Fields:
    """What a file says of itself, read before its loader sees it: with the lines, and with an eye for what no loader would read."""
    located, first, text = NOTHING, 1, ""
    if path.suffix.lower() in FRONT_MATTER_FILES:
        text = decoded(data)[0]
        located, first = read_front_matter(text, str(path))
    elif path.suffix.lower() not in PACKED_FILES:
        text = decoded(data[:HEAD_BYTES])[0]
    lines = located.lines
    own = Fields(located.data, lambda keys: f"{path}:{lines[keys]}" if keys in lines else str(path))
    if not is_stated(own, document_id, loading):
        refuse_unread("\n".join(text.split("\n", first + 200)[first - 1 : first + 199]), str(path), first)
    return own


def is_stated(own: Fields, document_id: str, loading: Loading) -> bool:
    """Whether an entry in corpus.d or the front matter says who may read a document, so that nothing else can have been meant to."""
    entry = loading.rules.facts.get(document_id)
    return any(fields and {"tenant", "groups", "access"} & fields.values.keys() for fields in (entry, own))


def known_suffixes() -> str:
    """The endings of files that a loader reads."""
    return ", ".join(LOADERS.names())
