"""A browser at the pages of a running server, and everything that it complains of."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from tests.app.real import Listening
from tests.support.waiting import WITHIN_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--no-first-run", "--disable-sync", "--disable-extensions", "--disable-features=OptimizationHints,MediaRouter",
)  # fmt: skip
CHECKS = Path(__file__).with_name("checks.js").read_text(encoding="utf-8")
DESKTOP, PHONE = (1400, 900), (390, 844)
PATIENCE_MS = 1000 * WITHIN_S
WATCH = """
addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI}`));
"""
ANSWERED = "Failed to load resource: the server responded"  # a status that the page tells in its own words


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser of this machine, without a network of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET), timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visit:
    """A page of a server in a tab of its own."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str = "/") -> None:
        await self.page.goto(self.url + path)

    async def ask(self, question: str) -> None:
        """Ask, and wait for the whole answer."""
        await self.page.get_by_label("Your question").fill(question)
        await self.page.keyboard.press("Enter")
        await self.answered()

    async def answered(self) -> None:
        await self.page.wait_for_selector(".turn:last-child .facts, .turn:last-child .note.bad")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(ANSWERED):
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.complaints.append(f"asked {request.url}")

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        self.page.on("request", self._request)


@asynccontextmanager
async def visiting(browser: Browser, server: Listening, *, size: tuple[int, int] = DESKTOP, **context: Any) -> AsyncIterator[Visit]:
    """A new tab; it fails on a violated policy, a script's error, or a request to anywhere else."""
    opened = await browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", **context)
    try:
        await opened.add_init_script(WATCH)
        page = await opened.new_page()
        page.set_default_timeout(PATIENCE_MS)
        visit = Visit(page, f"http://127.0.0.1:{server.port}")
        visit.watch()
        yield visit
        assert visit.complaints == [], visit.complaints
    finally:
        await opened.close()


async def check_access(page: Page) -> None:
    """Fail on what the page gets wrong for those who cannot see it, or not well, and where it is wider than its window."""
    found = await page.evaluate(CHECKS)
    assert found == [], found


async def check_unplanted(page: Page) -> None:
    """Fail where a text from elsewhere has become more than text."""
    found = await page.evaluate("[window.planted, document.querySelectorAll('#planted, img[src=\"x\"], script:not([type])').length]")
    assert found == [None, 0], found
