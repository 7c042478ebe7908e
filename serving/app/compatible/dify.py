"""Dify's external knowledge API: its applications search our documents.

The endpoint to give Dify is `https://…/v1/dify`; it appends `/retrieval`.
"""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints

from serving.app.compatible.lenient import LenientModel
from serving.app.core.openapi import json_body, problem_responses
from serving.app.core.wire import Name, Wire
from serving.app.query.body import read_body
from serving.app.query.jsontext import json_response
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.wire import QueryIn
from serving.pipeline.types import Hit, Trace

BODY_PATHS = frozenset({"/v1/dify/retrieval"})
EVERYTHING = "all"  # the knowledge id that stands for every domain

router = APIRouter(prefix="/v1/dify", tags=["compatible"])


class DifySetting(LenientModel):
    """How much is wanted."""

    top_k: int = Field(default=5, ge=1, le=100, strict=True)
    score_threshold: float = Field(default=0.0, ge=0.0, le=1.0, strict=True)


class DifyIn(LenientModel):
    """Dify's question."""

    knowledge_id: Name = Field(description="a domain of the documents, or 'all'")
    query: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=20_000, json_schema_extra={"pattern": r"\S"}
    )
    retrieval_setting: DifySetting = DifySetting()


class DifyRecord(Wire):
    """A passage as Dify takes it."""

    content: str
    score: float = Field(description="between 0 and 1: of the best passage 1")
    title: str
    metadata: dict[str, Any]


class DifyOut(Wire):
    """What was found."""

    records: tuple[DifyRecord, ...]

    @classmethod
    def of(cls, trace: Trace, setting: DifySetting) -> Self:
        """The wanted passages; scores have no common scale, so they are shares of the best one's."""
        best = max((hit.score for hit in trace.hits), default=0.0)
        records = [_record(hit, hit.score / best if best > 0.0 else 1.0 / hit.rank) for hit in trace.hits]
        wanted = [record for record in records if record.score >= setting.score_threshold]
        return cls(records=tuple(wanted[: setting.top_k]))


QUESTION_RESPONSES = problem_responses(401, 403, 413, 415, 422, 429, 504)


@router.post("/retrieval", response_model=DifyOut, responses=QUESTION_RESPONSES, openapi_extra=json_body(DifyIn))
async def retrieval(request: Request) -> Response:
    """Find passages for a Dify application."""
    body = read_body(request, DifyIn)
    domains = () if body.knowledge_id == EVERYTHING else (body.knowledge_id,)
    asked = QueryIn.model_construct(question=body.query, domains=domains, metadata={}, history=(), session=None)
    trace = await cancel_on_disconnect(request.receive, QueryService.of(request, asked).search())
    return json_response(DifyOut.of(trace, body.retrieval_setting))


def _record(hit: Hit, score: float) -> DifyRecord:
    chunk = hit.chunk
    metadata = {"document": chunk.document_id, "start": chunk.start, "end": chunk.end, "heading": chunk.heading, "version": chunk.version}
    share = round(min(max(score, 0.0), 1.0), 6)
    return DifyRecord(content=chunk.text, score=share, title=chunk.title or chunk.document_id, metadata={**metadata, **chunk.metadata})
