"""The parts of a corpus: which files or lines are read together by one worker, found without reading a document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

from harness.evaluation.context import corpus_path
from harness.settings import HarnessSettings
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus_files import ABOUT_FILES, LINES_FILE, UNPRINTABLE, list_beside_lines, list_files
from serving.pipeline.index.corpus_lines import LineRange, line_ranges
from serving.pipeline.index.facts import FACTS_FOLDER, SETTINGS_FILE, CorpusRules, corpus_rules, may_be_rules
from serving.pipeline.index.loaders import LOADERS, unread
from serving.pipeline.index.reading import Bounds, SkippedFile
from serving.pipeline.registry import Spec
from serving.storage.base import Entry
from serving.storage.open import open_storage
from serving.storage.place import is_remote

CorpusKind = Literal["folder", "lines", "bucket"]


@dataclass(frozen=True, slots=True)
class PartLimits:
    """How large a part may be; one larger file is a part of its own."""

    bytes: int = 8_000_000  # of files; plain text becomes some 10,000 chunks
    files: int = 1000


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was when the parts were made; a worker refuses one that has changed since."""

    name: str  # relative to the corpus
    size: int
    modified: str


@dataclass(frozen=True, slots=True)
class SourcePart:
    """Some files of a corpus, or some lines."""

    key: str  # changes with what is read, and with what reads it
    weight: int  # files, or bytes of lines: what progress is told in
    files: tuple[FileStamp, ...] = ()
    lines: LineRange | None = None


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """A corpus as parts, with the rules that hold for all of them."""

    kind: CorpusKind
    place: str  # the folder, the file of lines, or s3://bucket/prefix
    name: str
    rules: CorpusRules
    rules_digest: str
    parts: tuple[SourcePart, ...]
    skipped: tuple[SkippedFile, ...] = ()
    rule_files: tuple[str, ...] = ()  # of a bucket: what a worker fetches beside its files

    @property
    def key(self) -> str:
        """Under which the documents of this place are kept meanwhile."""
        return digest_of([self.kind, self.place])


def plan_corpus(corpus: str, settings: HarnessSettings, limits: PartLimits) -> CorpusPlan:
    """The parts of a corpus by its name, its folder, its `.jsonl` file or its s3://bucket/prefix."""
    if is_remote(corpus):
        return _bucket(corpus, settings, limits)
    path = corpus_path(corpus, settings).resolve()
    if path.suffix == ".jsonl" and not path.is_dir():
        return _lines(path, path.name == LINES_FILE, limits)
    if (path / LINES_FILE).exists():
        return _lines(path / LINES_FILE, True, limits, tuple(list_beside_lines(path)))
    rules = corpus_rules(path)
    files, skipped = list_files(path)
    stamps = [stamp_of(path, file) for file in files]
    digest = rules_digest_of(path)
    return CorpusPlan("folder", str(path), rules.name or path.name, rules, digest, _grouped(stamps, digest, limits), tuple(skipped))


def stamp_of(folder: Path, file: Path) -> FileStamp:
    """A file of a folder as it is now."""
    try:
        found = file.stat()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    return FileStamp(file.relative_to(folder).as_posix(), found.st_size, str(found.st_mtime_ns))


def rules_digest_of(folder: Path) -> str:
    """The digest of the rules beside the documents, so that all workers are known to read the same."""
    facts = sorted(path for path in (folder / FACTS_FOLDER).glob("*.yaml") if not path.name.startswith("."))
    paths = [path for path in (folder / SETTINGS_FILE, *facts) if path.is_file()]
    try:
        return digest_of([[path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()] for path in paths])
    except OSError as error:
        raise DataError(f"{folder}: its rules cannot be read: {error.strerror}") from None


