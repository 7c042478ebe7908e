"""Rewrites follow-ups by a chat model; where it fails, by the rules of `carry_over`."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import Field

from serving.pipeline.answer.pack import fenced
from serving.pipeline.deadline import current_deadline
from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.models.chat import with_output_limit
from serving.pipeline.models.prices import usage_of
from serving.pipeline.parts import Parts
from serving.pipeline.references import PromptId, Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.rewrite.carry_over import LONGEST, carried_over
from serving.pipeline.types import Turn, Usage
from serving.pipeline.usage_meter import metered_calls, record_usage

log = logging.getLogger(__name__)
STAGE: Final = "retrieve"


class ModelRewriter:
    """Asks a tier's model for the standalone question. A reply that is not a single question is not used."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which model, and what it reads."""

        tier: Tier = "lite"  # of answer.models
        prompt: PromptId = "rewrite/follow-up/v1"
        turns: int = Field(default=4, ge=1, le=10)  # of the conversation, the last ones
        characters: int = Field(default=2000, ge=200, le=20_000)  # of all turns together, the last ones
        max_tokens: int = Field(default=120, ge=16, le=400)  # of the question
        timeout_ms: int = Field(default=4000, ge=100, le=60_000)  # then the rules write it

    def __init__(self, params: Params, parts: Parts) -> None:
        self.turns = params.turns
        self._params = params
        self._prompt = parts.prompts.by_id(params.prompt)
        if set(self._prompt.variables) != {"conversation", "question"}:
            raise ConfigError(f"retrieve.rewrite.prompt: {params.prompt} needs the variables conversation and question, and no others.")
        self._chat = parts.chats[params.tier]
        self._model = with_output_limit(self._chat.model, params.max_tokens)

    def leans(self, question: str) -> bool:
        """Always: the model finds follow-ups that no rule knows."""
        return True

    async def rewrite(self, question: str, turns: Sequence[Turn]) -> str:
        """What the model writes; where somebody waits for it and it fails, or takes too long, what the rules write.

        In an evaluation, where nobody waits, its failure is an outage.
        """
        if current_deadline() is None:
            return self._read(await self._ask(question, turns)) or carried_over(question, turns)
        try:
            async with asyncio.timeout(self._params.timeout_ms / 1000):
                message = await self._ask(question, turns)
        except (ModelError, ConfigError, TimeoutError) as error:
            log.warning("The model that rewrites follow-ups did not answer (%s); rules did.", type(error).__name__)
            return carried_over(question, turns)
        return self._read(message) or carried_over(question, turns)

    async def _ask(self, question: str, turns: Sequence[Turn]) -> AIMessage:
        conversation = fenced(_conversation(turns, self._params.characters))
        rendered = self._prompt.render(conversation=conversation, question=fenced(question))
        with metered_calls(Usage(self._chat.name, stage=STAGE), self._cost).watch():
            message = await self._model.ainvoke([SystemMessage(rendered.system), HumanMessage(rendered.user)])
        record_usage(self._cost(message))
        return message

    def _cost(self, message: object) -> Usage:
        chat = self._chat
        if not isinstance(message, AIMessage):
            return Usage(chat.name, stage=STAGE, priced=False)
        return replace(usage_of(message, chat.source, chat.name, chat.prices), stage=STAGE)

    def _read(self, message: AIMessage) -> str:
        """The question in a message; empty where it is none that can be taken."""
        lines = [line.strip().strip("\"'“”`") for line in str(message.text).splitlines() if line.strip()]
        return lines[0] if len(lines) == 1 and 3 <= len(lines[0]) <= LONGEST else ""


def _conversation(turns: Sequence[Turn], most: int) -> str:
    """The last turns as they were said, the oldest first, within so many characters."""
    lines: list[str] = []
    left = most
    for turn in reversed(turns):
        turn_lines = [f"Reader: {' '.join(turn.question.split())}"]
        if turn.answer:
            turn_lines.append(f"Service: {' '.join(turn.answer.split())[:500]}")
        size = sum(map(len, turn_lines))
        if size > left:
            break
        left -= size
        lines[:0] = turn_lines
    return "\n".join(lines)
