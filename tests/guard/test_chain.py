import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.guard.chain import GuardChain, OnError
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.types import GuardAction, Query, Usage
from serving.pipeline.usage_meter import metering
from tests.support.waiting import WITHIN_S

CONTEXT = CheckContext("input", Query("q"))
CANNOT = "I cannot help with that."


class Mask:
    """Puts X in the place of a word."""

    sides = ("input", "output")
    rewrites = True
    blocks = False

    def __init__(self, word: str) -> None:
        self._word = word

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        rest = text.replace(self._word, "X")
        return CheckVerdict(GuardAction.MASK if rest != text else GuardAction.ALLOW, rest)


class Says:
    """Always does the same."""

    sides = ("input", "output")

    def __init__(self, action: GuardAction, *, blocks: bool = True, rewrites: bool = False, **verdict: Any) -> None:
        self.action, self.blocks, self.rewrites, self.verdict = action, blocks, rewrites, verdict
        self.calls = 0

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        self.calls += 1
        return CheckVerdict(self.action, text, **self.verdict)


class Fails(Says):
    """Cannot say."""

    def __init__(self, error: Exception, **does: bool) -> None:
        super().__init__(GuardAction.ALLOW, **does)
        self.error = error

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        raise self.error


def chain(checks: Mapping[str, Any], on_error: OnError = "block", timeout_s: float | None = None) -> GuardChain:
    ticks = iter(range(1000))
    return GuardChain("input", checks, clock=lambda: next(ticks) / 1000, on_error=on_error, block_message=CANNOT, timeout_s=timeout_s)


async def test_without_checks_a_text_passes_as_it_is_and_may_be_shown_at_once() -> None:
    guarded = await chain({}).run("text", CONTEXT)
    assert (guarded.text, guarded.verdicts, guarded.action, guarded.blocked) == ("text", (), GuardAction.ALLOW, False)
    assert not chain({}).withholds


async def test_masks_compose_in_the_order_of_the_names() -> None:
    guarded = await chain({"b": Mask("aX"), "a": Mask("b")}).run("ab", CONTEXT)
    assert guarded.text == "X"  # "ab" → "aX" by a → "X" by b; the other way round b would have found nothing
    assert [(one.check, one.text, one.milliseconds) for one in guarded.verdicts] == [("a", "aX", 1.0), ("b", "X", 1.0)]
    assert guarded.action is GuardAction.MASK


@given(st.permutations(["a", "b", "c"]))
async def test_the_order_in_which_checks_are_written_does_not_matter(names: list[str]) -> None:
    guarded = await chain({name: Mask(name) for name in names}).run("abc", CONTEXT)
    assert [one.check for one in guarded.verdicts] == ["a", "b", "c"]


async def test_the_first_block_ends_the_chain() -> None:
    last = Says(GuardAction.ALLOW)
    guarded = await chain({"a": Says(GuardAction.FLAG), "b": Says(GuardAction.BLOCK), "c": last}).run("text", CONTEXT)
    assert (guarded.text, guarded.blocked, last.calls) == (CANNOT, True, 0)
    assert [one.action for one in guarded.verdicts] == [GuardAction.FLAG, GuardAction.BLOCK]


async def test_a_verdict_tells_its_score_rule_reason_and_what_it_cost() -> None:
    paid = Usage("judge", 10, 1, 0.25)
    told: list[Usage] = []
    with metering(told.append):
        guarded = await chain({"a": Says(GuardAction.FLAG, score=0.7, rule="r", reason="because", usage=(paid,))}).run("text", CONTEXT)
    [verdict] = guarded.verdicts
    assert (verdict.side, verdict.score, verdict.rule, verdict.reason, verdict.text) == ("input", 0.7, "r", "because", "text")
    assert [(use.usd, use.stage) for use in verdict.usage] == [(0.25, "guard")]
    assert tuple(told) == verdict.usage


async def test_an_outage_of_a_check_is_raised() -> None:
    with pytest.raises(ModelError, match="out"):
        await chain({"a": Fails(ModelError("out"))}, on_error="allow").run("text", CONTEXT)


@pytest.mark.parametrize(("on_error", "action", "text"), [("block", GuardAction.BLOCK, CANNOT), ("allow", GuardAction.FLAG, "text")])
async def test_any_other_failure_follows_the_policy_and_is_told(on_error: OnError, action: GuardAction, text: str) -> None:
    guarded = await chain({"a": Fails(ConfigError("no such model"))}, on_error).run("text", CONTEXT)
    [verdict] = guarded.verdicts
    assert (guarded.text, verdict.action, verdict.rule, verdict.reason) == (text, action, "error", "ConfigError: no such model")


async def test_the_failure_of_a_check_that_can_only_flag_does_not_block() -> None:
    checks = chain({"a": Fails(ValueError("x"), blocks=False)})
    assert not checks.withholds
    assert (await checks.run("text", CONTEXT)).action is GuardAction.FLAG