def _lines(path: Path, named: bool, limits: PartLimits, skipped: tuple[SkippedFile, ...] = ()) -> CorpusPlan:
    rules = corpus_rules(path.parent, below=named)
    digest = rules_digest_of(path.parent)
    ranges = line_ranges(path, limits.bytes)
    parts = tuple(SourcePart(_part_key([one.first, one.sha256], digest, ()), one.bytes, lines=one) for one in ranges)
    name = rules.name or path.parent.name if named else path.stem
    return CorpusPlan("lines", str(path), name, rules, digest, parts, skipped)


def _bucket(corpus: str, settings: HarnessSettings, limits: PartLimits) -> CorpusPlan:
    uri = f"s3://{corpus.removeprefix('s3://').strip('/')}"
    if uri.endswith(".jsonl"):
        raise DataError(f"{uri}: lines are not read from a bucket. Copy the file to a folder that every worker sees.")
    storage = open_storage(uri, settings, purpose="corpus", setting="--corpus")
    entries = list(storage.list())
    rule_names = [entry.key for entry in entries if may_be_rules(entry.key)]
    with TemporaryDirectory(prefix="touchstone-rules-") as place:
        folder = Path(place)
        for name in rule_names:
            blob = storage.get(name)
            if blob is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(blob.data)
        try:
            rules, digest = corpus_rules(folder), rules_digest_of(folder)
        except DataError as error:
            raise DataError(str(error).replace(place, uri)) from None
    stamps, skipped = list[FileStamp](), list[SkippedFile]()
    for entry in entries:
        if entry.key == LINES_FILE:
            raise DataError(f"{uri}/{LINES_FILE}: lines are not read from a bucket. Copy it to a folder that every worker sees.")
        reason = _why_not(entry)
        if reason:
            skipped.append(SkippedFile(ascii(entry.key)[1:-1] if UNPRINTABLE.search(entry.key) else entry.key, reason))
        elif entry.key != SETTINGS_FILE and not entry.key.startswith(f"{FACTS_FOLDER}/"):
            stamps.append(FileStamp(entry.key, entry.size, entry.modified.isoformat()))
    needed = tuple(name for name in rule_names if name == SETTINGS_FILE or name.startswith(f"{FACTS_FOLDER}/"))
    name = rules.name or uri.rpartition("/")[2]
    return CorpusPlan("bucket", uri, name, rules, digest, _grouped(stamps, digest, limits), tuple(skipped), needed)


def _why_not(entry: Entry) -> str:
    """Why an object is no document; an empty text where it may be one."""
    path = PurePosixPath(entry.key)
    if UNPRINTABLE.search(entry.key):
        return "a name with control characters"
    if entry.key in ABOUT_FILES:
        return "about the corpus"
    if entry.key == SETTINGS_FILE or path.parts[0] == FACTS_FOLDER:
        return ""
    if path.suffix.lower() not in LOADERS.names():
        return unread(path.suffix)
    most = Bounds().file_bytes
    return f"has {entry.size / 1e6:.1f} MB; at most {most / 1e6:g} MB are read. Split it." if entry.size > most else ""


def _grouped(stamps: Sequence[FileStamp], rules: str, limits: PartLimits) -> tuple[SourcePart, ...]:
    return tuple(
        SourcePart(_part_key([[one.name, one.size, one.modified] for one in group], rules, group), len(group), files=tuple(group))
        for group in _groups(stamps, limits)
    )


def _groups(stamps: Sequence[FileStamp], limits: PartLimits) -> Iterator[list[FileStamp]]:
    group: list[FileStamp] = []
    size = 0
    for stamp in stamps:
        if group and (size + stamp.size > limits.bytes or len(group) >= limits.files):
            yield group
            group, size = [], 0
        group.append(stamp)
        size += stamp.size
    if group:
        yield group


def _part_key(what: object, rules: str, files: Sequence[FileStamp]) -> str:
    suffixes = sorted({PurePosixPath(one.name).suffix.lower() for one in files})
    return digest_of([what, rules, [[suffix, LOADERS.version(Spec(name=suffix))] for suffix in suffixes]])
