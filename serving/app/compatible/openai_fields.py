"""What chat completions and responses share: citations as annotations, our extra fields, server-sent events."""

import re
from typing import Any, Final
from urllib.parse import quote

from serving.app.query.jsontext import json_text
from serving.app.query.wire import AnswerOut, CitationOut

MODEL: Final = "touchstone"
MARKER: Final = re.compile(r"\[(\d{1,4})\]")


def url_citations(answer: AnswerOut) -> list[dict[str, Any]]:
    """The citations of an answer as OpenAI's annotations: a range of the answer with an address and a title."""
    cited = {citation.marker: citation for citation in answer.citations}
    return [
        {
            "start_index": match.start(),
            "end_index": match.end(),
            "url": address_of(cited[int(match[1])]),
            "title": title_of(cited[int(match[1])]),
        }
        for match in MARKER.finditer(answer.answer)
        if int(match[1]) in cited
    ]


def extra_fields(answer: AnswerOut) -> dict[str, Any]:
    """The fields of our own answer that OpenAI's have no place for."""
    shown = ("question", "citations", "refused", "degraded", "warnings", "cached", "usage", "milliseconds", "release", "role", "trace_id")
    return {name: value for name, value in answer.model_dump(mode="json").items() if name in shown}


def data_event(value: dict[str, Any]) -> bytes:
    """A server-sent event with JSON data."""
    return b"data: %s\n\n" % json_text(value)


def title_of(citation: CitationOut) -> str:
    """A document's title, with its status unless it is current: these clients show nothing else of it."""
    return citation.title if citation.status in ("", "current") else f"{citation.title} ({citation.status})"


def address_of(citation: CitationOut) -> str:
    """The address at which the cited characters can be read."""
    return f"/v1/documents/{quote(citation.document, safe='/')}/text?start={citation.start}&end={citation.end}"
