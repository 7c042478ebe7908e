"""Generative models from GGUF files in this process, by llama.cpp: no key, no server, no compiler."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import Field, PrivateAttr

from serving.pipeline.errors import ConfigError, IntegrityError, ModelError, RequestError
from serving.pipeline.models.chat import AsyncChat, ChatCall
from serving.pipeline.models.cores import threads_for
from serving.pipeline.models.gguf import GgufEngine, engine_version, file_digest, load_engine
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings

SHORTEST_DIGEST: Final = 12  # characters of a SHA-256 that name a file well enough
TOO_LONG = "exceed_context_size_error"  # llama.cpp's name for a prompt that does not fit


class LlamaCppParams(PlugInParams):
    """What changes its answers."""

    temperature: float = Field(default=0.0, ge=0, le=5)  # 0: always the likeliest word
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=7, ge=0, lt=2**32)
    max_tokens: int = Field(default=512, ge=1)  # of an answer
    context_tokens: int = Field(default=4096, ge=256, le=1_048_576)  # prompt and answer together


class LlamaCpp:
    """`llamacpp:<file.gguf>`: the file is looked for as named, then below the folder that TOUCHSTONE_GGUF names."""

    class Params(LlamaCppParams):
        """With the digest of the file, so that another file under its name is another model."""

        sha256: str = Field(default="", pattern="^[0-9a-f]*$", max_length=64)  # of the file, or its first 12 characters or more

    version: ClassVar[str] = f"1 xllamacpp {engine_version()}"
    one_at_a_time: ClassVar[bool] = True
    simulated = False

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = name  # nobody asks a price for it: unknown, not nothing
        self._params = params
        self._settings = settings

    def connect(self) -> "LlamaCppChat":
        """The model, loaded; one process holds each file once."""
        file = self._file()
        digest = file_digest(file, file.stat().st_mtime_ns)
        if len(self._params.sha256) < SHORTEST_DIGEST:
            raise ConfigError(
                f"{self.name!r} needs the digest of its file, so that another file is never taken for it. "
                f"Write sha256: {digest[:16]} beside its name, as {file} has it today."
            )
        if not digest.startswith(self._params.sha256):
            raise IntegrityError(
                f"{file} has SHA-256 {digest[:16]}…, the configuration says {self._params.sha256[:16]}. "
                "Bring the right file, or correct sha256."
            )
        return connect_file(file, self.name, self._params, self._settings)

    def _file(self) -> Path:
        named = Path(self.name.partition(":")[2]).expanduser()
        places = [named, *([self._settings.gguf / named] if self._settings.gguf and not named.is_absolute() else [])]
        for place in places:
            if place.is_file():
                return place.resolve()
        where = " or ".join(str(place.absolute()) for place in places)
        raise ConfigError(f"{self.name!r}: there is no file {where}. Name a GGUF file, or set TOUCHSTONE_GGUF to the folder that has it.")


class LlamaCppChat(AsyncChat):
    """One loaded file as a chat model; it answers one question at a time, and the same question always alike."""

    display_name: str
    params: LlamaCppParams
    max_tokens: int | None = None
    _engine: GgufEngine = PrivateAttr()

    def __init__(self, engine: GgufEngine, **fields: Any) -> None:
        super().__init__(**fields)
        self._engine = engine

    @property
    def _llm_type(self) -> str:
        return "llamacpp"

    @property
    def model_name(self) -> str:
        """What tracing calls it."""
        return self.display_name

    async def _answer(self, call: ChatCall) -> AIMessage:
        whole: AIMessageChunk | None = None
        async for chunk in self._answer_in_chunks(call):
            whole = chunk if whole is None else whole + chunk
        if whole is None:
            raise ModelError(f"{self.display_name} ended without a word.")
        return AIMessage(whole.content, usage_metadata=whole.usage_metadata, response_metadata=whole.response_metadata)

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        """Chunks as they are written; leaving the stream stops the model at its next token."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Mapping[str, Any] | BaseException | None] = asyncio.Queue()
        left = threading.Event()

        def post(event: Mapping[str, Any] | BaseException | None) -> bool:
            with suppress(RuntimeError):  # the loop was closed: nobody waits for it
                loop.call_soon_threadsafe(events.put_nowait, event)
            return left.is_set()

        def work() -> None:
            try:
                self._engine.complete(self._request(call), post, left)
                post(None)
            except BaseException as error:  # noqa: BLE001  # raised by the reader of the stream
                post(error)

        threading.Thread(target=work, name="llamacpp").start()  # no daemon: one that is killed inside llama.cpp takes the process with it
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                if (chunk := self._chunk(event)) is not None:
                    yield chunk
        finally:
            left.set()

    def _request(self, call: ChatCall) -> dict[str, Any]:
        limits = [limit for limit in (self.max_tokens, call.arguments.get("max_tokens"), self.params.max_tokens) if limit is not None]
        return {
            "messages": list(_messages(call.messages)),
            "max_tokens": min(limits),
            "temperature": self.params.temperature,
            "top_p": self.params.top_p,
            "seed": self.params.seed,
            "cache_prompt": False,  # a kept prefix changes the sums, and with them now and then a word
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"stop": call.stop} if call.stop else {}),
        }

    def _chunk(self, event: Mapping[str, Any]) -> AIMessageChunk | None:
        """LangChain's chunk of an event of the stream; None of one that says nothing."""
        if error := event.get("error"):
            message = str(error.get("message", "")) if isinstance(error, Mapping) else str(error)
            if isinstance(error, Mapping) and error.get("type") == TOO_LONG:
                mend = f"Raise its context_tokens ({self.params.context_tokens}), or lower answer.context_tokens."
                raise RequestError(f"{self.display_name}: {message}. {mend}")
            raise ModelError(f"{self.display_name}: {message[:300]}")
        if usage := event.get("usage"):
            counts = UsageMetadata(
                input_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"], total_tokens=usage["total_tokens"]
            )
            return AIMessageChunk(content="", usage_metadata=counts, response_metadata={"model_name": self.display_name})
        choice = next(iter(event.get("choices") or ()), None)
        if choice is None:
            return None
        if reason := choice.get("finish_reason"):
            return AIMessageChunk(content="", response_metadata={"finish_reason": reason})
        text = choice.get("delta", {}).get("content")
        return AIMessageChunk(content=text) if text else None


def connect_file(file: Path, name: str, params: LlamaCppParams, settings: PipelineSettings) -> LlamaCppChat:
    """The chat model of a file that was found to be the right one."""
    engine = load_engine(file, params.context_tokens, threads_for(settings))
    return LlamaCppChat(engine, display_name=name, params=params)


def _messages(messages: Sequence[BaseMessage]) -> Iterator[dict[str, str]]:
    for message in messages:
        role = "system" if isinstance(message, SystemMessage) else "user" if isinstance(message, HumanMessage) else "assistant"
        yield {"role": role, "content": str(message.text).encode("utf-8", "replace").decode()}
