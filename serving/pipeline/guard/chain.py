"""Runs the checks of one side in the order of their names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from serving.pipeline.errors import InfrastructureError
from serving.pipeline.guard.base import Check, CheckContext, CheckVerdict, Side
from serving.pipeline.types import GuardAction, GuardVerdict, Usage

OnError = Literal["block", "allow"]
SEVERITY = (GuardAction.ALLOW, GuardAction.FLAG, GuardAction.MASK, GuardAction.BLOCK)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A text after its checks: what to go on with, or what to say instead where one blocked it."""

    text: str
    verdicts: tuple[GuardVerdict, ...] = ()

    @property
    def action(self) -> GuardAction:
        """The most severe of the verdicts."""
        return max((verdict.action for verdict in self.verdicts), key=SEVERITY.index, default=GuardAction.ALLOW)

    @property
    def blocked(self) -> bool:
        """Whether a check said no."""
        return self.action is GuardAction.BLOCK

    @property
    def usage(self) -> tuple[Usage, ...]:
        """What the checks cost."""
        return tuple(use for verdict in self.verdicts for use in verdict.usage)


class GuardChain:
    """Masks compose, the first block ends the chain.

    An outage of a check is raised. Any other failure blocks the text, or lets it pass where `on_error` says so; that of a check
    which can only flag never blocks, since the text may have been shown already. Either way the verdict tells it by the rule "error".
    """

    def __init__(
        self, side: Side, checks: Mapping[str, Check], *, clock: Callable[[], float], on_error: OnError = "block", block_message: str = ""
    ) -> None:
        self._side: Side = side
        self._checks = dict(sorted(checks.items()))
        self._clock = clock
        self._on_error = on_error
        self._block_message = block_message

    @property
    def withholds(self) -> bool:
        """Whether a text may be changed or withheld, so that none of it may be shown before the whole was read."""
        return any(check.rewrites or check.blocks for check in self._checks.values())

    async def run(self, text: str, context: CheckContext) -> Guarded:
        """The text after every check, with the verdict of each."""
        verdicts: list[GuardVerdict] = []
        for name, check in self._checks.items():
            begin = self._clock()
            said = await self._verdict(check, text, context)
            text = {GuardAction.MASK: said.text, GuardAction.BLOCK: self._block_message}.get(said.action, text)
            verdicts.append(
                GuardVerdict(
                    side=self._side,
                    action=said.action,
                    text=text,
                    reason=said.reason,
                    check=name,
                    score=said.score,
                    rule=said.rule,
                    usage=tuple(replace(use, stage="guard") for use in said.usage),
                    milliseconds=round((self._clock() - begin) * 1000, 3),
                )
            )
            if said.action is GuardAction.BLOCK:
                break
        return Guarded(text, tuple(verdicts))

    async def _verdict(self, check: Check, text: str, context: CheckContext) -> CheckVerdict:
        try:
            return _promised(check, await check.check(text, context))
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001 — a check that crashes must neither break the answer nor let it pass unseen
            stops = self._on_error == "block" and (check.blocks or check.rewrites)
            action = GuardAction.BLOCK if stops else GuardAction.FLAG
            return CheckVerdict(action, text, rule="error", reason=f"{type(error).__name__}: {error}")


def _promised(check: Check, said: CheckVerdict) -> CheckVerdict:
    """The verdict, when it is one, and one that the check said it may give: by that promise a text was shown or withheld."""
    if not isinstance(said, CheckVerdict) or not isinstance(said.action, GuardAction) or not isinstance(said.text, str):
        raise TypeError(f"{type(check).__name__} gave no verdict")  # not what it gave: that may be the text
    if not all(isinstance(use, Usage) for use in said.usage):
        raise TypeError(f"{type(check).__name__} gave a verdict whose usage is none")
    if (said.action is GuardAction.MASK and not check.rewrites) or (said.action is GuardAction.BLOCK and not check.blocks):
        raise TypeError(f"{type(check).__name__} did what it says it never does: {said.action.value}")
    return said
