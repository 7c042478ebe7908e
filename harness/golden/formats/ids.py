"""Questions with the ids of the documents that answer them, and the documents in `corpus.jsonl` beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import Field

from harness.golden.case import GoldenModel, Kind
from harness.golden.formats.base import Draft, ReadOptions, SourceContents, corpus_beside, files_read, first_row, questions_file
from harness.golden.lines import read_rows, refuse
from serving.pipeline.registry import Params as PlugInParams


class IdsQuestion(GoldenModel):
    """One line of the file."""

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answers: tuple[str, ...] = ()
    relevant_ids: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)


KEYS = frozenset(IdsQuestion.model_fields)


class IdsFormat:
    """{id, question, answers, relevant_ids, metadata}; without answers a case is scored on retrieval only."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """These keys and no others, and no spans in the metadata."""
        row = first_row(source)
        metadata = row.get("metadata")
        return {"question", "relevant_ids"} <= set(row) <= KEYS and not (isinstance(metadata, dict) and "evidence" in metadata)

    def read(self, source: Path, options: ReadOptions) -> SourceContents:
        """Every question; graded relevance is read from `metadata.grades`, as {document: grade}."""
        chosen = questions_file(source)
        corpus = corpus_beside(chosen.path, options)
        drafts: list[Draft] = []
        problems: list[str] = []
        for where, row in questions(chosen.path):
            grades = row.metadata.get("grades", dict.fromkeys(row.relevant_ids, 1))
            if not isinstance(grades, dict) or not all(type(grades.get(name)) is int for name in row.relevant_ids):
                problems.append(f"{where}: metadata.grades: a whole number for each of 'relevant_ids' is needed, as {{id: 3}}.")
                continue
            graded = {name: grades[name] for name in row.relevant_ids if grades[name] >= 1}  # below 1: judged not relevant
            fields = known_fields(row.metadata)
            drafts.append(Draft(where, row.id, row.question, row.answers, (), graded, row.metadata, fields))
        refuse(problems)
        return SourceContents(tuple(drafts), corpus, files_read(chosen.path, options), notes=chosen.notes)


def questions(path: Path) -> list[tuple[str, IdsQuestion]]:
    """Every line of the file with its place, or all that is wrong with them."""
    problems: list[str] = []
    rows = [(line.where, row) for line, row in read_rows(path, IdsQuestion, problems)]
    refuse(problems)
    return rows


def known_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that a case has a field for: answerable, kind, difficulty, group."""
    fields: dict[str, Any] = {}
    if metadata.get("kind") in get_args(Kind):
        fields["kind"] = metadata["kind"]
    if metadata.get("difficulty") in ("easy", "hard"):
        fields["difficulty"] = metadata["difficulty"]
    if isinstance(metadata.get("group"), str):
        fields["group"] = metadata["group"]
    if metadata.get("answerable") is False:
        fields |= {"answerable": False, "kind": "unanswerable"}
    return fields
