"""Bedrock Guardrails: a policy in AWS that ApplyGuardrail checks questions and answers against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from serving.pipeline.errors import ConfigError, InfrastructureError, ModelError
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.models.bedrock import bedrock_client
from serving.pipeline.models.prices import guardrail_usage, price_list
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction, Usage
from serving.pipeline.usage_meter import metered_calls, record_usage

PIECE: Final = 24_000  # characters of a text in one call; the service takes 25 units of 1,000
MASKED: Final = "ANONYMIZED"


@dataclass(frozen=True, slots=True)
class _Found:
    """One match of a policy."""

    rule: str
    action: str  # BLOCKED, ANONYMIZED or NONE
    match: str = ""


@dataclass(frozen=True, slots=True)
class _Assessed:
    """The service's assessment of one piece of a text."""

    intervened: bool
    output: str
    found: tuple[_Found, ...]
    usage: Usage


class BedrockCheck:
    """Masks or blocks by a guardrail's policy; masked personal data of a question gets placeholders, as the check `pii` gives them.

    It reads the text as earlier checks left it: name it so that it runs after those that mask, and masked values never leave the machine.
    """

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = True
    blocks = True

    class Params(PlugInParams):
        """Which guardrail, and what its absence means."""

        guardrail: str = Field(default="", description="id or ARN of the guardrail; there is none by default")
        guardrail_version: str = Field(default="DRAFT", pattern=r"^(DRAFT|[1-9][0-9]{0,7})$", description="a number for what is released")
        on_outage: Literal["fail_closed", "fail_open"] = Field(
            default="fail_closed", description="when it does not answer: nothing is answered either, or all passes and is flagged"
        )
        grounding: bool = Field(default=False, description="an answer is sent with its passages and its question")
        call_timeout_s: float = Field(default=3.0, gt=0, le=60, description="patience with one call")
        attempts: int = Field(default=2, ge=1, le=5)
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

    def __init__(self, params: Params, parts: Parts, *, retry: RetryPolicy | None = None) -> None:
        if not params.guardrail:
            raise ConfigError("The check 'bedrock' needs a guardrail: {name: bedrock, guardrail: <id>}. Make one: touchstone guard render")
        self._params = params
        self._name = f"bedrock:{params.guardrail.rpartition('/')[2]}"
        limits = {"model_timeout_s": params.call_timeout_s, "model_attempts": params.attempts}
        self._settings = parts.settings.model_copy(update=limits)
        self._retry = retry or RetryPolicy(self._name, self._settings)
        self._prices = price_list(parts.settings)
        self._client: Any = None
        self.domains = params.domains
        self.timeout_s = params.attempts * (2 * params.call_timeout_s + 1.0) + 5.0  # with the wait for a place among calls, and pauses

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """What the guardrail says of the text, in pieces where it is long."""
        if not text.strip():
            return CheckVerdict.allow(text)
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        assessed: list[_Assessed] = []
        try:
            for piece in pieces:
                request = self._request(piece, context)
                with metered_calls(Usage(self._name, stage="guard"), _cost).watch():
                    assessed.append(await self._retry.run(lambda request=request: run_in_thread(lambda: self._ask(request))))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        except InfrastructureError as error:
            usage = tuple(one.usage for one in assessed)
            if self._params.on_outage == "fail_closed":
                record_usage(*usage)  # there is no verdict to carry it
                raise
            return CheckVerdict(GuardAction.FLAG, text, rule="outage", reason=type(error).__name__, usage=usage)
        return self._verdict(text, pieces, assessed, context)

    def _verdict(self, text: str, pieces: Sequence[str], assessed: Sequence[_Assessed], context: CheckContext) -> CheckVerdict:
        usage = tuple(one.usage for one in assessed)
        if not any(one.intervened for one in assessed):
            found = [one for assessment in assessed for one in assessment.found]  # of filters that only detect
            action = GuardAction.FLAG if found else GuardAction.ALLOW
            rules = _rules(found)
            return CheckVerdict(action, text, rule=rules, reason=f"found {rules}" if found else "", usage=usage)
        stopping = [one for assessment in assessed if assessment.intervened for one in assessment.found if one.action != "NONE"]
        output = "".join(_masked(piece, one, context) for piece, one in zip(pieces, assessed, strict=True))
        if stopping and all(one.action == MASKED for one in stopping):
            rules = _rules(stopping)
            return CheckVerdict(GuardAction.MASK, output, 1.0, rules, f"masks {rules}", usage, redacted_excerpt(output))
        rules = _rules([one for one in stopping if one.action != MASKED]) or "guardrail"
        kept = _without_matches(text, stopping)
        message = next((one.output for one in assessed if one.intervened and one.output), "")
        return CheckVerdict(GuardAction.BLOCK, kept, 1.0, rules, f"stops {rules}", usage, redacted_excerpt(kept), message)

    def _request(self, text: str, context: CheckContext) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        guarded: dict[str, Any] = {"text": text}
        if self._params.grounding and context.side == "output" and not context.refused:
            source = "\n\n".join(hit.chunk.text for hit in context.passages)[:PIECE]
            if source and context.query.text:
                content += [{"text": {"text": source, "qualifiers": ["grounding_source"]}}]
                content += [{"text": {"text": context.query.text[:1000], "qualifiers": ["query"]}}]
                guarded["qualifiers"] = ["guard_content"]
        return {
            "guardrailIdentifier": self._params.guardrail,
            "guardrailVersion": self._params.guardrail_version,
            "source": context.side.upper(),
            "content": [*content, {"text": guarded}],
        }

    def _ask(self, request: Mapping[str, Any]) -> _Assessed:
        if self._client is None:
            self._client = bedrock_client("bedrock-runtime", self._name, self._settings)
        answer = self._client.apply_guardrail(**request)
        if answer.get("action") not in ("NONE", "GUARDRAIL_INTERVENED"):
            raise ModelError(f"{self._name} gave an answer without an action.")
        output = "".join(str(part.get("text", "")) for part in answer.get("outputs", []))
        found = tuple(one for assessment in answer.get("assessments", []) for one in _findings(assessment))
        usage = guardrail_usage(answer.get("usage") or {}, self._name, self._prices)
        return _Assessed(answer["action"] == "GUARDRAIL_INTERVENED", output, found, usage)


