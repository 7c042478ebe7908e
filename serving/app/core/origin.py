"""Rejects cross-site requests of browsers on a server without keys (CSRF, DNS rebinding)."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.app.core.auth import PROTECTED
from serving.app.core.problems import Rejected, cross_site, foreign_host

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OWN: Final = frozenset({"same-origin", "none"})  # Sec-Fetch-Site: of our own page, typed by hand


class SameOrigin:
    """Middleware for a server without keys, which a browser on this machine can reach for any page it shows.

    A host name with a dot may be another site's that resolves to this machine; an address, `localhost` or a one-word name cannot.
    """

    def __init__(self, app: ASGIApp, *, keyless: bool) -> None:
        self._app = app
        self._keyless = keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request that no other site's page has sent."""
        if self._keyless and scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            headers = Headers(scope=scope)
            try:
                check_host(headers)
                if scope["method"] not in SAFE:
                    check_origin(headers)
            except Rejected as error:
                await error.problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_host(headers: Headers) -> None:
    """Refuse a name that somebody else may have bound to this machine's address."""
    host = headers.get("host", "")
    if host.startswith("["):  # an IPv6 address
        return
    name = host.partition(":")[0].rstrip(".").lower()
    if "." not in name or name.endswith(".localhost"):
        return
    try:
        ip_address(name)
    except ValueError:
        raise foreign_host() from None


def check_origin(headers: Headers) -> None:
    """Refuse what a browser says comes from another site's page; a proxy may have changed the host, so that its own word goes first."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin", "")
    foreign = site not in OWN if site is not None else origin and _netloc(origin) != headers.get("host", "")
    if foreign:
        raise cross_site()


def _netloc(origin: str) -> str:
    """Host and port of an origin; nothing of one that is none ("null")."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
