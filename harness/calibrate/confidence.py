"""Fits the confidence of an answer on evaluated cases: logistic regression with the directions that signs must have."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.results.case_result import CaseResult
from harness.stats.clusters import Numbers
from serving.pipeline.checks.confidence.model import WORDS_ONLY, ConfidenceModel, FittedConfidence
from serving.pipeline.checks.confidence.signs import SIGNS, SIMILARITY
from serving.pipeline.errors import DataError
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.confidence import ConfidenceCheck
from serving.pipeline.types import Trace

RIGHT: Final = "an answer that says every key fact of an answerable question; without key facts, half of the reference's words"
ENOUGH_WORDS: Final = 0.5  # token F1 from which an answer without key facts counts as right
LEAST: Final = 50  # cases with an answer, and of right and of wrong answers a tenth of it
PENALTY: Final = 1.0  # on the squares of the weights of standardised signs
RISING: Final = frozenset({"groundedness", "weakest_claim", SIMILARITY, "question_in_passage", "question_in_answer", "logprob"})
FALLING: Final = frozenset({"missing_names", "rank", "hedged", "truncated"})


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """An answer's signs, and whether it was right."""

    case: str
    group: str
    signs: dict[str, float]
    right: bool
    weight: float = 1.0  # less for a copy that was made worse by rule


def was_right(row: CaseResult) -> bool | None:
    """Whether a case was answered rightly; None for a refusal and for what no metric judged."""
    if row.trace is None or row.trace.answer.refused:
        return None
    if not row.case.answerable:
        return False
    facts, words = row.value("key_facts"), row.value("token_f1")
    return facts == 1.0 if facts is not None else None if words is None else words >= ENOUGH_WORDS


async def judged_answers(rows: Sequence[CaseResult], check: ConfidenceCheck) -> list[JudgedAnswer]:
    """The answers of an evaluation that were judged."""
    judged: list[JudgedAnswer] = []
    for row in rows:
        right = was_right(row)
        if right is not None and row.trace is not None:
            judged.append(JudgedAnswer(row.case.id, row.case.group or row.case.id, await signs_of_trace(row.trace, check), right))
    return judged


async def signs_of_trace(trace: Trace, check: ConfidenceCheck) -> dict[str, float]:
    """What the check reads of an answer that was given."""
    answer = trace.answer
    return await check.signs(answer.text, CheckContext("output", trace.query, trace.passages, answer.refused, answer))


def fit_confidence(answers: Sequence[JudgedAnswer], *, embedder: str, data: str, date: str) -> FittedConfidence:
    """The model with similarity and the one without; each case counts once, however many configurations answered it."""
    cases = len({one.case for one in answers if one.weight == 1.0})
    for wanted, count in (("answered", cases), ("right", _cases(answers, right=True)), ("wrong", _cases(answers, right=False))):
        least = LEAST if wanted == "answered" else LEAST // 10
        if count < least:
            raise DataError(f"{count} cases were {wanted}; at least {least} are needed. Give more results: touchstone eval --split tune")
    known = [name for name in SIGNS if any(name in one.signs for one in answers)]
    words = [name for name in known if name != SIMILARITY]
    models = {WORDS_ONLY: _fit(answers, words)} | ({embedder: _fit(answers, known)} if SIMILARITY in known else {})
    return FittedConfidence(models=models, right=RIGHT, answers=len(answers), cases=cases, data=data, date=date)


def _cases(answers: Sequence[JudgedAnswer], *, right: bool) -> int:
    return len({one.case for one in answers if one.right == right and one.weight == 1.0})


def _fit(answers: Sequence[JudgedAnswer], names: Sequence[str]) -> ConfidenceModel:
    fill = {name: float(np.mean([one.signs[name] for one in answers if name in one.signs])) for name in names}
    table = np.array([[one.signs.get(name, fill[name]) for name in names] for one in answers])
    times = Counter(one.case for one in answers)
    weights = np.array([one.weight / times[one.case] for one in answers])
    center = np.average(table, axis=0, weights=weights)
    spread = np.sqrt(np.average((table - center) ** 2, axis=0, weights=weights))
    varying = spread > 1e-9  # a sign that was always the same tells nothing
    chosen = [name for name, varies in zip(names, varying, strict=True) if varies]
    scaled = (table[:, varying] - center[varying]) / spread[varying]
    right = np.array([one.right for one in answers], dtype=np.float64)
    bias, slopes = _logistic(scaled, right, weights, chosen)
    raw = slopes / spread[varying]
    return ConfidenceModel(
        weights={name: round(float(weight), 4) for name, weight in zip(chosen, raw, strict=True) if round(float(weight), 4)},
        fill={name: round(fill[name], 4) for name in chosen},
        bias=round(bias - float(raw @ center[varying]), 4),
    )


def _logistic(table: Numbers, right: Numbers, weights: Numbers, names: Sequence[str]) -> tuple[float, Numbers]:
    """Bias and slopes of the least penalised loss, each slope on its own side of zero."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(values: Numbers) -> tuple[float, Numbers]:
        score = table @ values[1:] + values[0]
        missed = weights * (expit(score) - right)
        total = float((weights * (np.logaddexp(0.0, score) - right * score)).sum() + PENALTY / 2 * (values[1:] ** 2).sum())
        return total, np.concatenate([[missed.sum()], table.T @ missed + PENALTY * values[1:]])

    bounds = [(None, None), *((0.0 if name in RISING else None, 0.0 if name in FALLING else None) for name in names)]
    found = minimize(loss, np.zeros(table.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), found.x[1:]
