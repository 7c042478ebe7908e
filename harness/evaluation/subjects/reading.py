"""Reads an app's answer in any of its usual forms: text, a message, a mapping with passages and usage."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from serving.pipeline.answer.cite import parse_citations
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import InfrastructureError
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, StageRecord, Trace, Usage

ANSWERS = ("answer", "output", "result", "output_text", "text", "response")
PASSAGES = ("contexts", "context", "documents", "source_documents", "passages")
DOCUMENT = ("document_id", "document", "source", "file_path", "id")
START = ("start", "start_index")


class BadAnswer(Exception):
    """An app's answer is in no known form: an error of the app, no outage."""


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """An app's answer with its passages and usage, as far as it reports them."""

    answer: Answer
    usage: tuple[Usage, ...]
    hits: tuple[Hit, ...] = ()  # of retrieval
    passages: tuple[Hit, ...] = ()  # behind the answer: all hits, or only the cited ones where it reports no more


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


def trace_of(app_answer: AppAnswer, query: Query, config_digest: str, started_at: str, milliseconds: float) -> Trace:
    """The trace of an answer, with one stage for the whole app."""
    return Trace(
        id=digest_of([config_digest, query.id, query.text, query.principal.id, started_at]),
        query=query,
        config_digest=config_digest,
        index_digest="",
        started_at=started_at,
        stages=(StageRecord("answer", digest_of(query.text), round(milliseconds, 3), {"model": app_answer.answer.model}),),
        hits=app_answer.hits,
        passages=app_answer.passages,
        answer=app_answer.answer,
        usage=app_answer.usage,
        milliseconds=round(milliseconds, 3),
    )


def _answer(text: str, name: str) -> Answer:
    text = _encodable(text)
    return Answer(text, refused=is_refusal(text, ""), model=name)


def _encodable(text: str) -> str:
    """A text that can be written down: half of a character, as a cut JSON escape leaves it, is shown as lost."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _of_mapping(value: Mapping[str, Any], name: str) -> AppAnswer:
    key = next((field for field in ANSWERS if field in value), None)
    if key is None:
        raise BadAnswer(f"its answer has no {ANSWERS[0]!r}; it has {', '.join(map(str, value)) or 'nothing'}")
    if value.get("degraded") is True:  # as our own server says it: to be scored is what a model answers
        raise InfrastructureError(f"{name} gave passages alone, since no model answered it")
    answer = read_answer(value[key], name).answer
    passages_given = next((value[field] for field in PASSAGES if value.get(field) is not None and not isinstance(value[field], str)), None)
    cited = value.get("citations") or ()
    passages = _passages(cited if passages_given is None else passages_given)
    citations = _citations(cited, passages) if passages_given is None else parse_citations(answer.text, passages).citations
    refused = bool(value["refused"]) if "refused" in value else answer.refused
    model = str(value.get("model") or name)
    answer = replace(answer, citations=citations, refused=refused, model=model, truncated=bool(value.get("truncated", False)))
    return AppAnswer(answer, _usage(value.get("usage"), model), () if passages_given is None else passages, passages)


def _passages(given: Any) -> tuple[Hit, ...]:
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise BadAnswer(f"its passages are {type(given).__name__}, not a list")
    return tuple(Hit(_chunk(passage, rank), 1.0 / rank, rank) for rank, passage in enumerate(given, start=1))


def _chunk(passage: Any, rank: int) -> Chunk:
    """A passage: text, a mapping with `text` or `page_content`, or a LangChain Document."""
    if isinstance(passage, str):
        return Chunk(f"#{rank}", "", 0, 0, _encodable(passage))
    content = getattr(passage, "page_content", None)
    facts: Mapping[str, Any]
    if content is None and isinstance(passage, Mapping):
        content = passage.get("text", passage.get("page_content", passage.get("content")))
        facts = {**_metadata(passage.get("metadata"), rank), **passage}
    else:
        facts = _metadata(getattr(passage, "metadata", None), rank)
    if not isinstance(content, str):
        raise BadAnswer(f"its passage {rank} has no text")
    content = _encodable(content)
    document = _encodable(str(next((facts[name] for name in DOCUMENT if facts.get(name)), "")))
    start = next((facts[name] for name in START if isinstance(facts.get(name), int) and facts[name] >= 0), None)
    end = 0 if start is None else facts["end"] if isinstance(facts.get("end"), int) else start + len(content)
    title = _encodable(str(facts.get("title") or ""))
    ident = f"{document}#{start}-{end}" if start is not None else f"{document}#{rank}"
    return Chunk(ident, document, start or 0, end, content, title=title, heading=_encodable(str(facts.get("heading") or "")))


def _metadata(given: Any, rank: int) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise BadAnswer(f"the metadata of its passage {rank} are {type(given).__name__}, not a mapping")
    return given or {}


def _citations(cited: Any, passages: tuple[Hit, ...]) -> tuple[Citation, ...]:
    markers = [citation.get("marker") if isinstance(citation, Mapping) else None for citation in cited]
    return tuple(
        Citation(marker if isinstance(marker, int) else rank, hit.chunk.id, hit.chunk.span)
        for rank, (marker, hit) in enumerate(zip(markers, passages, strict=True), start=1)
    )


def _usage(reported: Any, model: str) -> tuple[Usage, ...]:
    """Tokens and dollars as the app reports them; unknown, not zero, where it reports none."""
    if not isinstance(reported, Mapping):
        return (Usage(model, priced=False),)
    names = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    counts = [reported.get(name, reported.get(other)) for name, other in names]
    input_tokens, output_tokens = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
    usd = reported.get("usd")
    priced = isinstance(usd, int | float) and 0 <= usd < math.inf and bool(reported.get("priced", True))
    simulated = bool(reported.get("simulated", False))
    return (Usage(model, input_tokens, output_tokens, float(usd or 0.0) if priced else 0.0, simulated, priced=priced),)
