"""Rewrites a follow-up into a standalone question. The conversation comes from the client, so its turns are checked like questions."""

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
class StandaloneQuestion:
    """A question that needs no conversation, with its guard result where it was rewritten."""

    query: Query
    result: GuardResult | None = None  # None: it was not rewritten
    masked: bool = False  # something in the turns it was rewritten from was masked


async def standalone_question(
    asked: Query, *, rewriter: Rewriter, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders
) -> StandaloneQuestion:
    """The checked question of `recorder` as a standalone one, checked again where the rewriter changed it.

    A turn that a check blocks or flags is left out. Where no rewriter reads the conversation, the question keeps it.
    """
    checked = recorder.query
    if not rewriter.turns or not checked.history:
        return StandaloneQuestion(checked)
    alone = replace(checked, history=())
    if not rewriter.leans(checked.text):
        return StandaloneQuestion(alone)
    turns = await _checked(checked.history[-rewriter.turns :], checked, guard, recorder, placeholders)
    if not turns:
        return StandaloneQuestion(alone)
    with recorder.stage("retrieve", [checked.text, *(turn.texts for turn in turns)]) as detail:
        text = await rewriter.rewrite(checked.text, turns)
        detail |= {"turns": len(turns), "rewritten": text != checked.text}
    if text == checked.text:
        return StandaloneQuestion(alone)
    alone = replace(alone, text=text)
    with recorder.stage("guard", lambda: recorder.question_text) as detail:
        result = await guard.run(text, CheckContext("input", alone, placeholders=placeholders))
        recorder.set_question(result.record)
        detail["action"] = result.action.value
    recorder.add_verdicts(result.as_kept())
    masked = asked.history[-rewriter.turns :] != checked.history[-rewriter.turns :]
    return StandaloneQuestion(replace(alone, text=result.record), result, masked)


async def _checked(
    turns: Sequence[Turn], query: Query, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders
) -> tuple[Turn, ...]:
    """The turns that the input checks allow or mask, as they leave them."""
    fit: list[Turn] = []
    with recorder.stage("guard", [turn.texts for turn in turns]) as detail:
        for turn in turns:
            question = await _text(turn.question, query, guard, recorder, placeholders)
            if question:
                fit.append(Turn(question, await _text(turn.answer, query, guard, recorder, placeholders)))
        detail |= {"turns": len(turns), "left_out": len(turns) - len(fit)}
    return tuple(fit)


async def _text(text: str, query: Query, guard: GuardChain, recorder: TraceRecorder, placeholders: Placeholders) -> str:
    """One text of an earlier turn as the checks leave it; empty where they do not allow it."""
    if not text.strip():
        return ""
    result = await guard.run(text, CheckContext("input", replace(query, text=text, history=()), placeholders=placeholders))
    if result.action in FIT:
        return result.text
    recorder.add_verdicts(GuardResult(result.record, tuple(_flag(one, result.record) for one in result.verdicts if one.action not in FIT)))
    return ""


def _flag(verdict: GuardVerdict, text: str) -> GuardVerdict:
    """The verdict as a flag: it dropped a turn, not the question."""
    return replace(verdict, action=GuardAction.FLAG, text=text, reason=f"{verdict.reason} ({LEFT_OUT})".strip())
