"""Cases as this project writes them, with their documents beside them or named."""

from pathlib import Path
from typing import ClassVar

from harness.golden.case import Case
from harness.golden.formats.base import Draft, ReadOptions, SourceContents, corpus_beside, files_read, first_row, questions_file
from harness.golden.formats.ids import KEYS
from harness.golden.lines import read_rows, refuse
from serving.pipeline.registry import Params as PlugInParams

DRAFT_FIELDS = ("question", "answers", "evidence", "relevant_ids", "grades")


class CasesFormat:
    """`cases.jsonl`, a case per line, every field as in a golden set."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """A field that only our cases have, and none they do not have."""
        row = set(first_row(source))
        return "question" in row and row <= set(Case.model_fields) and not row <= KEYS

    def read(self, source: Path, options: ReadOptions) -> SourceContents:
        """Every case, checked as any golden set's."""
        chosen = questions_file(source, "cases.jsonl")
        corpus = corpus_beside(chosen.path, options)
        drafts: list[Draft] = []
        problems: list[str] = []
        for line, case in read_rows(chosen.path, Case, problems):
            grades = case.grades or (1,) * len(case.relevant_ids)
            relevant = dict(zip(case.relevant_ids, grades, strict=True))
            fields = {name: getattr(case, name) for name in Case.model_fields if name not in DRAFT_FIELDS}
            drafts.append(Draft(line.where, case.id, case.question, case.answers, case.evidence, relevant, fields=fields))
        refuse(problems)
        return SourceContents(tuple(drafts), corpus, files_read(chosen.path, options), notes=chosen.notes)
