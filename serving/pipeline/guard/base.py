"""The contract of a check: its context, its verdict."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.types import Answer, Citation, GuardAction, Hit, Query, Usage

Side = Literal["input", "passages", "output"]


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The query, passages and side that a checked text belongs to."""

    side: Side
    query: Query  # at the output with its text as the input checks left it
    passages: tuple[Hit, ...] = ()  # as numbered in the prompt; none at the input, the one that is checked among the passages
    refused: bool = False  # the text is a refusal, which makes no claims
    answer: Answer | None = None  # at the output: the answer as the model wrote it
    computed: dict[str, Any] = field(default_factory=dict, compare=False)  # what one check of the text computed for the next
    placeholders: Placeholders | None = None  # where input checks put the values that they mask, to be restored for the caller


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """The decision of a check about a text."""

    action: GuardAction
    text: str  # the text to continue with, which only MASK may change; of BLOCK, the text that may be stored
    score: float | None = None  # compared with the threshold of the check
    rule: str = ""  # which of its rules fired
    reason: str = ""
    usage: tuple[Usage, ...] = ()  # of a check that asks a paid model
    excerpt: str = ""  # of what the rule fired on, without personal data: for the incident in the trace
    message: str = ""  # of BLOCK: replaces the configured message
    warning: str = ""  # for the reader of the answer
    confidence: float | None = None  # that the answer is right
    citations: tuple[Citation, ...] | None = None  # of the text, with their support; None: the check does not look at them

    @classmethod
    def allow(cls, text: str, score: float | None = None) -> Self:
        """Nothing was found."""
        return cls(GuardAction.ALLOW, text, score)


class Check(Protocol):
    """Judges a text; it raises for outages only, never to block."""

    sides: ClassVar[tuple[Side, ...]]  # where it makes sense
    rewrites: bool  # whether it may mask, so that no text may be shown before it has read the whole
    blocks: bool  # whether it may block; the same holds

    async def check(self, text: str, context: CheckContext) -> CheckVerdict: ...
