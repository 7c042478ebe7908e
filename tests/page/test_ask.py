"""Asking in a real browser."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Page, Route

from serving.app.documents.service import MOST_TEXT
from serving.keys import Caller, create_key
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.types import Query
from tests.app.making import House, interrupted
from tests.app.real import listening
from tests.page.browsing import DESKTOP, PHONE, Visit, check_access, check_unplanted, visiting
from tests.page.site import PLANTED
from tests.support.waiting import WITHIN_S, eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
LEAVE = "How many days of paid leave does everyone have?"


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.localName"))


async def test_a_question_is_answered_cited_judged_and_followed_up_and_text_stays_text(company: House, browser: Browser) -> None:
    async with listening(company.settings()) as server, visiting(browser, server) as visit:
        page = visit.page
        await visit.go()
        await visit.ask(LEAVE)
        answer = page.locator(".turn:last-child .answer")
        assert await answer.locator("strong").first.inner_text() == "28 days"
        assert await answer.locator("table td").all_inner_texts() == ["up to 5", "28"]
        assert "One\u2028two\u0085three" in await answer.evaluate("element => element.textContent")
        assert PLANTED in await answer.evaluate("element => element.textContent")
        assert await answer.locator(".unsupported").count() == 1
        facts = await page.locator(".facts").inner_text()
        assert "local:echo" in facts
        assert "simulated" in facts

        markers = {await one.get_attribute("aria-label"): one for one in await page.locator(".answer .cite").all()}
        leave = next(one for name, one in markers.items() if name and "hr/leave" not in name and "<img" in name)
        await leave.click()
        await page.wait_for_selector("#cited")
        assert await focused(page) == "source-title"
        marked = "".join(await page.locator("#source mark").all_inner_texts())
        assert "28 days" in marked
        panel = page.locator("#source")
        links = [await link.get_attribute("href") for link in await panel.locator(".text a").all()]
        assert links == ["https://portal.example/leave"]
        assert await panel.locator("table td").first.inner_text() == "up to 5"
        await panel.get_by_text("Show as plain text").click()
        assert PLANTED in await panel.locator(".plain").evaluate("element => element.textContent")
        await check_access(page)
        await check_unplanted(page)
        await page.keyboard.press("Escape")
        assert await panel.is_hidden()
        assert await leave.evaluate("element => element === document.activeElement")

        await page.get_by_label("Bad answer").click()
        await page.get_by_label("What would have been right?").fill(f"It is 30 days. {PLANTED}")
        await page.get_by_role("button", name="Send").click()
        await page.wait_for_selector("text=Kept for those")
        async with page.expect_request("**/v1/query/stream") as sent:
            await visit.ask("And for directors?")
        body = json.loads((await sent.value).post_data or "")
        assert LEAVE in str(body["history"])
        assert "Everyone has **28 days**" in str(body["history"])
        assert body["session"]
        store = server.api.app.state.service.traces.store

        def kept() -> dict[tuple[str, float | None], str]:
            return {(one.kind, one.value): one.text for one in store.recent_feedback("public", 0.0, 20)}

        await eventually(lambda: {("thumbs", -1.0), ("correction", None)} <= set(kept()))
        await eventually(lambda: any(kind == "click" for kind, _ in kept()))
        assert kept()["correction", None].startswith("It is 30 days.")

        await page.reload()
        assert await page.locator(".turn").count() == 2
        await check_unplanted(page)
        await page.locator(".turn").last.get_by_role("button", name="Ask again").click()
        await page.locator(".turn:nth-child(3) .facts").wait_for()
        assert "Answer complete." in await page.locator("#live").inner_text()
        await page.evaluate("performance.now = () => 0")  # it is left before it could be read, however busy this machine is
        async with page.expect_response(lambda response: "abandon" in (response.request.post_data or "")) as left:
            await page.get_by_text("New conversation").click()
        assert (await left.value).status == 200
        assert await page.locator(".turn").count() == 0
        await page.reload()
        assert await page.locator(".turn").count() == 0
        await eventually(lambda: {"regenerate", "abandon"} <= {kind for kind, _ in kept()})


async def test_what_an_answer_should_warn_of_is_said_in_words(company: House, browser: Browser) -> None:
    citation: dict[str, Any] = {
        "marker": 1,
        "document": "old/../x",
        "title": PLANTED,
        "heading": PLANTED,
        "start": 0,
        "end": 5,
        "text": PLANTED,
    }
    citation |= {"support": 0.2, "version": "2019", "status": "superseded", "snippet": PLANTED}
    answer = {
        "answer": f"[1] {PLANTED}", "citations": [citation],
        "confidence": 0.31, "warnings": [f"Not supported: {PLANTED}"], "refused": False, "truncated": True, "cached": True,
        "degraded": True,
        "cache": {"kind": "semantic", "similarity": 0.97, "age_s": 5.0, "trace_id": "t0"}, "model": PLANTED, "question": f"Meant {PLANTED}",
        "route": {"tier": "lite", "reason": PLANTED}, "milliseconds": 12.0, "release": "c" * 16, "role": "canary", "trace_id": "t1",
        "usage": {"input_tokens": 1, "output_tokens": 1, "usd": 0.5, "simulated": False, "priced": False},
    }  # fmt: skip

    async def stream(route: Route) -> None:
        data = "".join(f"event: {name}\ndata: {json.dumps(body)}\n\n" for name, body in (("token", {"text": "x"}), ("answer", answer)))
        await route.fulfill(status=200, content_type="text/event-stream", body=data)

    async with listening(company.settings()) as server, visiting(browser, server) as visit:
        await visit.page.route("**/v1/query/stream", stream)
        await visit.go()
        await visit.ask(f"What is this? {PLANTED}")
        shown = await visit.page.locator(".turn").inner_text()
        for words in (
            "passages only", "was cut off", "Not supported:", "replaced by a newer version", "may not support this",
            "superseded",
            "Understood as: Meant", "31 %", "semantic, 97 % alike", "canary", "$0.500 or more",
        ):  # fmt: skip
            assert words in shown, words
        await visit.page.locator(".answer .cite").click()
        await visit.page.wait_for_selector("#source .note >> text=Only the cited passage")  # of a name that would be another address
        assert PLANTED in await visit.page.locator("#source .prose").evaluate("element => element.textContent")
        await check_access(visit.page)
        await check_unplanted(visit.page)


async def test_an_answer_can_be_stopped_and_a_failure_is_told_in_plain_words(company: House, browser: Browser) -> None:
    given_up = asyncio.Event()

    async def slow(query: Query, emit: Emit | None) -> None:
        if query.text.startswith("Never"):
            assert emit is not None
            emit("Thinking about it. ")
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
        if query.text.startswith("Fail"):
            raise TimeoutError

    async with listening(company.settings(), load=interrupted(slow)) as server, visiting(browser, server) as visit:
        page = visit.page
        await visit.go()
        await page.get_by_label("Your question").fill("Never answered?")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=Thinking about it.")
        assert await page.locator(".answer").get_attribute("aria-busy") == "true"
        assert "Answering." in await page.locator("#live").inner_text()
        await page.get_by_role("button", name="Stop").click()
        await page.wait_for_selector("text=Stopped.")
        await asyncio.wait_for(given_up.wait(), WITHIN_S)
        assert await focused(page) == "question"
        await visit.ask("Fail, please?")
        assert "took too long" in await page.locator(".turn:last-child").inner_text()
        await page.route("**/v1/query/stream", lambda route: route.abort())
        await visit.ask("Anybody?")
        assert "cannot be reached" in await page.locator(".turn:last-child .note.bad").inner_text()
        visit.complaints[:] = [one for one in visit.complaints if "net::ERR_FAILED" not in one]


async def test_a_long_document_is_read_to_its_end_and_back_without_losing_the_place(company: House, browser: Browser) -> None:
    words = "".join(f"Line {number} of a long book.\n" for number in range(12_000))

    async def text(route: Route) -> None:
        asked = {name: int(value) for name, (value,) in parse_qs(urlsplit(route.request.url).query).items()}
        start, end = asked["start"], min(asked["end"], len(words), asked["start"] + MOST_TEXT)
        shown = {"document": "book.txt", "title": "Book", "version": "", "status": "", "text": words[start:end], "start": start, "end": end}
        await route.fulfill(status=200, content_type="application/json", body=json.dumps(shown | {"total": len(words)}))

    assert len(words) > MOST_TEXT
    async with listening(company.settings()) as server, visiting(browser, server) as visit:
        page = visit.page
        await page.route("**/text?*", text)
        await visit.go()
        await visit.ask(LEAVE)
        await page.locator(".answer .cite").first.click()
        await page.wait_for_selector("#cited")
        panel = page.locator("#source .text")
        for label, last in (("Show what follows", "Line 11999 of"), ("Show what stands before", "Line 0 of")):
            button = panel.get_by_role("button", name=label)
            for _ in range(12):
                before = await panel.inner_text()
                await button.click()
                await page.wait_for_function("([panel, before]) => panel.innerText !== before", arg=[await panel.element_handle(), before])
                assert await focused(page) == "text"
                if not await button.count():
                    break
            assert last in await panel.inner_text()
            assert len(await panel.inner_text()) <= MOST_TEXT


async def test_a_key_is_asked_for_kept_in_this_tab_and_forgotten_on_request(company: House, browser: Browser, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.yaml", Caller(id="ann"))
    settings = company.settings(api_keys=tmp_path / "keys.yaml", traces=str(tmp_path / "t.db"))
    async with listening(settings) as server, visiting(browser, server) as visit:
        page = visit.page
        await visit.go()
        await page.get_by_label("Your question").fill(LEAVE)
        await page.keyboard.press("Enter")
        for given, said in (("wrong", "wants to know who asks"), (key, "not valid here")):
            dialog = page.get_by_role("dialog", name="API key")
            await dialog.get_by_text(said).wait_for()
            await check_access(page)
            await dialog.get_by_label("Key").fill(given)
            await page.keyboard.press("Enter")
        await visit.answered()
        assert await page.locator(".facts").count() == 1
        kept = await page.evaluate("[sessionStorage.getItem('touchstone.key'), localStorage.length, document.cookie, location.href]")
        assert kept == [key, 0, "", f"{visit.url}/"]
        await page.get_by_role("button", name="API key set").click()
        await page.get_by_label("Key", exact=True).fill("")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="API key", exact=True).wait_for()
        assert await page.evaluate("sessionStorage.getItem('touchstone.key')") is None


async def test_the_page_works_by_the_keyboard_alone_and_holds_nobody(company: House, browser: Browser) -> None:
    async with listening(company.settings(examples=f"{LEAVE}|Other?")) as server, visiting(browser, server) as visit:
        page = visit.page
        await visit.go()
        await page.wait_for_selector(".examples button")
        await _tab_to(page, "skip", backwards=True)
        await page.keyboard.press("Enter")
        assert await focused(page) == "question"
        await page.keyboard.type("First line")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type(LEAVE)
        await page.keyboard.press("Enter")
        await visit.answered()
        assert await page.locator(".turn h2").inner_text() == f"First line\n{LEAVE}"
        await _tab_to(page, "cite", backwards=True)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#cited")
        assert await focused(page) == "source-title"
        await page.keyboard.press("Shift+Tab")
        assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Close the source"
        await page.keyboard.press("Enter")
        assert await focused(page) == "cite"
        around = [await focused(page)]
        for _ in range(60):
            await page.keyboard.press("Tab")
            around.append(await focused(page))
        assert {"question", "send", "clear", "brand", "key"} <= set(around)
        visible = await page.evaluate(
            "(() => { document.getElementById('send').focus(); return getComputedStyle(document.activeElement).outlineStyle })()"
        )
        assert visible == "solid"


async def _tab_to(page: Page, name: str, *, backwards: bool = False) -> None:
    for _ in range(40):
        await page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if await focused(page) == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_page_is_readable_named_and_no_wider_than_its_window(
    company: House, browser: Browser, scheme: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    settings = company.settings(examples="How long?|" + "w" * 300, usd_per_day=1.0, traces=str(tmp_path / "t.db"))
    async with listening(settings) as server, visiting(browser, server, size=size, color_scheme=scheme) as visit:
        page = visit.page
        await visit.go()
        await page.wait_for_selector(".examples button")
        await check_access(page)
        await visit.ask("w" * 300)
        await page.get_by_label("Bad answer").click()
        await page.wait_for_selector(".correction")
        await check_access(page)
        await page.locator(".cite").first.click()
        await page.wait_for_selector("#cited")
        await check_access(page)
        await _documents(visit)
        await check_access(page)
        await visit.go("/admin/dashboard")
        await page.wait_for_selector("#replica-body table")
        await page.wait_for_selector(".plot svg text")
        await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        await check_access(page)
        await page.get_by_role("button", name="wwww").first.click()
        await page.wait_for_selector("dialog h3")
        await check_access(page)
        await page.keyboard.press("Escape")
        assert await page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches")


async def _documents(visit: Visit) -> None:
    await visit.go("/documents")
    await visit.page.wait_for_selector("#corpus:not(:empty)")
    await visit.page.set_input_files("#files", [{"name": "w" * 200 + ".exe", "mimeType": "text/plain", "buffer": b"no"}])
    await visit.page.wait_for_selector("#queue .chip.bad")
