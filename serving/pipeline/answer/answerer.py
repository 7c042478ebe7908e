"""From passages to an answer: choose the prompt, pack the passages, ask the model, read what it said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from serving.pipeline.answer.cite import cite
from serving.pipeline.answer.family import choose_prompt, domain_of
from serving.pipeline.answer.pack import fenced, pack
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.config import AnswerConfig
from serving.pipeline.errors import ConfigError, ModelError, RequestError
from serving.pipeline.models.chat import with_output_limit
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.types import Answer, Hit, Query, Route, Usage

KEPT_MS = "kept_ms"  # in a message's metadata: it was not said now, and this is how long it took when it was


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with all that a trace tells of how it came about."""

    answer: Answer
    passages: tuple[Hit, ...]  # as numbered in the prompt
    dropped: int
    prompt_id: str
    prompt: str
    usage: Usage
    first_token_ms: float | None = None
    truncated_passage: bool = False  # the last passage was cut to fit
    dangling_citations: int = 0  # markers that point to no passage
    kept_ms: float | None = None  # where the model's words were kept from an earlier call: how long that took


class Answerer:
    """Answers from passages with the model of the route's tier; with no passage it refuses and calls none."""

    def __init__(
        self, config: AnswerConfig, *, prompts: PromptLibrary, chats: Mapping[str, ConnectedChat], clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._prompts = prompts
        self._chats = {tier: replace(chat, model=with_output_limit(chat.model, config.max_tokens)) for tier, chat in chats.items()}
        self._clock = clock

    async def answer(self, query: Query, hits: Sequence[Hit], route: Route, *, emit: Callable[[str], None] | None = None) -> Answered:
        """Answer a question from its hits; `emit`, if given, receives the text as it is written."""
        chat = self._chat(route.tier)
        domain = domain_of(query, hits)
        prompt = choose_prompt(self._config.prompt, self._prompts, domain)
        if not hits:
            if emit is not None:
                emit(prompt.refusal)
            none_used = Usage(chat.name, simulated=chat.source.simulated, calls=0)
            return Answered(Answer(prompt.refusal, refused=True), (), 0, prompt.id, "", none_used)

        packed = pack(hits, self._config.context_tokens)
        values = {"question": fenced(query.text.strip()), "passages": packed.text, "domain": domain}
        rendered = prompt.render(**{name: values[name] for name in prompt.variables if name in values})
        messages = [SystemMessage(rendered.system), HumanMessage(rendered.user)]
        message, first_token_ms = await self._ask(chat, messages, emit)

        text = str(message.text).strip()
        if not text and _hit_limit(message):  # spent on thinking: it would be so again
            raise RequestError(f"{chat.name} came to its limit of output before its first word. Raise answer.max_tokens.")
        if not text:  # silence is a failure of the model; taken for a refusal, it would score on every unanswerable question
            raise ModelError(f"{chat.name} answered with no text. Try again; see `touchstone doctor`.")
        cited = cite(text, packed.passages)
        refused = is_refusal(text, prompt.refusal)
        return Answered(
            answer=Answer(text, () if refused else cited.citations, refused, chat.name, truncated=_hit_limit(message)),
            passages=packed.passages,
            dropped=packed.dropped,
            prompt_id=prompt.id,
            prompt=rendered.text,
            usage=usage_of(message, chat.source, chat.name),
            first_token_ms=first_token_ms,
            truncated_passage=packed.truncated,
            dangling_citations=cited.dangling,
            kept_ms=message.response_metadata.get(KEPT_MS),
        )

    def _chat(self, tier: str) -> ConnectedChat:
        try:
            return self._chats[tier]
        except KeyError:
            raise ConfigError(f"The router chose the tier {tier!r}, but answer.models has only {', '.join(self._chats)}.") from None

    async def _ask(
        self, chat: ConnectedChat, messages: list[BaseMessage], emit: Callable[[str], None] | None
    ) -> tuple[AIMessage, float | None]:
        """The model's whole message; when it streams, also the milliseconds to its first words."""
        if emit is None:
            return await chat.model.ainvoke(messages), None
        begin, first = self._clock(), None
        whole: AIMessageChunk | None = None
        async for piece in chat.model.astream(messages):
            words = str(piece.text)
            if words:
                first = (self._clock() - begin) * 1000 if first is None else first
                emit(words)
            whole = piece if whole is None else whole + piece
        if whole is None:
            raise ModelError(f"{chat.name} ended its stream without a word. Try again; see `touchstone doctor`.")
        return whole, None if first is None else round(first, 3)


def _hit_limit(message: AIMessage) -> bool:
    """Whether the model stopped because of its output limit; providers name the reason in their own ways."""
    facts = message.response_metadata
    reasons = {str(facts.get(key, "")).lower() for key in ("stopReason", "stop_reason", "finish_reason")}
    return not reasons.isdisjoint({"max_tokens", "length"})
