"""Requests a minute: of each key, in a window that moves."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.app.core.problems import too_often
from serving.keys import Caller


class RateLimit:
    """Middleware that turns away what comes too often, before its body is read; a key's own limit goes before that of all."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app = app
        self._per_minute = per_minute  # of a caller whose key names none; 0: no limit
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request that is within its caller's limit."""
        caller: Caller | None = scope["state"].get("caller") if scope["type"] == "http" else None
        allowed = caller.per_minute or self._per_minute if caller else 0
        if caller is not None and allowed:
            limit = RateLimitItemPerMinute(allowed)
            who = f"{caller.tenant}\0{caller.id}"
            if not await self._limiter.hit(limit, who):
                window = await self._limiter.get_window_stats(limit, who)
                await too_often(allowed, max(1, math.ceil(window.reset_time - time.time()))).problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
