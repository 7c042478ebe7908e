"""Bedrock Guardrails through real boto3, against the double over HTTP."""

import asyncio
from collections.abc import Iterator

import pytest

from serving.pipeline.errors import ConfigError, ModelError, ThrottledError
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.bedrock import PIECE, BedrockCheck
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, GuardAction, Hit, Query
from tests.doubles.bedrock import CREDENTIALS, Answer, BedrockDouble, Call, Drop, Hang, Malformed, Refusal, Throttle
from tests.support.parts import some_parts
from tests.support.ports import free_port

pytestmark = pytest.mark.slow
MAIL, SSN = "jane.roe@example.com", "536-90-4399"
PASSAGE = Hit(Chunk("d#0-9", "d", 0, 9, "Annual leave counts thirty days."), 1.0, 1)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def double() -> Iterator[BedrockDouble]:
    with BedrockDouble() as served:
        yield served


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def checker(url: str, **params: object) -> BedrockCheck:
    settings = PipelineSettings(_env_file=None, bedrock_endpoint=url)
    chosen = BedrockCheck.Params.model_validate({"guardrail": "gr-1", "guardrail_version": "3", "call_timeout_s": 60.0, **params})
    patience = settings.model_copy(update={"model_timeout_s": chosen.call_timeout_s, "model_attempts": chosen.attempts})
    return BedrockCheck(chosen, some_parts(settings=settings), retry=RetryPolicy("bedrock:gr-1", patience, sleep=no_pause))


async def says(
    double: BedrockDouble, text: str, side: Side = "input", *, kept: Placeholders | None = None, **params: object
) -> CheckVerdict:
    passages = (PASSAGE,) if side == "output" else ()
    return await checker(double.url, **params).check(text, CheckContext(side, Query("How much leave?"), passages, placeholders=kept))


async def test_a_harmless_text_passes_and_costs_its_units(double: BedrockDouble) -> None:
    verdict = await says(double, "How many days of leave? " * 50)  # 1,200 characters: two units
    assert verdict.action is GuardAction.ALLOW
    [usage] = verdict.usage
    assert usage.usd == pytest.approx(2 * (0.15 + 0.15 + 0.10) / 1000)
    assert (usage.priced, usage.stage) == (True, "guard")
    [call] = double.calls
    assert (call.operation, call.model, call.body["source"]) == ("guardrail", "gr-1", "INPUT")


async def test_a_question_is_blocked_with_the_message_of_the_guardrail_and_kept_without_the_number(double: BedrockDouble) -> None:
    verdict = await says(double, f"My number is {SSN}.")
    assert (verdict.action, verdict.rule, verdict.message) == (GuardAction.BLOCK, "US_SOCIAL_SECURITY_NUMBER", "Blocked by the guardrail.")
    assert SSN not in str(verdict)
    assert verdict.text == "My number is <US_SOCIAL_SECURITY_NUMBER>."


async def test_what_it_masks_in_a_question_gets_placeholders_that_the_reader_reads_as_values(double: BedrockDouble) -> None:
    kept = Placeholders()
    verdict = await says(double, f"Is {MAIL} known?", kept=kept)
    assert (verdict.action, verdict.text, verdict.rule) == (GuardAction.MASK, "Is <EMAIL_1> known?", "EMAIL")
    assert kept.restore("I know <EMAIL_1>.") == f"I know {MAIL}."


async def test_an_answer_is_masked_as_the_guardrail_masks_it(double: BedrockDouble) -> None:
    verdict = await says(double, f"Write to {MAIL}.", "output")
    assert (verdict.action, verdict.text) == (GuardAction.MASK, "Write to {EMAIL}.")
    assert double.calls[0].body["source"] == "OUTPUT"


async def test_a_topic_is_blocked_by_its_name(double: BedrockDouble) -> None:
    verdict = await says(double, "May I sue them?")
    assert (verdict.action, verdict.rule, verdict.reason) == (GuardAction.BLOCK, "Legal Advice", "stops Legal Advice")


async def test_an_answer_is_held_against_its_passages_where_that_is_asked_for(double: BedrockDouble) -> None:
    right = await says(double, "Leave counts thirty days.", "output", grounding=True)
    wrong = await says(double, "Bananas grow under water everywhere.", "output", grounding=True)
    assert (right.action, wrong.action, wrong.rule) == (GuardAction.ALLOW, GuardAction.BLOCK, "GROUNDING")
    assert [item["text"].get("qualifiers") for item in double.calls[0].body["content"]] == [
        ["grounding_source"],
        ["query"],
        ["guard_content"],
    ]


async def test_a_long_text_is_asked_about_in_pieces_and_nothing_hides_in_a_later_one(double: BedrockDouble) -> None:
    verdict = await says(double, "word " * (2 * PIECE // 5) + SSN)
    assert verdict.action is GuardAction.BLOCK
    assert len(double.calls) == len(verdict.usage) == 3


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("fault", [Throttle(), Drop(), Malformed(), Malformed(b"{}"), Hang()])
async def test_an_outage_is_raised_when_it_fails_closed_and_flagged_when_it_fails_open(fault: Answer) -> None:
    with BedrockDouble(lambda _: fault) as double:
        with pytest.raises((ModelError, ThrottledError)):
            await says(double, "hello", call_timeout_s=0.3)
        assert len(double.calls) <= 2
        verdict = await says(double, "hello", call_timeout_s=0.3, on_outage="fail_open")
    assert (verdict.action, verdict.rule, verdict.text) == (GuardAction.FLAG, "outage", "hello")


async def test_a_chain_raises_the_outage_and_lets_nothing_pass() -> None:
    chain = GuardChain("input", {"remote": checker(nobody(), attempts=1)}, clock=lambda: 0.0, on_error="allow")
    with pytest.raises(ModelError):
        await chain.run("hello", CheckContext("input", Query("hello")))


async def test_a_guardrail_that_is_not_there_blocks_and_says_why() -> None:
    def missing(call: Call) -> Answer:
        return Refusal("ResourceNotFoundException", 404, "no such guardrail")

    with BedrockDouble(missing) as double:
        chain = GuardChain("input", {"remote": checker(double.url)}, clock=lambda: 0.0, block_message="No.")
        result = await chain.run("hello", CheckContext("input", Query("hello")))
    assert result.blocked
    assert "no such guardrail" in result.verdicts[0].reason


async def test_an_intervention_without_a_finding_blocks(double: BedrockDouble) -> None:
    body = {"action": "GUARDRAIL_INTERVENED", "outputs": [], "assessments": [], "usage": {"somePolicyUnits": 1}}
    with BedrockDouble([body]) as served:
        verdict = await says(served, "hello")
    assert (verdict.action, verdict.rule, verdict.usage[0].priced) == (GuardAction.BLOCK, "guardrail", False)


def test_a_check_without_a_guardrail_is_not_built() -> None:
    with pytest.raises(ConfigError, match="needs a guardrail"):
        BedrockCheck(BedrockCheck.Params(), some_parts())
