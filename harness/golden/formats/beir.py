"""BEIR's folder: corpus.jsonl, queries.jsonl and one qrels/*.tsv."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from harness.golden.formats.base import Draft, ReadOptions, SkippedPart, SourceContents, corpus_beside
from harness.golden.formats.ids import known_fields
from harness.golden.lines import lines, read_rows, refuse
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import near


class BeirQuery(BaseModel):
    """One line of queries.jsonl; what else it holds is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(alias="_id", min_length=1)
    text: str = Field(min_length=1)
    metadata: dict[str, Any] = Field(default_factory=dict)


class BeirFormat:
    """Queries with graded relevant documents; there are no answers, so cases are scored on retrieval only."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """The files that BEIR names."""
        return (source / "queries.jsonl").is_file() and (source / "qrels").is_dir()

    def read(self, source: Path, options: ReadOptions) -> SourceContents:
        """The queries that the qrels file judges."""
        qrels, queries = _qrels_file(source, options.split_file), source / "queries.jsonl"
        judgements = _judgements(qrels)
        corpus = corpus_beside(source, options)
        queries_by_id: dict[str, tuple[str, BeirQuery]] = {}
        problems: list[str] = []
        for line, query in read_rows(queries, BeirQuery, problems, ["_id", "text", "metadata"]):
            if query.id in queries_by_id:
                problems.append(f"{line.where}: query {query.id!r} stands in {queries_by_id[query.id][0]} already.")
            queries_by_id[query.id] = (line.where, query)
        refuse(problems)
        unknown_places = [places[0] for name, (places, _) in judgements.items() if name not in queries_by_id]
        left_out = tuple(SkippedPart(where, "a judged query that is not in queries.jsonl") for where in unknown_places)
        drafts = [
            Draft(where, name, query.text, (), (), judgements[name][1], query.metadata, known_fields(query.metadata))
            for name, (where, query) in queries_by_id.items()
            if name in judgements
        ]
        unjudged = len(queries_by_id) - len(drafts)
        notes = (f"{unjudged} queries are not judged in qrels/{qrels.name}",) if unjudged else ()
        files = (queries, qrels) if options.corpus else (queries, qrels, source / "corpus.jsonl")
        return SourceContents(tuple(drafts), corpus, files, left_out, notes)


def _qrels_file(source: Path, name: str) -> Path:
    if not source.is_dir():
        raise ConfigError(f"{source}: is not a folder; BEIR's format is a folder with corpus.jsonl, queries.jsonl and qrels/.")
    files = {path.stem: path for path in sorted((source / "qrels").glob("*.tsv"))}
    known = ", ".join(files) or "none"
    if name.removesuffix(".tsv") in files:
        return files[name.removesuffix(".tsv")]
    if name:
        raise ConfigError(f"{source}: no qrels/{name.removesuffix('.tsv')}.tsv.{near(name, list(files))} Known: {known}.")
    if len(files) != 1:
        raise ConfigError(f"{source}: which file of qrels/? Name one: --split-file test. Known: {known}.")
    return next(iter(files.values()))


def _judgements(path: Path) -> dict[str, tuple[list[str], dict[str, int]]]:
    """For each query the places of its judgements and the grade of each relevant document; below 1 is judged not relevant."""
    by_query: dict[str, tuple[list[str], dict[str, int]]] = {}
    problems: list[str] = []
    for line in lines(path):
        try:
            cells = line.text.split("\t")
        except DataError as error:
            problems.append(str(error))
            continue
        if line.number == 1 and cells[-1].strip() == "score":
            continue
        if len(cells) != 3 or not cells[0] or not cells[1] or not _is_whole_number(cells[2]):
            problems.append(f"{line.where}: query-id, corpus-id and a whole score between tabs are needed, not {line.text[:60]!r}.")
            continue
        query, document, grade = cells[0], cells[1], int(cells[2])
        places, grades = by_query.setdefault(query, ([], {}))
        places.append(line.where)
        if document in grades:
            problems.append(f"{line.where}: document {document!r} is judged twice for query {query!r}.")
        else:
            grades[document] = grade
    refuse(problems)
    return {query: (places, {name: grade for name, grade in grades.items() if grade >= 1}) for query, (places, grades) in by_query.items()}


def _is_whole_number(cell: str) -> bool:
    digits = cell.strip().removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) < 10
