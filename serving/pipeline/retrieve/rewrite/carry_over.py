"""Completes follow-ups from the turns before them by rules, without a model."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.rewrite.follow_up import leans, stand_alone
from serving.pipeline.types import Turn

LONGEST: int = 600  # characters of a rewritten question


class CarryOverRewriter:
    """Completes an English follow-up from the questions before it, by its form; a standalone question stays as it is."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """How far back it looks."""

        turns: int = Field(default=3, ge=1, le=10)  # of the conversation, the last ones

    def __init__(self, params: Params, parts: Parts) -> None:
        self.turns = params.turns

    def leans(self, question: str) -> bool:
        """Whether it is elliptic, or has a pronoun for what it is about."""
        return leans(question)

    async def rewrite(self, question: str, turns: Sequence[Turn]) -> str:
        """The question with what it leaves out, each question before it completed by the one before that."""
        return carried_over(question, turns)


def carried_over(question: str, turns: Sequence[Turn]) -> str:
    """A question completed from the turns before it."""
    before = ""
    for turn in turns:
        before = stand_alone(turn.question, before)[:LONGEST]
    whole = stand_alone(question, before)
    return whole if len(whole) <= max(LONGEST, len(question)) else question
