"""Where documents are ingested from: a folder or .jsonl file, s3://bucket/prefix, or a git repository; each becomes a folder to read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.ingest.git import GitLocation, checked_out
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.facts import FACTS_FOLDER, SETTINGS_FILE
from serving.pipeline.index.loaders import LOADERS, unread
from serving.pipeline.index.reading import Bounds, SkippedFile
from serving.pipeline.settings import PipelineSettings
from serving.storage.open import open_storage
from serving.storage.place import is_remote

RULES = frozenset({".jsonl", ".yaml", ".yml", ".json", ".toml"})  # fetched too: rules that are misnamed are to be refused
_ODD = re.compile(r"[^\w.\-]+")


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What a source may bring at most, and how long fetching it may take."""

    megabytes: float = 2000.0
    files: int = 100_000
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A source as a folder of this machine."""

    path: Path
    collection: str  # what the records call it: the same at every run
    name: str  # what ids begin with, unless told otherwise
    skipped: list[SkippedFile] = field(default_factory=list)  # what was not fetched


@contextmanager
def opened_source(source: str, settings: PipelineSettings, limits: SourceLimits) -> Iterator[SourceFolder]:
    """The folder of a source; what had to be fetched for it is removed in the end."""
    if is_remote(source):
        with TemporaryDirectory(prefix="touchstone-ingest-") as folder:
            yield _downloaded(source.rstrip("/"), Path(folder) / "bucket", settings, limits)
    elif source.startswith("git+"):
        place = GitLocation.parse(source)
        with TemporaryDirectory(prefix="touchstone-ingest-") as folder:
            path = checked_out(place, Path(folder), megabytes=limits.megabytes, files=limits.files, seconds=limits.seconds)
            yield SourceFolder(path, place.collection, _plain(place.name))
    elif "://" in source or source.startswith(("file:", "ext::")):
        raise ConfigError(f"{source!r} is no source. Give a folder, a .jsonl file, s3://bucket/prefix or git+https://….")
    else:
        path = Path(source)
        if not path.exists():
            raise DataError(f"No folder or file {source!r}.")
        yield SourceFolder(path, str(path.resolve()), _plain(path.resolve().stem if path.is_file() else path.resolve().name))


def _downloaded(uri: str, folder: Path, settings: PipelineSettings, limits: SourceLimits) -> SourceFolder:
    """The files of a bucket's prefix that a loader reads, and the rules beside them."""
    storage = open_storage(uri, settings, purpose="source", setting="PATH")
    bounds, skipped, total = Bounds(), list[SkippedFile](), 0
    folder.mkdir()
    for number, entry in enumerate(storage.list()):
        suffix = Path(entry.key).suffix.lower()
        rule = suffix in RULES or entry.key == SETTINGS_FILE or entry.key.startswith(f"{FACTS_FOLDER}/")
        if number >= limits.files:
            raise DataError(f"{uri}: holds more than {limits.files:,} objects. Ingest a longer prefix.")
        if suffix not in LOADERS.names() and not rule:
            skipped.append(SkippedFile(entry.key, unread(suffix)))
            continue
        if entry.size > bounds.file_bytes:
            skipped.append(SkippedFile(entry.key, f"has {entry.size / 1e6:.1f} MB; at most {bounds.file_bytes / 1e6:g} MB are read."))
            continue
        total += entry.size
        if total > limits.megabytes * 1e6:
            raise DataError(f"{uri}: holds more than {limits.megabytes:g} MB. Ingest a longer prefix, or raise --max-mb.")
        try:
            blob = storage.get(entry.key)
        except DataError:
            skipped.append(SkippedFile(ascii(entry.key)[1:-1], "a name that no file can have"))
            continue
        if blob is not None:
            path = folder / entry.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob.data)
    return SourceFolder(folder, uri, _plain(uri.removeprefix("s3://").rpartition("/")[2]), skipped)


def _plain(name: str) -> str:
    return _ODD.sub("-", name).strip(".-") or "documents"
