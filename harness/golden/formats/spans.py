"""Questions whose evidence stands in their metadata as character spans of the documents."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from harness.golden.case import Evidence, GoldenModel
from harness.golden.formats.base import Draft, ReadOptions, SourceContents, corpus_beside, files_read, first_row, questions_file
from harness.golden.formats.ids import KEYS, known_fields, questions
from harness.golden.lines import refuse
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import explain


class EvidenceSpan(GoldenModel):
    """One span of the metadata."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    text: str = Field(min_length=1)
    doc: str = ""  # default: the question's own


_PIECES = TypeAdapter(tuple[EvidenceSpan, ...])


class SpansFormat:
    """{id, question, answers, metadata: {doc, evidence: [{start, end, text}]}}; `relevant_ids`, which may point elsewhere, are not read."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """A list of spans in the metadata."""
        row = first_row(source)
        metadata = row.get("metadata")
        return "question" in row and set(row) <= KEYS and isinstance(metadata, dict) and isinstance(metadata.get("evidence"), list)

    def read(self, source: Path, options: ReadOptions) -> SourceContents:
        """Every question with its spans."""
        chosen = questions_file(source)
        corpus = corpus_beside(chosen.path, options)
        drafts: list[Draft] = []
        problems: list[str] = []
        for where, row in questions(chosen.path):
            try:
                pieces = _PIECES.validate_python(row.metadata.get("evidence", ()))
            except ValidationError as error:
                problems.append(explain(error, f"{where}: metadata.evidence", list(EvidenceSpan.model_fields)))
                continue
            evidence = tuple(_evidence(piece, row.metadata) for piece in pieces)
            drafts.append(Draft(where, row.id, row.question, row.answers, evidence, {}, row.metadata, known_fields(row.metadata)))
        refuse(problems)
        return SourceContents(tuple(drafts), corpus, files_read(chosen.path, options), notes=chosen.notes)


def _evidence(piece: EvidenceSpan, metadata: dict[str, Any]) -> Evidence:
    return Evidence(document=piece.doc or str(metadata.get("doc", "")), quote=piece.text, start=piece.start, end=piece.end)
