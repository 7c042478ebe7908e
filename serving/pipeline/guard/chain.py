"""Runs the checks of one side in the order of their names."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from serving.pipeline.errors import InfrastructureError, TouchstoneError
from serving.pipeline.guard.advice import FAILED, NOT_CHECKED
from serving.pipeline.guard.base import Check, CheckContext, CheckVerdict, Side
from serving.pipeline.guard.scope import concerns
from serving.pipeline.types import Citation, GuardAction, GuardVerdict, Usage
from serving.pipeline.usage_meter import record_usage

OnError = Literal["block", "allow"]
TIMEOUT_S = 5.0
WITHHELD = "[withheld: a check failed]"  # stored in place of a question that could not be checked
SEVERITY = (GuardAction.ALLOW, GuardAction.FLAG, GuardAction.MASK, GuardAction.BLOCK)


@dataclass(frozen=True, slots=True)
class GuardResult:
    """A text after its checks, or the block message, with every verdict."""

    text: str
    verdicts: tuple[GuardVerdict, ...] = ()
    citations: tuple[Citation, ...] | None = None  # as the last check that looked at them has left them
    kept: str | None = None  # the text that may be stored, where it differs from `text`

    @property
    def record(self) -> str:
        """The text that may be stored: masked, also where the text was blocked."""
        return self.text if self.kept is None else self.kept

    def as_kept(self) -> Self:
        """The result as it may be stored: every verdict's text is masked too."""
        verdicts = (
            one if one.action is GuardAction.BLOCK or one.text == self.record else replace(one, text=self.record) for one in self.verdicts
        )
        return replace(self, verdicts=tuple(verdicts))

    @property
    def action(self) -> GuardAction:
        """The most severe of the verdicts."""
        return max((verdict.action for verdict in self.verdicts), key=SEVERITY.index, default=GuardAction.ALLOW)

    @property
    def blocked(self) -> bool:
        """Whether a check blocked the text."""
        return self.action is GuardAction.BLOCK

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the answer should know, each once."""
        return tuple(dict.fromkeys(verdict.warning for verdict in self.verdicts if verdict.warning))

    @property
    def confidence(self) -> float | None:
        """The least that a check gives the answer."""
        return min((verdict.confidence for verdict in self.verdicts if verdict.confidence is not None), default=None)


class GuardChain:
    """Runs checks one after the other: masks compose, the first block ends the chain.

    An outage of a check is raised. Any other failure blocks the text, or lets it pass where `on_error` says so; that of a check
    which can only flag never blocks, since the text may have been shown already. Either way the verdict has the rule "error", or
    "timeout" where a check has waited longer than its time budget. A check that computes without waiting cannot be interrupted:
    what may take long, for a long text, is computed in a thread.
    """

    def __init__(
        self,
        side: Side,
        checks: Mapping[str, Check],
        *,
        clock: Callable[[], float],
        on_error: OnError = "block",
        block_message: str = "",
        timeout_s: float = TIMEOUT_S,
        advice: Mapping[str, str] | None = None,
    ) -> None:
        self._side: Side = side
        self._checks = dict(sorted(checks.items()))
        self._clock = clock
        self._on_error = on_error
        self._block_message = block_message
        self._advice = advice or {}  # by check: appended to the block message
        self._timeout_s = timeout_s  # of each check

    @property
    def empty(self) -> bool:
        """Whether there is nothing to run."""
        return not self._checks

    @property
    def withholds(self) -> bool:
        """Whether a check may mask or block, so that text must not be streamed before it was checked."""
        return any(check.rewrites or check.blocks for check in self._checks.values())

    async def run(self, text: str, context: CheckContext) -> GuardResult:
        """The text after every check, with the verdict of each."""
        verdicts: list[GuardVerdict] = []
        citations: tuple[Citation, ...] | None = None
        kept: str | None = None
        checks = [(name, check) for name, check in self._checks.items() if concerns(check, context)]
        for place, (name, check) in enumerate(checks):
            start = self._clock()
            verdict = await self._verdict(check, text, context)
            if verdict.action is GuardAction.BLOCK:
                kept = await self._kept(verdict.text, [later for _, later in checks[place + 1 :]], context)
            text = {GuardAction.MASK: verdict.text, GuardAction.BLOCK: self._message(name, verdict)}.get(verdict.action, text)
            verdicts.append(
                GuardVerdict(
                    side=self._side,
                    action=verdict.action,
                    text=text,
                    reason=verdict.reason,
                    check=name,
                    score=verdict.score,
                    rule=verdict.rule,
                    usage=_of_guard(verdict),
                    milliseconds=round((self._clock() - start) * 1000, 3),
                    excerpt=verdict.excerpt,
                    warning=verdict.warning,
                    confidence=verdict.confidence,
                )
            )
            citations = citations if verdict.citations is None else verdict.citations
            if verdict.action is GuardAction.BLOCK:
                break
        return GuardResult(text, tuple(verdicts), citations, kept)

    def _message(self, name: str, verdict: CheckVerdict) -> str:
        """What is said instead of a blocked text."""
        advice = NOT_CHECKED if verdict.rule in FAILED else self._advice.get(name, "")
        return verdict.message or " ".join(filter(None, [self._block_message, advice if self._advice else ""]))

    async def masked(self, text: str, context: CheckContext) -> str:
        """A related text, such as an earlier turn, with what the checks mask taken out."""
        return await self._kept(text, [check for check in self._checks.values() if concerns(check, context)], context)

    async def _kept(self, text: str, checks: Sequence[Check], context: CheckContext) -> str:
        """The text that may be stored: masked by these checks. Where one of them fails, nothing of the text is stored."""
        for check in checks:
            if check.rewrites and text != WITHHELD:
                try:
                    verdict = await self._verdict(check, text, context)
                except InfrastructureError:
                    return WITHHELD
                text = verdict.text
        return text

    async def _verdict(self, check: Check, text: str, context: CheckContext) -> CheckVerdict:
        budget_s: float = getattr(check, "timeout_s", self._timeout_s)  # a check that calls a service has its own time-out
        budget = asyncio.timeout(budget_s)
        try:
            async with budget:
                verdict = _declared(check, await check.check(text, context))
            record_usage(*_of_guard(verdict))  # at once: a later check may fail
            return verdict
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001 — a check that crashes must neither break the answer nor let it pass unseen
            if budget.expired():
                return self._failed(check, text, "timeout", f"no verdict within {budget_s:g} s")
            words = f": {error}" if isinstance(error, TouchstoneError) else ""  # of any other error they may be the text
            return self._failed(check, text, "error", f"{type(error).__name__}{words}")

    def _failed(self, check: Check, text: str, rule: str, reason: str) -> CheckVerdict:
        """The verdict for a check that failed or timed out."""
        blocks = self._on_error == "block" and (check.blocks or check.rewrites)
        if not blocks:
            return CheckVerdict(GuardAction.FLAG, text, rule=rule, reason=reason)
        return CheckVerdict(GuardAction.BLOCK, WITHHELD if check.rewrites else text, rule=rule, reason=reason)


def _of_guard(verdict: CheckVerdict) -> tuple[Usage, ...]:
    return tuple(replace(use, stage="guard") for use in verdict.usage)


def _declared(check: Check, verdict: CheckVerdict) -> CheckVerdict:
    """The verdict; raises unless it is one whose action the check declares: a text was shown or withheld by that declaration."""
    if not isinstance(verdict, CheckVerdict) or not isinstance(verdict.action, GuardAction) or not isinstance(verdict.text, str):
        raise TypeError(f"{type(check).__name__} gave no verdict")  # not what it gave: that may be the text
    if not all(isinstance(use, Usage) for use in verdict.usage):
        raise TypeError(f"{type(check).__name__} gave a verdict whose usage is none")
    if (verdict.action is GuardAction.MASK and not check.rewrites) or (verdict.action is GuardAction.BLOCK and not check.blocks):
        raise TypeError(f"{type(check).__name__} did what it says it never does: {verdict.action.value}")
    return verdict
