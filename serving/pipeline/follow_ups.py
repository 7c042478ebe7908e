"""A follow-up becomes a question that stands alone; nobody vouches for what was said before, so it is checked as questions are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain, GuardResult
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.retrieve.base import Rewriter
from serving.pipeline.trace_recorder import TraceRecorder
from serving.pipeline.types import GuardAction, GuardVerdict, Query, Turn

LEFT_OUT = "of what was said before, which is left out"
FIT = (GuardAction.ALLOW, GuardAction.MASK)


@dataclass(frozen=True, slots=True)
class StandAlone:
    """A question that needs no conversation, and what the checks say of it where it is not the one that was asked."""

    query: Query
    result: GuardResult | None = None  # None: nothing was put into it
    masked: bool = False  # what was put into it was masked somewhere


async def stand_alone(
    asked: Query, *, rewriter: Rewriter, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders
) -> StandAlone:
    """The checked question of `recorder` as it can be asked without the conversation, and checked anew where that changes it.

    A turn that a check stops or flags is left out. Where no rewriter reads the conversation, the question keeps it.
    """
    checked = recorder.query
    if not rewriter.turns or not checked.history:
        return StandAlone(checked)
    alone = replace(checked, history=())
    if not rewriter.leans(checked.text):
        return StandAlone(alone)
    turns = await _checked(checked.history[-rewriter.turns :], checked, guard, recorder, placeholders)
    if not turns:
        return StandAlone(alone)
    with recorder.stage("retrieve", [checked.text, *(turn.texts for turn in turns)]) as detail:
        text = await rewriter.rewrite(checked.text, turns)
        detail |= {"turns": len(turns), "rewritten": text != checked.text}
    if text == checked.text:
        return StandAlone(alone)
    alone = replace(alone, text=text)
    with recorder.stage("guard", lambda: recorder.asked_text) as detail:
        result = await guard.run(text, CheckContext("input", alone, placeholders=placeholders))
        recorder.asked(result.record)
        detail["action"] = result.action.value
    recorder.add_verdicts(result.as_kept())
    masked = asked.history[-rewriter.turns :] != checked.history[-rewriter.turns :]
    return StandAlone(replace(alone, text=result.record), result, masked)


async def _checked(
    turns: Sequence[Turn], query: Query, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders
) -> tuple[Turn, ...]:
    """The turns that the checks of questions let pass, as they leave them."""
    fit: list[Turn] = []
    with recorder.stage("guard", [turn.texts for turn in turns]) as detail:
        for turn in turns:
            question = await _text(turn.question, query, guard, recorder, placeholders)
            if question:
                fit.append(Turn(question, await _text(turn.answer, query, guard, recorder, placeholders)))
        detail |= {"turns": len(turns), "left_out": len(turns) - len(fit)}
    return tuple(fit)


async def _text(text: str, query: Query, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders) -> str:
    """A text that was said before; empty where it may not be read."""
    if not text.strip():
        return ""
    result = await guard.run(text, CheckContext("input", replace(query, text=text, history=()), placeholders=placeholders))
    if result.action in FIT:
        return result.text
    recorder.add_verdicts(GuardResult(result.record, tuple(_flag(one, result.record) for one in result.verdicts if one.action not in FIT)))
    return ""


def _flag(verdict: GuardVerdict, text: str) -> GuardVerdict:
    """The verdict as one that stopped no question."""
    return replace(verdict, action=GuardAction.FLAG, text=text, reason=f"{verdict.reason} ({LEFT_OUT})".strip())
