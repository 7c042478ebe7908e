"""Answers a query from its hits: choose the prompt, pack the passages, call the model, parse the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from serving.pipeline.answer.abandoned_calls import AbandonedCalls
from serving.pipeline.answer.cite import parse_citations
from serving.pipeline.answer.datamark import unmarked
from serving.pipeline.answer.family import choose_prompt, domain_of
from serving.pipeline.answer.logprob import mean_logprob
from serving.pipeline.answer.pack import fenced, pack_passages
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.config import AnswerConfig
from serving.pipeline.errors import ConfigError, ModelError, RequestError, TouchstoneError
from serving.pipeline.models.chat import with_output_limit
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.prompts import Prompt, PromptLibrary
from serving.pipeline.types import Answer, Hit, Query, Route, Usage

Emit = Callable[[str], None]  # receives the answer's text in pieces

NOTICES: Final = Path(__file__).with_name("notices.yaml")
PROMPT_TOKENS: Final = 1500  # of instructions and question, at most and about
KEPT_MS = "kept_ms"  # in the metadata of a cached message: how long the original call took


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """An answer with everything that the trace records about it."""

    answer: Answer
    passages: tuple[Hit, ...]  # as numbered in the prompt
    dropped: int
    prompt_id: str
    prompt: str
    usage: Usage
    first_token_ms: float | None = None
    truncated_passage: bool = False  # the last passage was cut to fit
    dangling_citations: int = 0  # markers that point to no passage
    kept_ms: float | None = None  # of a cached message: how long the original call took


class Answerer:
    """Answers from passages with the model of the route's tier; with no passage it refuses and calls none."""

    def __init__(
        self, config: AnswerConfig, *, prompts: PromptLibrary, chats: Mapping[str, ConnectedChat], clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._prompts = prompts
        self._chats = {tier: replace(chat, model=with_output_limit(chat.model, config.max_tokens)) for tier, chat in chats.items()}
        self._clock = clock
        self._marked = config.passages == "datamarked"
        notice = _notices()[config.passages]
        self._notice = f"\n\n{notice}" if notice else ""

    @property
    def most_usd(self) -> float:
        """What the dearest tier's answer costs with a full context and at full length; 0 where no price is known."""
        read, written = self._config.context_tokens + PROMPT_TOKENS, self._config.max_tokens
        return max((chat.prices.tokens(chat.source.price_model, read, written) or 0.0 for chat in self._chats.values()), default=0.0)

    def model_of(self, tier: str) -> str:
        """The name of a tier's model."""
        return self._chat(tier).name

    async def answer(
        self,
        query: Query,
        hits: Sequence[Hit],
        route: Route,
        *,
        emit: Emit | None = None,
        late: Callable[[Usage], None] | None = None,
    ) -> AnswerResult:
        """Answer a question from its hits; `emit`, if given, receives the text as it is written, `late` the cost of abandoned calls."""
        chat = self._chat(route.tier)
        domain = domain_of(query, hits, route.domain)
        prompt = choose_prompt(self._config.prompt, self._prompts, domain)
        if not hits:
            return _refusal(chat, prompt, emit)
        packed = pack_passages(hits, self._config.context_tokens, marked=self._marked)
        values = {"question": fenced(query.text.strip()), "passages": packed.text, "domain": domain}
        rendered = prompt.render(**{name: values[name] for name in prompt.variables if name in values})
        messages = [SystemMessage(f"{rendered.system}{self._notice}"), HumanMessage(rendered.user)]
        abandoned = AbandonedCalls(chat, messages, late or _ignore)
        with abandoned.watch():
            message, first_token_ms = await self._ask(chat, messages, abandoned.counted(self._shown(emit)))

        text = str(message.text).strip()
        text = unmarked(text) if self._marked else text
        if not text:
            abandoned.discard(message)
            raise _no_text(chat, message)
        parsed = parse_citations(text, packed.passages)
        refused = is_refusal(text, prompt.refusal)
        return AnswerResult(
            answer=Answer(
                text,
                () if refused else parsed.citations,
                refused,
                chat.name,
                truncated=_hit_limit(message),
                mean_logprob=mean_logprob(message),
            ),
            passages=packed.passages,
            dropped=packed.dropped,
            prompt_id=prompt.id,
            prompt=f"{rendered.text}{self._notice}",
            usage=usage_of(message, chat.source, chat.name, chat.prices),
            first_token_ms=first_token_ms,
            truncated_passage=packed.truncated,
            dangling_citations=parsed.dangling,
            kept_ms=message.response_metadata.get(KEPT_MS),
        )

    def _shown(self, emit: Emit | None) -> Emit | None:
        """`emit`, with datamarks removed from the text."""
        if emit is None or not self._marked:
            return emit
        return lambda text: emit(unmarked(text))

    def _chat(self, tier: str) -> ConnectedChat:
        try:
            return self._chats[tier]
        except KeyError:
            raise ConfigError(f"The router chose the tier {tier!r}, but answer.models has only {', '.join(self._chats)}.") from None

    async def _ask(self, chat: ConnectedChat, messages: list[BaseMessage], emit: Emit | None) -> tuple[AIMessage, float | None]:
        """The model's whole message; when it streams, also the milliseconds to its first words."""
        if emit is None:
            return await chat.model.ainvoke(messages), None
        start, first_token_ms = self._clock(), None
        message: AIMessageChunk | None = None
        async for chunk in chat.model.astream(messages):
            text = str(chunk.text)
            if text:
                first_token_ms = (self._clock() - start) * 1000 if first_token_ms is None else first_token_ms
                emit(text)
            message = chunk if message is None else message + chunk
        if message is None:
            raise ModelError(f"{chat.name} ended its stream without a word. Try again; see `touchstone doctor`.")
        return message, None if first_token_ms is None else round(first_token_ms, 3)


def _refusal(chat: ConnectedChat, prompt: Prompt, emit: Emit | None) -> AnswerResult:
    """The refusal where there are no passages; no model is called."""
    if emit is not None:
        emit(prompt.refusal)
    none_used = Usage(chat.name, simulated=chat.source.simulated, calls=0)
    return AnswerResult(Answer(prompt.refusal, refused=True), (), 0, prompt.id, "", none_used)


def _no_text(chat: ConnectedChat, message: AIMessage) -> TouchstoneError:
    """Why an answer has no text: a failure, since as a refusal it would score on every unanswerable question."""
    if _hit_limit(message):  # spent on reasoning: a retry would fail the same way
        return RequestError(f"{chat.name} came to its limit of output before its first word. Raise answer.max_tokens.")
    return ModelError(f"{chat.name} answered with no text. Try again; see `touchstone doctor`.")


@cache
def _notices() -> Mapping[str, str]:
    """The sentence that each format of passages adds to the system prompt."""
    notices: Mapping[str, str] = load_plain(NOTICES.read_text(encoding="utf-8"))
    return notices


def _ignore(usage: Usage) -> None:
    """The receiver where the cost of abandoned calls is not wanted."""


def _hit_limit(message: AIMessage) -> bool:
    """Whether the model stopped because of its output limit; providers name the reason in their own ways."""
    facts = message.response_metadata
    reasons = {str(facts.get(key, "")).lower() for key in ("stopReason", "stop_reason", "finish_reason")}
    return not reasons.isdisjoint({"max_tokens", "length"})