class Waits(Says):
    """Waits for what does not come."""

    def __init__(self, *, thread: bool = False, **does: bool) -> None:
        super().__init__(GuardAction.ALLOW, **does)
        self.thread, self.released = thread, threading.Event()

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        await (run_in_thread(lambda: self.released.wait(WITHIN_S)) if self.thread else asyncio.Event().wait())
        raise AssertionError


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize(("on_error", "action", "text"), [("block", GuardAction.BLOCK, CANNOT), ("allow", GuardAction.FLAG, "text")])
async def test_a_check_that_takes_longer_than_its_budget_follows_the_policy(
    on_error: OnError, action: GuardAction, text: str, *, thread: bool
) -> None:
    waits, after = Waits(thread=thread), Says(GuardAction.ALLOW)
    guarded = await chain({"a": waits, "b": after}, on_error, timeout_s=0.02).run("text", CONTEXT)
    waits.released.set()
    verdict = guarded.verdicts[0]
    assert (guarded.text, verdict.action, verdict.rule, verdict.reason) == (text, action, "timeout", "no verdict within 0.02 s")
    assert after.calls == (on_error == "allow")


async def test_each_check_has_the_whole_budget_and_one_that_can_only_flag_does_not_block_when_it_is_spent() -> None:
    guarded = await chain({name: Waits(blocks=False) for name in "abc"}, timeout_s=0.01).run("text", CONTEXT)
    assert [(one.action, one.rule) for one in guarded.verdicts] == [(GuardAction.FLAG, "timeout")] * 3


async def test_a_time_out_of_the_check_itself_is_no_spent_budget() -> None:
    guarded = await chain({"a": Fails(TimeoutError("its own"))}, timeout_s=WITHIN_S).run("text", CONTEXT)
    assert (guarded.verdicts[0].rule, guarded.verdicts[0].reason) == ("error", "TimeoutError")


async def test_a_query_that_is_cancelled_is_cancelled_in_its_check_too() -> None:
    task = asyncio.ensure_future(chain({"a": Waits()}, on_error="allow", timeout_s=WITHIN_S).run("text", CONTEXT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("action", [GuardAction.MASK, GuardAction.BLOCK])
async def test_a_check_that_does_what_it_says_it_never_does_has_failed(action: GuardAction) -> None:
    guarded = await chain({"a": Says(action, blocks=False)}).run("text", CONTEXT)
    assert (guarded.text, guarded.action, guarded.verdicts[0].rule) == ("text", GuardAction.FLAG, "error")


async def test_a_flag_changes_no_text() -> None:
    check: Any = Says(GuardAction.FLAG)
    check.check = lambda text, context: _verdict(CheckVerdict(GuardAction.FLAG, "other"))
    assert (await chain({"a": check}).run("text", CONTEXT)).text == "text"


async def _verdict(verdict: CheckVerdict) -> CheckVerdict:
    return verdict


class Gives(Says):
    """Says what no check may say."""

    def __init__(self, said: Any) -> None:
        super().__init__(GuardAction.BLOCK)
        self.said = said

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        said: CheckVerdict = self.said
        return said


@pytest.mark.parametrize(
    "said",
    [
        None,
        True,
        "block",
        CheckVerdict("block", "text"),  # type: ignore[arg-type]
        CheckVerdict("deny", "text"),  # type: ignore[arg-type]
        CheckVerdict(GuardAction.MASK, None),  # type: ignore[arg-type]
        CheckVerdict(GuardAction.ALLOW, "text", usage=None),  # type: ignore[arg-type]
        CheckVerdict(GuardAction.ALLOW, "text", usage=("free",)),  # type: ignore[arg-type]
    ],
)
async def test_what_is_no_verdict_is_a_failure_of_the_check(said: Any) -> None:
    stopped = await chain({"odd": Gives(said)}).run("text", CONTEXT)
    assert (stopped.text, stopped.blocked, stopped.verdicts[0].rule) == (CANNOT, True, "error")
    passed = await chain({"odd": Gives(said)}, on_error="allow").run("text", CONTEXT)
    assert (passed.text, passed.action, passed.verdicts[0].rule) == ("text", GuardAction.FLAG, "error")


async def test_advice_follows_the_block_message_and_a_message_of_the_check_goes_before_both() -> None:
    async def said(check: Any, advice: Mapping[str, str] | None) -> str:
        one = GuardChain("input", {"a": check}, clock=lambda: 0.0, block_message=CANNOT, advice=advice)
        return (await one.run("text", CONTEXT)).text

    assert await said(Says(GuardAction.BLOCK), {"a": "Ask again."}) == f"{CANNOT} Ask again."
    assert await said(Says(GuardAction.BLOCK), {"a": ""}) == CANNOT
    assert await said(Says(GuardAction.BLOCK, message="No."), {"a": "Ask again."}) == "No."
    assert await said(Fails(ValueError("x")), {"a": "Ask again."}) == f"{CANNOT} It could not be checked. Try again."
    assert await said(Fails(ValueError("x")), None) == CANNOT
