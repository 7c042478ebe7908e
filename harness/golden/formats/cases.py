"""Cases as this project writes them, with their documents beside them or named."""

from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from harness.golden.case import Case
from harness.golden.formats.base import Draft, ReadOptions, SourceContents, corpus_beside, files_read, first_row, questions_file
from harness.golden.formats.ids import KEYS
from harness.golden.lines import lines, refuse
from serving.pipeline.errors import DataError
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import explain

OWN = ("question", "answers", "evidence", "relevant_ids", "grades")


class CasesFormat:
    """`cases.jsonl`, a case per line, every field as in a golden set."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[PlugInParams]] = PlugInParams

    def __init__(self, params: PlugInParams) -> None: ...

    def fits(self, source: Path) -> bool:
        """A field that only our cases have, and none they do not have."""
        row = set(first_row(source))
        return "question" in row and row <= set(Case.model_fields) and not row <= KEYS

    def read(self, source: Path, wish: ReadOptions) -> SourceContents:
        """Every case, checked as any golden set's."""
        chosen = questions_file(source, "cases.jsonl")
        corpus = corpus_beside(chosen.path, wish)
        drafts: list[Draft] = []
        problems: list[str] = []
        for line in lines(chosen.path):
            try:
                case = Case.model_validate(line.row)
            except DataError as error:
                problems.append(str(error))
            except ValidationError as error:
                problems.append(explain(error, line.where, list(Case.model_fields)))
            else:
                grades = case.grades or (1,) * len(case.relevant_ids)
                relevant = dict(zip(case.relevant_ids, grades, strict=True))
                own = {name: getattr(case, name) for name in Case.model_fields if name not in OWN}
                drafts.append(Draft(line.where, case.id, case.question, case.answers, case.evidence, relevant, fields=own))
        refuse(problems)
        return SourceContents(tuple(drafts), corpus, files_read(chosen.path, wish), notes=chosen.notes)
