"""The pages and what they are made of: plain HTML, CSS and ES modules, read once, under a policy that lets nothing else run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.app.core.problems import not_found

HERE: Final = Path(__file__).parent
PAGES: Final = {"/": "ask.html", "/documents": "documents.html", "/admin/dashboard": "dashboard.html"}
KINDS: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"  # an address that holds the digest of its content
ASK_AGAIN: Final = "no-cache"


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is sent."""

    data: bytes
    kind: str

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'


@dataclass(frozen=True, slots=True)
class Site:
    """Every page by its path, and every asset by its name below an address that changes with any of them."""

    digest: str
    pages: dict[str, PageFile]
    assets: dict[str, PageFile]


def read_site(folder: Path = HERE) -> Site:
    """The files of a folder; pages name assets as `{assets}/name`."""
    assets = {path.name: PageFile(path.read_bytes(), KINDS[path.suffix]) for path in sorted((folder / "assets").iterdir())}
    digest = hashlib.sha256(b"".join(f"{name}\0{file.etag}\0".encode() for name, file in assets.items())).hexdigest()[:16]
    pages = {}
    for path, name in PAGES.items():
        text = (folder / "pages" / name).read_text(encoding="utf-8").replace("{assets}", f"/assets/{digest}")
        pages[path] = PageFile(text.encode(), "text/html; charset=utf-8")
    return Site(digest, pages, assets)


def page_router(site: Site | None = None) -> APIRouter:
    """The routes of pages and assets; they hold no data, and ask for it under the caller's own key."""
    found = site or read_site()
    router = APIRouter(include_in_schema=False)

    async def page(request: Request) -> Response:
        return _sent(request, found.pages[request.url.path], ASK_AGAIN)

    for path in found.pages:
        router.add_api_route(path, page, methods=["GET"])

    @router.get("/assets/{digest}/{name}")
    async def asset(request: Request, digest: str, name: str) -> Response:
        file = found.assets.get(name)
        if file is None:
            raise not_found("There is nothing at this address.")
        # while servers are replaced, a page of one may ask another: it gets what there is, and keeps it for no other time
        return _sent(request, file, FOR_EVER if digest == found.digest else ASK_AGAIN)

    return router


def _sent(request: Request, file: PageFile, caching: str) -> Response:
    headers = {**HEADERS, "Cache-Control": caching, "ETag": file.etag}
    if file.etag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(file.data, headers=headers | {"Content-Type": file.kind})
