"""Questions with human labels: a JSONL file, every line checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from harness.golden.lines import read_rows, refuse
from harness.judges.tasks import Task, Tasks, numbered
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.registry import near


class LabelledRow(BaseModel):
    """One line as it stands in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    values: dict[str, str | list[str]] = Field(min_length=1)  # a list becomes one numbered text
    label: str | None = None
    labels: list[str | None] = Field(default_factory=list)  # one per human, always in the same order; null where one gave none
    id: str = ""


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """One question with its true label, and the label of each human."""

    id: str
    values: dict[str, str]
    label: str
    humans: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """The questions of a file, by task."""

    path: Path
    sha256: str
    by_task: dict[str, tuple[LabelledQuestion, ...]]

    def chosen(self, task: str) -> dict[str, tuple[LabelledQuestion, ...]]:
        """The questions of one task; of all when it is empty."""
        if not task:
            return self.by_task
        if task not in self.by_task:
            known = list(self.by_task)
            raise DataError(f"{self.path}: no line of the task {task!r}.{near(task, known)} It has: {', '.join(known)}.")
        return {task: self.by_task[task]}


def read_labelled(path: Path, tasks: Tasks) -> LabelledFile:
    """Read a file of human labels; what is wrong is named with its line."""
    by_task: dict[str, list[LabelledQuestion]] = {}
    line_numbers: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    problems: list[str] = []
    for line, row in read_rows(path, LabelledRow, problems):
        try:
            question = _labelled(row, tasks, line.where, row.id or str(line.number))
        except DataError as error:
            problems.append(str(error))
            continue
        first = line_numbers.setdefault((row.task, tuple(sorted(question.values.items()))), line.number)
        if first == line.number:
            by_task.setdefault(row.task, []).append(question)
        else:
            problems.append(f"{line.where}: this is asked in line {first} already, and would count twice.")
    refuse(problems)
    if not by_task:
        raise DataError(f'{path}: no lines. Each is {{"task": …, "values": {{…}}, "label": …}}.')
    return LabelledFile(path, sha256_file(path), {task: tuple(rows) for task, rows in sorted(by_task.items())})


def _labelled(row: LabelledRow, tasks: Tasks, where: str, ident: str) -> LabelledQuestion:
    if row.task not in tasks.names():
        raise DataError(f"{where}: no task {row.task!r}.{near(row.task, tasks.names())} Known: {', '.join(tasks.names())}.")
    task = tasks.get(row.task)
    values = {name: numbered(value) if isinstance(value, list) else value for name, value in row.values.items()}
    try:
        task.check(values)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    for label in (row.label, *row.labels):
        _check_label(label, task, where)
    return LabelledQuestion(ident, values, row.label or _majority_label(row.labels, where), tuple(row.labels))


def _check_label(label: str | None, task: Task, where: str) -> None:
    if label is not None and label not in task.labels:
        known = list(task.labels)
        raise DataError(f"{where}: {label!r} is no label of {task.name}.{near(label, known)} Its labels: {', '.join(known)}.")


def _majority_label(labels: Sequence[str | None], where: str) -> str:
    """The label that most humans gave."""
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        raise DataError(f"{where}: neither 'label' nor 'labels' says what is true.")
    label, count = counts.most_common(1)[0]
    if list(counts.values()).count(count) > 1:
        raise DataError(f"{where}: the humans are split ({', '.join(counts)}). Say in 'label' which counts, or leave the line out.")
    return label
