"""What every format of golden sets shares: its protocol, drafts of cases, and which files of a source are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.golden.case import Evidence
from harness.golden.lines import lines, read_json
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.corpus import Corpus, load_corpus


@dataclass(frozen=True, slots=True)
class Draft:
    """A case as in its source, not yet checked against the documents."""

    where: str  # file:line
    id: str
    question: str
    answers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    relevant: Mapping[str, int] = field(default_factory=dict)  # document → grade
    metadata: Mapping[str, Any] = field(default_factory=dict)  # the source's own metadata
    fields: Mapping[str, Any] = field(default_factory=dict)  # fields of the case that the source names as we do


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """A part of the source that is not imported, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceContents:
    """All that a source holds."""

    drafts: tuple[Draft, ...]
    corpus: Corpus
    files: tuple[Path, ...]  # that were read
    left_out: tuple[SkippedPart, ...] = ()
    notes: tuple[str, ...] = ()  # what the user should know
    limits: tuple[str, ...] = ()  # what the card should say


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The options for reading a source."""

    corpus: Corpus | None = None  # replaces the source's own documents
    split_file: str = ""


class GoldenFormat(Protocol):
    """Reads one shape of golden set; `fits` looks at no more than names and the first line."""

    def fits(self, source: Path) -> bool: ...

    def read(self, source: Path, options: ReadOptions) -> SourceContents: ...


@dataclass(frozen=True, slots=True)
class QuestionsFile:
    """The file of questions in a source, and the other files that may be meant."""

    path: Path
    others: tuple[Path, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The files that were not read."""
        names = ", ".join(path.name for path in self.others)
        return (f"read {self.path.name}; not read: {names} (name a file to import it)",) if self.others else ()


def questions_file(source: Path, name: str = "golden.jsonl") -> QuestionsFile:
    """A file as it is; of a folder the file of that name, or its only .jsonl file beside the corpus."""
    if not source.is_dir():
        return QuestionsFile(source)
    files = sorted(path for path in source.glob("*.jsonl") if path.name != "corpus.jsonl")
    preferred = source / name
    if preferred in files:
        return QuestionsFile(preferred, tuple(path for path in files if path != preferred and path.stem.startswith(preferred.stem)))
    if len(files) == 1:
        return QuestionsFile(files[0])
    listing = f"It has {', '.join(path.name for path in files)}: name one." if files else f"It has no {name}."
    raise ConfigError(f"{source}: which file holds the questions? {listing}")


def corpus_beside(path: Path, options: ReadOptions) -> Corpus:
    """The documents: those the user named, or `corpus.jsonl` beside the questions."""
    if options.corpus:
        return options.corpus
    beside = (path if path.is_dir() else path.parent) / "corpus.jsonl"
    if not beside.is_file():
        raise ConfigError(f"{path}: no corpus.jsonl beside it. Name the documents: --corpus NAME, a folder, or a .jsonl file.")
    return load_corpus(beside)


def files_read(path: Path, options: ReadOptions) -> tuple[Path, ...]:
    """The questions, and the documents where they stand beside them."""
    return (path,) if options.corpus else (path, path.parent / "corpus.jsonl")


def first_row(source: Path) -> Mapping[str, Any]:
    """The first line of the questions as an object; empty when it cannot be read."""
    try:
        path = questions_file(source).path
        return next((line.row for line in lines(path)), {}) if path.suffix == ".jsonl" else {}
    except (ConfigError, DataError):
        return {}


def refuse_unreadable(source: Path) -> None:
    """A `DataError` with the file and line where a source is empty, or where its first line is no JSON object."""
    path = questions_file(source).path
    if path.suffix == ".json":
        read_json(path)
        return
    first = next(lines(path), None)
    if first is None:
        raise DataError(f"{path}: is empty. A golden set has a question on each line, as a JSON object.")
    if not first.row:
        raise DataError(f"{first.where}: an object without a field. Each line holds a question.")
