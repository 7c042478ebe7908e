"""SQuAD 1.1 and 2.0: paragraphs become documents, answers become evidence where they stand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.golden.case import Evidence
from harness.golden.formats.base import Draft, ReadOptions, SourceContents
from harness.golden.lines import read_json
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.access import Access
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.facts import document_of
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Document

LIMITS = (
    "A question was written with its paragraph in view; some make little sense without it.",
    "Unanswerable means: not answered by its own paragraph. Another paragraph may answer it all the same.",
)


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class SquadAnswer(_Node):
    """Words of the context, and where they start."""

    text: str
    answer_start: int


class SquadQuestion(_Node):
    """A question; `is_impossible` only in version 2."""

    id: str = Field(min_length=1)
    question: str
    answers: list[SquadAnswer] = Field(default_factory=list)
    is_impossible: bool = False


class SquadParagraph(_Node):
    """A context and its questions."""

    context: str
    qas: list[SquadQuestion]


class SquadArticle(_Node):
    """An article of paragraphs."""

    title: str = ""
    paragraphs: list[SquadParagraph]


class SquadFile(_Node):
    """The whole file."""

    data: list[SquadArticle]


class SquadFormat:
    """{data: [{title, paragraphs: [{context, qas: [{id, question, answers: [{text, answer_start}], is_impossible}]}]}]}."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """A .json file with paragraphs and questions near its start."""
        if source.suffix != ".json" or not source.is_file():
            return False
        with source.open("rb") as file:
            start = file.read(65536)
        return b'"data"' in start and b'"paragraphs"' in start and (b'"context"' in start or b'"qas"' in start)

    def read(self, source: Path, options: ReadOptions) -> SourceContents:
        """Every question of every paragraph."""
        if options.corpus:
            raise ConfigError("SQuAD brings its own documents: leave --corpus out.")
        if source.is_dir():
            raise ConfigError(f"{source}: is a folder; name the .json file.")
        try:
            file = SquadFile.model_validate(read_json(source))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
            more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
            raise DataError(f"{source}: {place or 'the file'}: {first['msg'][0].lower()}{first['msg'][1:]}.{more}") from None
        documents = _Documents(str(source))
        drafts = tuple(_drafts(file, documents, source))
        if not drafts:
            raise DataError(f"{source}: holds no question.")
        return SourceContents(drafts, Corpus.of("squad", documents.documents), (source,), limits=LIMITS)


@dataclass
class _Documents:
    """The documents so far; a paragraph that is repeated in its article is one document."""

    source: str
    documents: list[Document] = field(default_factory=list)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, title: str, context: str, where: str) -> str:
        """The id of the document that the paragraph is."""
        key = (title, context)
        if key not in self._ids:
            stem = title or "untitled"
            number = self._counts[stem] = self._counts.get(stem, 0) + 1
            name = self._ids[key] = f"{stem}#{number:03d}"
            facts: dict[str, Any] = {"title": title.replace("_", " ")}
            self.documents.append(document_of(name, context.replace("\0", " "), facts, Access(), f"{self.source}: {where}"))
        return self._ids[key]


def _drafts(file: SquadFile, documents: _Documents, source: Path) -> Iterator[Draft]:
    for a, article in enumerate(file.data):
        for p, paragraph in enumerate(article.paragraphs):
            place = f"data[{a}].paragraphs[{p}]"
            document = documents.add(article.title, paragraph.context, place)
            for q, qa in enumerate(paragraph.qas):
                where = f"{source}: {place}.qas[{q}]"
                metadata = {"title": article.title}
                if qa.is_impossible:
                    yield Draft(where, qa.id, qa.question, metadata=metadata, fields={"answerable": False, "kind": "unanswerable"})
                    continue
                answers = [answer for answer in qa.answers if answer.text.strip()]
                texts = tuple(dict.fromkeys(answer.text for answer in answers)) or tuple(answer.text for answer in qa.answers)
                yield Draft(where, qa.id, qa.question, texts, _evidence(answers, document, paragraph.context), metadata=metadata)


def _evidence(answers: list[SquadAnswer], document: str, context: str) -> tuple[Evidence, ...]:
    """One span: annotators mark the same answer, so the first of the shortest is what must be found."""
    if not answers:
        return ()
    best = min(answers, key=lambda answer: len(answer.text))
    start, end = best.answer_start, best.answer_start + len(best.text)
    return (Evidence(document=document, quote=best.text, start=max(start, 0), end=max(end, 0)),)
