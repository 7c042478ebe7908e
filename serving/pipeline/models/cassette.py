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
from serving.pipeline.models.chat import ChatCall, WrappingChat
from serving.pipeline.models.fakes import pieces
from serving.pipeline.settings import PipelineSettings
from serving.storage.files import write_text

RECORDED_METADATA = (
    "stopReason",
    "stop_reason",
    "finish_reason",
    "model_name",
)  # the rest differs from run to run


@dataclass(frozen=True, slots=True)
class Cassette:
    """The recorded calls of one model with one set of parameters, in a folder."""

    folder: Path
    model: str
    params: Mapping[str, Any]

    def key(self, request: Any) -> str:
        """The digest that identifies a request."""
        return digest_of([self.model, dict(self.params), request])

    def path(self, request: Any) -> Path:
        """The file of a request."""
        return self.folder / f"{self.key(request)}.json"

    def write(self, request: Any, answer: Any) -> None:
        """Record an answer; it replaces an earlier one to the same request."""
        record = {"model": self.model, "params": dict(self.params), "asked": request, "answer": answer}
        write_text(self.path(request), json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True) + "\n")

    def read(self, request: Any) -> Any:
        """The recorded answer, or a `DataError` that says how to record it."""
        path = self.path(request)
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


class KeyedChat(WrappingChat):
    """A chat model that identifies each call by the content of its request."""

    def request(self, call: ChatCall) -> dict[str, Any]:
        """Everything that decides the answer to a call, as plain data."""
        return {
            "messages": [_plain_message(message) for message in call.messages],
            "stop": call.stop,
            "max_tokens": self.max_tokens,
            "arguments": dict(call.arguments),
        }


class RecordingChat(KeyedChat):
    """Calls the model and records each answer; a failed call records nothing."""

    cassette: Cassette
    inner: BaseChatModel

    async def _answer(self, call: ChatCall) -> AIMessage:
        message = await self._ask(call)
        self.cassette.write(self.request(call), plain_answer(message))
        return message

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        whole: AIMessageChunk | None = None
        async with aclosing(self._ask_in_chunks(call)) as chunks:
            async for chunk in chunks:
                whole = chunk if whole is None else whole + chunk
                yield chunk
        if whole is not None:
            self.cassette.write(self.request(call), plain_answer(whole))


class ReplayedChat(KeyedChat):
    """Answers from the recording only."""

    cassette: Cassette

    async def _answer(self, call: ChatCall) -> AIMessage:
        return message_of(self.cassette.read(self.request(call)))

    async def _answer_in_chunks(self, call: ChatCall) -> AsyncGenerator[AIMessageChunk, None]:
        for chunk in chunks_of(self.cassette.read(self.request(call))):
            yield chunk


class RecordingEmbeddings(Embeddings):
    """Calls the model and records the vector of each text."""

    def __init__(self, inner: Embeddings, cassette: Cassette) -> None:
        self._inner = inner
        self._cassette = cassette

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        vectors = self._inner.embed_documents(texts)
        for text, vector in zip(texts, vectors, strict=True):
            self._cassette.write({"document": text}, vector)
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector = self._inner.embed_query(text)
        self._cassette.write({"query": text}, vector)
        return vector


class ReplayedEmbeddings(Embeddings):
    """Returns recorded vectors only."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return [self._cassette.read({"document": text}) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector: list[float] = self._cassette.read({"query": text})
        return vector


def with_cassette(
    connect: Callable[[], BaseChatModel], settings: PipelineSettings, *, name: str, params: Mapping[str, Any]
) -> BaseChatModel:
    """The model as connected, recorded or replayed, by the settings; for a replay nothing is connected."""
    cassette = _cassette(settings, "chat", name, params)
    if cassette is None:
        return connect()
    max_tokens = params.get("max_tokens")
    if settings.cassette_mode == "replay":
        return ReplayedChat(cassette=cassette, max_tokens=max_tokens)
    return RecordingChat(cassette=cassette, inner=connect(), max_tokens=max_tokens)


def with_embeddings_cassette(
    connect: Callable[[], Embeddings], settings: PipelineSettings, *, name: str, params: Mapping[str, Any]
) -> Embeddings:
    """The embedding model as connected, recorded or replayed, by the settings; for a replay nothing is connected."""
    cassette = _cassette(settings, "embeddings", name, params)
    if cassette is None:
        return connect()
    return ReplayedEmbeddings(cassette) if settings.cassette_mode == "replay" else RecordingEmbeddings(connect(), cassette)


def _cassette(settings: PipelineSettings, kind: str, name: str, params: Mapping[str, Any]) -> Cassette | None:
    if settings.cassette_mode == "off":
        return None
    if settings.cassette is None:
        raise ConfigError(f"TOUCHSTONE_CASSETTE_MODE is {settings.cassette_mode!r}, but TOUCHSTONE_CASSETTE names no folder.")
    return Cassette(settings.cassette / kind, name, params)


def _plain_message(message: BaseMessage) -> dict[str, Any]:
    """The content of a message as plain data, without ids and metadata, which differ from run to run."""
    calls = [{"name": call["name"], "args": call["args"]} for call in getattr(message, "tool_calls", [])]
    return {"type": message.type, "content": message.content} | ({"tool_calls": calls} if calls else {})


def plain_answer(message: AIMessage) -> dict[str, Any]:
    """A model's answer as plain data."""
    return {
        "text": str(message.text),
        "tool_calls": [{"name": call["name"], "args": call["args"], "id": call["id"], "type": "tool_call"} for call in message.tool_calls],
        "usage": message.usage_metadata,
        "metadata": {key: message.response_metadata[key] for key in RECORDED_METADATA if key in message.response_metadata},
    }


def message_of(answer: Mapping[str, Any]) -> AIMessage:
    """The message of a recorded answer."""
    return AIMessage(answer["text"], tool_calls=answer["tool_calls"], usage_metadata=answer["usage"], response_metadata=answer["metadata"])


def chunks_of(answer: Mapping[str, Any]) -> Iterator[AIMessageChunk]:
    """The same message as a stream of words; its metadata comes with the last chunk."""
    for piece in pieces(answer["text"]):
        yield AIMessageChunk(content=piece)
    calls = [
        {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index, "type": "tool_call_chunk"}
        for index, call in enumerate(answer["tool_calls"])
    ]
    yield AIMessageChunk(content="", tool_call_chunks=calls, usage_metadata=answer["usage"], response_metadata=answer["metadata"])
