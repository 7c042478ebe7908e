"""The Model Context Protocol over HTTP: agents ask and search with the tools `ask` and `search`, which change nothing.

The same keys, scopes, limits and permissions hold as for /v1/query; each request stands alone, so that any replica answers it.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.app.core.problems import Rejected, not_found, problem_of
from serving.app.core.wire import Wire
from serving.app.query.service import QueryService
from serving.app.query.wire import AnswerOut, QueryIn, RetrievedOut

PATH: Final = "/v1/mcp"
HARMLESS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ABOUT = "Questions about the documents of this service, answered from them alone, with the passages that each statement stands on."
TOOLS: Final = (
    Tool(
        name="ask",
        description="Answer a question from the documents the caller may see, with citations. Says so where they hold no answer.",
        input_schema=QueryIn.model_json_schema(),
        output_schema=AnswerOut.model_json_schema(),
        annotations=HARMLESS,
    ),
    Tool(
        name="search",
        description="Find the passages for a question in the documents the caller may see, the best first, without an answer.",
        input_schema=QueryIn.model_json_schema(),
        output_schema=RetrievedOut.model_json_schema(),
        annotations=HARMLESS,
    ),
)


class McpEndpoint:
    """The endpoint; `run` of its manager has to surround the serving."""

    def __init__(self, version: str, most_bytes: int) -> None:
        server: Server[Any] = Server("touchstone", instructions=ABOUT, version=version, on_list_tools=_list_tools, on_call_tool=_call_tool)
        self.manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True, max_request_body_size=most_bytes)

    @property
    def route(self) -> Route:
        """Where it is."""
        return Route(PATH, endpoint=self, methods=["GET", "POST", "DELETE"], include_in_schema=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the protocol."""
        await self.manager.handle_request(scope, receive, send)


async def _list_tools(context: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=list(TOOLS))


async def _call_tool(context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
    """The tool's result, or an error that the model can read: a tool that fails is no failure of the protocol."""
    request = context.request
    assert isinstance(request, Request)
    try:
        result = await _result(params.name, params.arguments or {}, request)
    except Exception as error:  # noqa: BLE001 — becomes a problem, without internal details
        request.state.error = None if isinstance(error, (Rejected, ValidationError)) else error
        return _failed(_words(error))
    data = result.model_dump(mode="json")
    return CallToolResult(content=[TextContent(text=json.dumps(data, ensure_ascii=False))], structured_content=data)


async def _result(name: str, arguments: Mapping[str, Any], request: Request) -> Wire:
    asked = QueryService.of(request, QueryIn.model_validate(arguments))
    match name:
        case "ask":
            return await asked.answer()
        case "search":
            return RetrievedOut.of(await asked.search())
        case _:
            raise not_found(f"There is no tool {name!r}. There are: {', '.join(tool.name for tool in TOOLS)}.")


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
    return problem_of(error).detail


def _failed(words: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=words)], is_error=True)
