"""Personal data does not stay in traces, whatever guard a configuration has."""

from dataclasses import replace

from serving.pipeline.checks.detection import masked
from serving.pipeline.checks.pii import EVERY_KIND, TEXT_LIMIT, find_pii
from serving.pipeline.guard.windows import find_everywhere
from serving.pipeline.types import Trace, Turn

OVERLAP = 200  # characters that two windows of a long text share, so that nothing is cut in two unseen


def without_personal_data(trace: Trace) -> Trace:
    """The same with `<EMAIL_ADDRESS>` and the like in what was asked, what a model read and what it said; passages are as documents are."""
    query = replace(trace.query, text=masked_text(trace.query.text), history=tuple(map(_masked_turn, trace.query.history)))
    attempts = tuple(replace(one, answer=replace(one.answer, text=masked_text(one.answer.text))) for one in trace.attempts)
    answer = replace(trace.answer, text=masked_text(trace.answer.text))
    guard = tuple(replace(one, text=masked_text(one.text)) for one in trace.guard)
    return replace(
        trace,
        query=query,
        question=masked_text(trace.question),
        guard=guard,
        prompt=masked_text(trace.prompt),
        answer=answer,
        attempts=attempts,
    )


def _masked_turn(turn: Turn) -> Turn:
    return Turn(masked_text(turn.question), masked_text(turn.answer))


def masked_text(text: str) -> str:
    """A text with the kinds of personal data in place of their values."""
    return masked(text, find_everywhere(text, lambda window: find_pii(window, EVERY_KIND), TEXT_LIMIT, OVERLAP))
