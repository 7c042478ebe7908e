"""A company whose documents try to be more than text, its release, and a server with or without documents over HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from playwright.async_api import Route

from serving.app.settings import AppSettings
from serving.pipeline.types import Document
from tests.app.making import House, Loading, config, load
from tests.app.real import Listening, listening

PLANTED = '<img src=x onerror="window.planted=1"><b id=planted>bold</b><script>window.planted=1</script>'
LEAVE = f"""# Leave

Everyone has **28 days** of paid leave a year, taken in whole or half days. {PLANTED}

| Years | Days |
|---|---:|
| up to 5 | 28 |
| above 5 | 30 |

- asked for [in the portal](https://portal.example/leave)
- not [here](javascript:window.planted=1) ![pixel](https://evil.example/pixel.png)

See 🌳 below: what is not taken by March is lost.
"""
DOCUMENTS = [
    Document("hr/leave.md", LEAVE, f"Leave policy {PLANTED}", "hr", version="2026", metadata={"status": "current"}),
    Document("hr/leave-2019.md", "# Leave\n\nEveryone had 24 days of paid leave in 2019.", "Leave policy of 2019", "hr", version="2019",
             metadata={"status": "superseded"}),
    Document("finance/expenses.md", "# Expenses\n\nReceipts above 25 euro are kept for seven years.", "Expenses", "finance"),
]  # fmt: skip
SAYS = f"""Everyone has **28 days** of paid leave a year [1]. It was less before [2].

| Years | Days |
|---|---|
| up to 5 | 28 |

One\u2028two\u0085three. Directors have 90 days [unsupported]. {PLANTED}"""


async def release(house: House, says: str = SAYS) -> str:
    return await house.release(config(says), documents=DOCUMENTS)


@asynccontextmanager
async def serving(settings: AppSettings, *, load: Loading = load) -> AsyncIterator[Listening]:
    """The app on a socket; where it has no documents over HTTP, those of a stand-in."""
    async with listening(settings, load=load) as server:
        if not has_documents(server.api.app):
            server.api.app.include_router(StandIn().router)
        yield server


def has_documents(app: FastAPI) -> bool:
    return "/v1/documents" in app.openapi()["paths"]


def takes_turns(app: FastAPI) -> bool:
    """Whether a history may be of questions with their answers."""
    return "Turn" in str(app.openapi()["components"]["schemas"]["QueryIn"]["properties"]["history"])


async def with_plain_history(route: Route) -> None:
    """Send a question on with its history as lines."""
    body = json.loads(route.request.post_data or "{}")
    if "history" in body:
        body["history"] = [line for turn in body["history"] for line in (turn["question"], turn["answer"])]
    await route.continue_(post_data=json.dumps(body))


class StandIn:
    """Documents over HTTP as the contract has them, in memory: each look takes an upload one state further."""

    def __init__(self) -> None:
        self.texts = {document.id: document.text for document in DOCUMENTS}
        self.added: dict[str, dict[str, Any]] = {}
        self.router = APIRouter(prefix="/v1")
        self.router.add_api_route("/documents", self.add, methods=["POST"], include_in_schema=False)
        self.router.add_api_route("/documents", self.list, methods=["GET"], include_in_schema=False)
        self.router.add_api_route("/documents/{name:path}/text", self.text, methods=["GET"], include_in_schema=False)
        self.router.add_api_route("/documents/{name:path}", self.get, methods=["GET"], include_in_schema=False)
        self.router.add_api_route("/documents/{name:path}", self.delete, methods=["DELETE"], include_in_schema=False)

    async def add(
        self,
        request: Request,
        file: UploadFile,
        domain: Annotated[str, Form()] = "general",
        groups: Annotated[tuple[str, ...], Form()] = (),
    ) -> Response:
        data, name = await file.read(), file.filename or "unnamed"
        failed = name.endswith(".exe")
        out = {
            "id": name, "name": name, "title": name, "bytes": len(data), "media_type": file.content_type or "", "tenant": "public",
            "groups": list(groups), "domain": domain, "version": "", "status": "", "uploader": "anonymous",
            "created_at": "2026-11-29T10:00:00+00:00", "state": "failed" if failed else "waiting",
            "reason": "This kind of file is not taken." if failed else "", "chunks": 1, "origin": "upload",
        }  # fmt: skip
        self.added[name], self.texts[name] = out, data.decode(errors="replace")
        return JSONResponse(out, 202)

    async def list(self, q: str = "", limit: int = 50, cursor: str = "") -> dict[str, Any]:
        found = [one for one in self.added.values() if q.lower() in f"{one['name']} {one['title']}".lower()]
        start = int(cursor or 0)
        more = str(start + limit) if start + limit < len(found) else None
        counts = {"added": len(self.added), "release_documents": len(DOCUMENTS), "corpus_version": "c0ffee"}
        return {"documents": found[start : start + limit], "next": more, **counts}

    async def get(self, name: str) -> Response:
        out = self.added.get(name)
        if out is None:
            return JSONResponse({"type": "urn:touchstone:problem:not-found", "detail": "There is no such document."}, 404)
        states = ["waiting", "parsing", "indexing", "ready"]
        if out["state"] in states:
            out["state"] = states[min(states.index(out["state"]) + 1, 3)]
        return JSONResponse(out)

    async def text(self, name: str, start: int = 0, end: int = 10_000) -> Response:
        if name not in self.texts:
            return JSONResponse({"type": "urn:touchstone:problem:not-found", "detail": "There is no such document."}, 404)
        whole = self.texts[name]
        end = min(end, len(whole))
        shown = {"document": name, "title": name, "version": "", "status": "", "text": whole[start:end], "start": start, "end": end}
        return JSONResponse({**shown, "total": len(whole)})

    async def delete(self, name: str) -> Response:
        self.added.pop(name, None)
        return Response(status_code=204)