def _cost(assessed: object) -> Usage:
    """The usage of a call whose answer came too late."""
    assert isinstance(assessed, _Assessed)
    return assessed.usage


def _findings(assessment: Mapping[str, Any]) -> list[_Found]:
    """What an assessment found, of every policy; its own words for a topic, a filter, an entity."""
    words, personal = assessment.get("wordPolicy", {}), assessment.get("sensitiveInformationPolicy", {})
    named = [
        *((one["name"], one) for one in assessment.get("topicPolicy", {}).get("topics", [])),
        *((one["type"], one) for one in assessment.get("contentPolicy", {}).get("filters", [])),
        *((one["type"], one) for one in assessment.get("contextualGroundingPolicy", {}).get("filters", [])),
        *(("word", {**one, "match": ""}) for one in [*words.get("customWords", []), *words.get("managedWordLists", [])]),
        *((one["type"], one) for one in personal.get("piiEntities", [])),
        *((one["name"], one) for one in personal.get("regexes", [])),
    ]
    return [_Found(str(name), str(one.get("action", "BLOCKED")), str(one.get("match", ""))) for name, one in named]


def _masked(piece: str, assessed: _Assessed, context: CheckContext) -> str:
    """A piece with its matches masked; in a question by placeholders, which are restored, where the service returns the matches."""
    found = [one for one in assessed.found if one.action == MASKED]
    if not found:
        return piece
    if context.side != "input" or not all(one.match and one.match in piece for one in found):
        return assessed.output or _without_matches(piece, found)
    placeholders = Placeholders() if context.placeholders is None else context.placeholders
    placeholders.reserve([piece, *(part for turn in context.query.history for part in turn.texts)])
    for one in sorted(found, key=lambda one: -len(one.match)):
        piece = piece.replace(one.match, placeholders.name(_letters(one.rule), one.match))
    return piece


def _without_matches(text: str, found: Sequence[_Found]) -> str:
    """The text that may be stored: without what the policies matched."""
    for one in sorted(found, key=lambda one: -len(one.match)):
        if one.match:
            text = text.replace(one.match, f"<{_letters(one.rule)}>")
    return text


def _letters(rule: str) -> str:
    """A kind as a placeholder has it."""
    words = ["".join(letter for letter in word if letter.isascii() and letter.isalpha())[:16] for word in rule.upper().split("_")]
    return "_".join([word for word in words if word][:4]) or "DATA"


def _rules(found: Sequence[_Found]) -> str:
    return ", ".join(dict.fromkeys(one.rule for one in found))
