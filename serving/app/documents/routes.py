"""Routes for documents."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from serving.app.core.openapi import problem_responses
from serving.app.core.service import request_caller, service_of
from serving.app.documents.service import MOST_TEXT, DocumentService
from serving.app.documents.upload import received
from serving.app.documents.wire import CURSOR, DocumentOut, DocumentsOut, DocumentTextOut
from serving.app.query.jsontext import json_response
from serving.keys import Caller

BODY_PATHS = frozenset[str]()  # an upload is read by its route: it is no body to be held in memory
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "txt, md, html, pdf or docx, as its name says"},
                        "title": {"type": "string", "maxLength": 300, "description": "default: what the file says, or its name"},
                        "domain": {"type": "string", "maxLength": 64, "description": "one of the key's; default: the only one, or general"},
                        "groups": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 200},
                            "maxItems": 64,
                            "description": "who may read it, of the key's groups; default: these; empty: everyone of the tenant",
                        },
                        "version": {"type": "string", "maxLength": 64},
                        "status": {"type": "string", "maxLength": 64, "description": "current, draft, superseded, …"},
                        "metadata": {"type": "string", "description": "a JSON object of texts, to filter questions by"},
                    },
                }
            }
        },
    }
}
DocumentId = Annotated[str, Path(min_length=1, max_length=1000)]
Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]
Cursor = Annotated[str, Query(max_length=5600, pattern=CURSOR, description="only older ones: the `next` of the page before")]
Words = Annotated[str, Query(max_length=200, description="in the title or the name")]
Start = Annotated[int, Query(ge=0, le=2**31, description="the first character")]
End = Annotated[int | None, Query(ge=0, le=2**31, description=f"behind the last one; at most {MOST_TEXT} at a time")]

router = APIRouter(prefix="/v1", tags=["documents"])
READ_RESPONSES = problem_responses(401, 403, 404, 422, 429)


@router.post(
    "/documents",
    status_code=202,
    response_model=DocumentOut,
    responses={200: {"model": DocumentOut, "description": "It was there already"}, **problem_responses(401, 403, 409, 413, 415, 422, 429)},
    openapi_extra=FORM,
)
async def upload(request: Request) -> Response:
    """Add a document: it is read and indexed beside the answers, and can be found in a few seconds."""
    service, caller = service_of(request), request_caller(request)
    settings = service.settings
    async with (
        service.uploads.slot(caller.tenant),
        received(request.headers, request.receive, most=settings.max_upload_bytes, timeout_s=settings.upload_timeout_s) as file,
    ):
        document = await _documents(request).add(file, caller)
    return json_response(document, 200 if document.duplicate else 202)


@router.get("/documents", response_model=DocumentsOut, responses=READ_RESPONSES)
async def documents(request: Request, limit: Limit = 50, cursor: Cursor = "", q: Words = "") -> Response:
    """The documents that were added and that the caller may read, the newest first; a key that may only ingest sees its own."""
    caller = request_caller(request)
    found = await _documents(request).find(caller, words=q, cursor=cursor, limit=limit, own=not _may_query(caller))
    return json_response(found)


@router.get("/documents/{ident:path}/text", response_model=DocumentTextOut, responses=READ_RESPONSES)
async def text(request: Request, ident: DocumentId, start: Start = 0, end: End = None) -> Response:
    """The text of a document, or a part of it by the offsets that citations have; of the release's own corpus too."""
    caller = request_caller(request)
    if not _may_query(caller):
        await _documents(request).get(ident, caller, own=True)
    return json_response(await _documents(request).text(ident, caller, start, end))


@router.get("/documents/{ident:path}", response_model=DocumentOut, responses=READ_RESPONSES)
async def document(request: Request, ident: DocumentId) -> Response:
    """A document, and how far it is on its way to be found."""
    caller = request_caller(request)
    return json_response(await _documents(request).get(ident, caller, own=not _may_query(caller)))


@router.delete("/documents/{ident:path}", status_code=204, response_class=Response, responses=READ_RESPONSES)
async def delete(request: Request, ident: DocumentId) -> Response:
    """Remove a document, with cached answers that were written from it and its words in traces; another's only as an administrator."""
    await _documents(request).delete(ident, request_caller(request))
    return Response(status_code=204)


def _documents(request: Request) -> DocumentService:
    return service_of(request).library


def _may_query(caller: Caller) -> bool:
    return not caller.scopes.isdisjoint({"query", "admin"})
