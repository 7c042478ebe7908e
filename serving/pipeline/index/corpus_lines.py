"""Reads a JSONL file, or a part of one, as documents: one `{"id", "title", "text", "metadata"}` (or BEIR's `_id`) a line."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.pipeline.errors import DataError
from serving.pipeline.index.facts import HEAD_BYTES, Fields, top_folder
from serving.pipeline.index.front_matter import refuse_unread
from serving.pipeline.index.read_file import open_file
from serving.pipeline.index.reading import Bounds, Loading
from serving.pipeline.types import Document


@dataclass(frozen=True, slots=True)
class LineRange:
    """Some lines of a `.jsonl` file."""

    first: int  # number of the first one, from 1
    offset: int  # bytes before it
    bytes: int
    sha256: str = ""


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


def read_lines(path: Path, loading: Loading, part: LineRange | None = None) -> Iterator[tuple[int, Document]]:
    """The documents of a file, or of some of its lines, with the number of each one's line."""
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


def _parsed(line: str, where: str, loading: Loading) -> Document:
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
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} is given twice")
        values[key] = value
    return values
