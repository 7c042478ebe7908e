"""Questions with the ids of the documents that answer them, and the documents in `corpus.jsonl` beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import Field, ValidationError

from harness.golden.case import GoldenModel, Kind
from harness.golden.formats.base import Draft, ReadOptions, SourceContents, corpus_beside, files_read, first_row, questions_file
from harness.golden.lines import lines, refuse
from serving.pipeline.errors import DataError
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import explain


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
        about = row.get("metadata")
        return {"question", "relevant_ids"} <= set(row) <= KEYS and not (isinstance(about, dict) and "evidence" in about)

    def read(self, source: Path, wish: ReadOptions) -> SourceContents:
        """Every question; graded relevance is read from `metadata.grades`, as {document: grade}."""
        chosen = questions_file(source)
        corpus = corpus_beside(chosen.path, wish)
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
        return SourceContents(tuple(drafts), corpus, files_read(chosen.path, wish), notes=chosen.notes)


def questions(path: Path) -> list[tuple[str, IdsQuestion]]:
    """Every line of the file with its place, or all that is wrong with them."""
    rows: list[tuple[str, IdsQuestion]] = []
    problems: list[str] = []
    for line in lines(path):
        try:
            rows.append((line.where, IdsQuestion.model_validate(line.row)))
        except DataError as error:
            problems.append(str(error))
        except ValidationError as error:
            problems.append(explain(error, line.where, list(IdsQuestion.model_fields)))
    refuse(problems)
    return rows


def known_fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that a case has a field for: answerable, kind, difficulty, group."""
    fields: dict[str, Any] = {}
    if about.get("kind") in get_args(Kind):
        fields["kind"] = about["kind"]
    if about.get("difficulty") in ("easy", "hard"):
        fields["difficulty"] = about["difficulty"]
    if isinstance(about.get("group"), str):
        fields["group"] = about["group"]
    if about.get("answerable") is False:
        fields |= {"answerable": False, "kind": "unanswerable"}
    return fields
