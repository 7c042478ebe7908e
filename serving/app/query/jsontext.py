"""JSON as it is sent: no character in it is a line break for any client, and whatever a model wrote can be encoded."""

import json
from typing import Any, Final

from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.responses import Response

_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}  # JSON escapes the others itself


def json_response(value: BaseModel | dict[str, Any], status: int = 200, background: BackgroundTask | None = None) -> Response:
    """A message as the body of a response."""
    return Response(json_text(value), status, media_type="application/json", background=background)


def json_text(value: BaseModel | dict[str, Any]) -> bytes:
    """A message as JSON in one line; half of a surrogate pair, which UTF-8 has no form for, becomes a question mark."""
    data = value if isinstance(value, dict) else value.model_dump()
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if not text.isascii():
        text = text.translate(_BREAKS)
    return text.encode(errors="replace")
