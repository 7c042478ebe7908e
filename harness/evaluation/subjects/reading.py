"""What an app's answer says, in any of the forms that apps answer in: text, a message, a mapping with the passages it rests on."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from serving.pipeline.answer.cite import cite
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.digest import digest_of
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, StageRecord, Trace, Usage

ANSWERS = ("answer", "output", "result", "output_text", "text", "response")
PASSAGES = ("contexts", "context", "documents", "source_documents", "passages")
DOCUMENT = ("document_id", "document", "source", "file_path", "id")
START = ("start", "start_index")


class BadAnswer(Exception):
    """An app answered, and not in a form that can be read: its own fault, and no outage."""


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """What an app said, the passages it showed, and what the call cost as far as it told."""

    answer: Answer
    usage: tuple[Usage, ...]
    hits: tuple[Hit, ...] = ()  # what it found
    passages: tuple[Hit, ...] = ()  # what its answer rests on: all that it found, or where it tells no more, what it cites


def read_answer(value: Any, name: str) -> AppAnswer:
    """An answer in any known form, or a `BadAnswer` that says what is missing."""
    if isinstance(value, str):
        return AppAnswer(_answer(value, name), _usage(None, name))
    if isinstance(value, Mapping):
        return _of_mapping(value, name)
    text = getattr(value, "text", None)  # a LangChain message
    if isinstance(text, str):
        return AppAnswer(_answer(str(text), name), _usage(None, name))
    raise BadAnswer(f"it gave {type(value).__name__}, not text or a mapping with {ANSWERS[0]!r}")


def trace_of(said: AppAnswer, query: Query, config_digest: str, started_at: str, milliseconds: float) -> Trace:
    """The trace of an answer; what the app did inside is its own affair."""
    return Trace(
        id=digest_of([config_digest, query.id, query.text, query.principal.id, started_at]),
        query=query,
        config_digest=config_digest,
        index_digest="",
        started_at=started_at,
        stages=(StageRecord("answer", digest_of(query.text), round(milliseconds, 3), {"model": said.answer.model}),),
        hits=said.hits,
        passages=said.passages,
        answer=said.answer,
        usage=said.usage,
        milliseconds=round(milliseconds, 3),
    )


def _answer(text: str, name: str) -> Answer:
    text = _whole(text)
    return Answer(text, refused=is_refusal(text, ""), model=name)


def _whole(text: str) -> str:
    """A text that can be written down: half of a character, as a cut JSON escape leaves it, is shown as lost."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _of_mapping(value: Mapping[str, Any], name: str) -> AppAnswer:
    key = next((one for one in ANSWERS if one in value), None)
    if key is None:
        raise BadAnswer(f"its answer has no {ANSWERS[0]!r}; it has {', '.join(map(str, value)) or 'nothing'}")
    answer = read_answer(value[key], name).answer
    told = next((value[one] for one in PASSAGES if value.get(one) is not None and not isinstance(value[one], str)), None)
    cited = value.get("citations") or ()
    passages = _passages(cited if told is None else told)
    citations = _citations(cited, passages) if told is None else cite(answer.text, passages).citations
    refused = bool(value["refused"]) if "refused" in value else answer.refused
    model = str(value.get("model") or name)
    answer = replace(answer, citations=citations, refused=refused, model=model, truncated=bool(value.get("truncated", False)))
    return AppAnswer(answer, _usage(value.get("usage"), model), () if told is None else passages, passages)


def _passages(told: Any) -> tuple[Hit, ...]:
    if not isinstance(told, Iterable) or isinstance(told, str | bytes | Mapping):
        raise BadAnswer(f"its passages are {type(told).__name__}, not a list")
    return tuple(Hit(_chunk(one, place), 1.0 / place, place) for place, one in enumerate(told, start=1))


def _chunk(one: Any, place: int) -> Chunk:
    """A passage: text, a mapping with `text` or `page_content`, or a LangChain Document."""
    if isinstance(one, str):
        return Chunk(f"#{place}", "", 0, 0, _whole(one))
    content = getattr(one, "page_content", None)
    facts: Mapping[str, Any]
    if content is None and isinstance(one, Mapping):
        content = one.get("text", one.get("page_content", one.get("content")))
        facts = {**_metadata(one.get("metadata"), place), **one}
    else:
        facts = _metadata(getattr(one, "metadata", None), place)
    if not isinstance(content, str):
        raise BadAnswer(f"its passage {place} has no text")
    content = _whole(content)
    document = _whole(str(next((facts[name] for name in DOCUMENT if facts.get(name)), "")))
    start = next((facts[name] for name in START if isinstance(facts.get(name), int) and facts[name] >= 0), None)
    end = 0 if start is None else facts["end"] if isinstance(facts.get("end"), int) else start + len(content)
    title = _whole(str(facts.get("title") or ""))
    ident = f"{document}#{start}-{end}" if start is not None else f"{document}#{place}"
    return Chunk(ident, document, start or 0, end, content, title=title, heading=_whole(str(facts.get("heading") or "")))


def _metadata(told: Any, place: int) -> Mapping[str, Any]:
    if told is not None and not isinstance(told, Mapping):
        raise BadAnswer(f"the metadata of its passage {place} are {type(told).__name__}, not a mapping")
    return told or {}


def _citations(cited: Any, passages: tuple[Hit, ...]) -> tuple[Citation, ...]:
    markers = [one.get("marker") if isinstance(one, Mapping) else None for one in cited]
    return tuple(
        Citation(marker if isinstance(marker, int) else place, hit.chunk.id, hit.chunk.span)
        for place, (marker, hit) in enumerate(zip(markers, passages, strict=True), start=1)
    )


def _usage(told: Any, model: str) -> tuple[Usage, ...]:
    """Tokens and dollars as the app tells them; where it tells none, they are unknown and not nothing."""
    if not isinstance(told, Mapping):
        return (Usage(model, priced=False),)
    tokens = [
        told.get(name, told.get(other)) for name, other in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    ]
    asked, said = (one if isinstance(one, int) and one >= 0 else 0 for one in tokens)
    usd = told.get("usd")
    priced = isinstance(usd, int | float) and 0 <= usd < math.inf and bool(told.get("priced", True))
    return (Usage(model, asked, said, float(usd or 0.0) if priced else 0.0, bool(told.get("simulated", False)), priced=priced),)
