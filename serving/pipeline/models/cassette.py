"""Recorded model answers: one JSON file per call, so that a run can be repeated with no key and no network."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.models.chat import ChatCall, OuterChat
from serving.pipeline.models.fakes import pieces
from serving.pipeline.settings import PipelineSettings
from serving.storage.files import write_text

KEPT = ("stopReason", "stop_reason", "finish_reason", "model_name")  # of the answer's metadata; the rest differs from run to run


@dataclass(frozen=True, slots=True)
class Tape:
    """The recorded calls of one model with one set of parameters."""

    folder: Path
    model: str
    params: Mapping[str, Any]

    def key(self, asked: Any) -> str:
        """What a call is known by."""
        return digest_of([self.model, dict(self.params), asked])

    def path(self, asked: Any) -> Path:
        """Where a call is kept."""
        return self.folder / f"{self.key(asked)}.json"

    def write(self, asked: Any, answer: Any) -> None:
        """Keep a call, whole or not at all; one made again replaces the last."""
        record = {"model": self.model, "params": dict(self.params), "asked": asked, "answer": answer}
        write_text(self.path(asked), json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True) + "\n")

    def read(self, asked: Any) -> Any:
        """The recorded answer, or a `DataError` that says how to record it."""
        path = self.path(asked)
        try:
            return json.loads(path.read_text(encoding="utf-8"))["answer"]
        except FileNotFoundError:
            mend = f"TOUCHSTONE_CASSETTE_MODE=record TOUCHSTONE_CASSETTE={self.folder}"
            raise DataError(
                f"No recorded answer {path.stem!r} of {self.model} in {self.folder}: the prompt, the model or its parameters "
                f"are not those that were recorded. Run once with {mend}, then replay."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a recorded answer: {type(error).__name__}: {error}. Delete it and record again.") from error


class AskedChat(OuterChat):
    """What models share that know a call by what is asked."""

    def asked(self, call: ChatCall) -> dict[str, Any]:
        """All that decides what the model says to this call, in its plain form."""
        return {
            "messages": [_said(message) for message in call.messages],
            "stop": call.stop,
            "max_tokens": self.max_tokens,
            "arguments": dict(call.arguments),
        }


class RecordingChat(AskedChat):
    """Asks the model each time and keeps what it says; a call that fails leaves nothing."""

    tape: Tape
    inner: BaseChatModel

    async def _answer(self, call: ChatCall) -> AIMessage:
        message = await self._ask(call)
        self.tape.write(self.asked(call), plain_answer(message))
        return message

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        whole: AIMessageChunk | None = None
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            async for chunk in chunks:
                whole = chunk if whole is None else whole + chunk
                yield chunk
        if whole is not None:
            self.tape.write(self.asked(call), plain_answer(whole))


class ReplayedChat(AskedChat):
    """Says what was recorded and nothing else."""

    tape: Tape

    async def _answer(self, call: ChatCall) -> AIMessage:
        return message_of(self.tape.read(self.asked(call)))

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        for chunk in chunks_of(self.tape.read(self.asked(call))):
            yield chunk


class RecordingEmbeddings(Embeddings):
    """Asks the model each time and keeps the vector of each text."""

    def __init__(self, inner: Embeddings, tape: Tape) -> None:
        self._inner = inner
        self._tape = tape

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        vectors = self._inner.embed_documents(texts)
        for text, vector in zip(texts, vectors, strict=True):
            self._tape.write({"document": text}, vector)
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector = self._inner.embed_query(text)
        self._tape.write({"query": text}, vector)
        return vector


class ReplayedEmbeddings(Embeddings):
    """Gives recorded vectors and nothing else."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return [self._tape.read({"document": text}) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector: list[float] = self._tape.read({"query": text})
        return vector


def with_cassette(
    connect: Callable[[], BaseChatModel], settings: PipelineSettings, *, name: str, params: Mapping[str, Any]
) -> BaseChatModel:
    """The model as connected, recorded or replayed, by the settings; for a replay nothing is connected."""
    tape = _tape(settings, "chat", name, params)
    if tape is None:
        return connect()
    own = params.get("max_tokens")
    if settings.cassette_mode == "replay":
        return ReplayedChat(tape=tape, max_tokens=own)
    return RecordingChat(tape=tape, inner=connect(), max_tokens=own)


def with_embeddings_cassette(
    connect: Callable[[], Embeddings], settings: PipelineSettings, *, name: str, params: Mapping[str, Any]
) -> Embeddings:
    """The embedding model as connected, recorded or replayed, by the settings; for a replay nothing is connected."""
    tape = _tape(settings, "embeddings", name, params)
    if tape is None:
        return connect()
    return ReplayedEmbeddings(tape) if settings.cassette_mode == "replay" else RecordingEmbeddings(connect(), tape)


def _tape(settings: PipelineSettings, kind: str, name: str, params: Mapping[str, Any]) -> Tape | None:
    if settings.cassette_mode == "off":
        return None
    if settings.cassette is None:
        raise ConfigError(f"TOUCHSTONE_CASSETTE_MODE is {settings.cassette_mode!r}, but TOUCHSTONE_CASSETTE names no folder.")
    return Tape(settings.cassette / kind, name, params)


def _said(message: BaseMessage) -> dict[str, Any]:
    """What a message says; ids and metadata, which differ from run to run, are left out."""
    calls = [{"name": call["name"], "args": call["args"]} for call in getattr(message, "tool_calls", [])]
    return {"type": message.type, "content": message.content} | ({"tool_calls": calls} if calls else {})


def plain_answer(message: AIMessage) -> dict[str, Any]:
    """What a model said, as plain data."""
    return {
        "text": str(message.text),
        "tool_calls": [{"name": call["name"], "args": call["args"], "id": call["id"], "type": "tool_call"} for call in message.tool_calls],
        "usage": message.usage_metadata,
        "metadata": {key: message.response_metadata[key] for key in KEPT if key in message.response_metadata},
    }


def message_of(answer: Mapping[str, Any]) -> AIMessage:
    """The message that was kept as plain data."""
    return AIMessage(answer["text"], tool_calls=answer["tool_calls"], usage_metadata=answer["usage"], response_metadata=answer["metadata"])


def chunks_of(answer: Mapping[str, Any]) -> Iterator[AIMessageChunk]:
    """The same message word by word, its facts with the last piece."""
    for piece in pieces(answer["text"]):
        yield AIMessageChunk(content=piece)
    calls = [
        {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index, "type": "tool_call_chunk"}
        for index, call in enumerate(answer["tool_calls"])
    ]
    yield AIMessageChunk(content="", tool_call_chunks=calls, usage_metadata=answer["usage"], response_metadata=answer["metadata"])
