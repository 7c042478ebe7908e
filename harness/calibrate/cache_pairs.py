"""Pairs of questions with whether one may take the other's answer: read from files, or made from a golden set."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from harness.golden.case import Case
from harness.golden.hard_negatives import hard_negatives
from harness.golden.lines import read_rows, refuse
from harness.golden.rewordings import rewordings
from serving.pipeline.errors import DataError

ODD: Final = "hard negative: term"  # questions that nobody asks: they teach that one word decides, and say little of a risk
NEAREST: Final = 3  # other questions that are taken as not the same, of each question
_BLOCK: Final = 1000  # questions compared at a time


class PairRow(BaseModel):
    """One line of a file of pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text_a: str = Field(min_length=1)
    text_b: str = Field(min_length=1)
    label: Literal[0, 1]  # 1: the same question
    id: str = ""
    group: str = ""
    family: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class QuestionPair:
    """Two questions, and whether one may take the other's answer."""

    id: str
    question: str
    other: str
    same: bool
    group: str = ""
    family: str = ""  # where it comes from
    at: str = ""


def read_pairs(paths: Sequence[Path]) -> list[QuestionPair]:
    """The pairs of files; every problem is a line."""
    problems: list[str] = []
    pairs: list[QuestionPair] = []
    for path in paths:
        for line, row in read_rows(path, PairRow, problems):
            if not (row.text_a.strip() and row.text_b.strip()):
                problems.append(f"{line.where}: a text is empty.")
            ident = row.id or f"{path.name}:{line.number}"
            pairs.append(QuestionPair(ident, row.text_a, row.text_b, row.label == 1, row.group, row.family or path.name, row.at))
    refuse(problems)
    if not pairs and paths:
        form = '{"text_a": …, "text_b": …, "label": 0 or 1}'
        raise DataError(f"{', '.join(map(str, paths))}: no lines. Each is {form}; 1: the same question.")
    return pairs


def golden_pairs(cases: Sequence[Case]) -> list[QuestionPair]:
    """The pairs that a golden set gives: paraphrases and rewordings are the same, hard negatives are not.

    A case's group, or else its id, is the group of all pairs that are made of it.
    """
    return [
        QuestionPair(f"golden-{number}", question, other, same, group, family)
        for number, (question, other, same, group, family) in enumerate(_of_cases(cases))
    ]


def _of_cases(cases: Sequence[Case]) -> Iterator[tuple[str, str, bool, str, str]]:
    group = {case.question: case.group or case.id for case in reversed(cases)}
    named: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case.group:
            named[case.group].append(case.question)
    for name, questions in named.items():
        for one, other in combinations(questions, 2):
            yield one, other, True, name, "golden paraphrase"
    questions = [case.question for case in cases]
    for reworded in rewordings(questions):
        yield reworded.question, reworded.reworded, True, group[reworded.question], "golden rewording"
    for negative in hard_negatives(questions):
        yield negative.question, negative.altered, False, group[negative.question], f"hard negative: {negative.kind}"
        if negative.kind in ("place", "name"):  # as users write them
            yield (
                negative.question.lower(),
                negative.altered.lower(),
                False,
                group[negative.question],
                f"hard negative: {negative.kind}, small",
            )


def nearest_others(
    texts: Sequence[str], groups: Sequence[str], vectors: NDArray[np.float32], *, nearest: int = NEAREST, family: str = "nearest other"
) -> list[QuestionPair]:
    """For each text the most similar ones of other groups, taken as not the same; each pair once."""
    found: dict[tuple[int, int], QuestionPair] = {}
    names = np.array(groups)
    for begin in range(0, len(texts), _BLOCK):
        similarity = vectors[begin : begin + _BLOCK] @ vectors.T
        similarity[names[begin : begin + _BLOCK, None] == names[None, :]] = -np.inf
        for row, order in enumerate(np.argsort(-similarity, axis=1, kind="stable")[:, :nearest]):
            for column in order.tolist():
                if np.isfinite(similarity[row, column]):
                    one, other = sorted((begin + row, column))
                    found.setdefault(
                        (one, other), QuestionPair(f"{family} {one}-{other}", texts[one], texts[other], False, groups[one], family)
                    )
    return list(found.values())
