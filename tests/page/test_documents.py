"""Documents in a real browser."""

import json

import pytest
from playwright.async_api import Browser

from tests.app.making import House
from tests.app.real import listening
from tests.page.browsing import PHONE, check_access, check_unplanted, visiting
from tests.page.site import PLANTED

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
PETS = b"# Pets\n\nDogs are welcome in the office on Fridays, cats on Mondays."
HOSTILE_NAME = "<img src=x onerror='window.planted=1'>.md"
DROP = """
([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type: "text/markdown" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true }));
  const over = document.getElementById("drop").classList.contains("over");
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  return over;
}
"""


async def test_files_are_dropped_sent_followed_found_and_deleted(house: House, browser: Browser) -> None:
    async with listening(house.settings()) as server, visiting(browser, server) as visit:
        page = visit.page
        await visit.go("/documents")
        await page.wait_for_selector("#corpus:not(:empty)")
        assert "3 documents in the release" in await page.locator("#corpus").inner_text()
        assert "none added since this release was proven" in await page.locator("#corpus").inner_text()
        await page.locator("summary").click()
        await page.get_by_label("Domain").fill("hr")
        await page.get_by_label("Who may read them", exact=True).select_option("these groups …")
        assert await page.evaluate(DROP, ["early.md", PETS.decode()])
        await page.get_by_text("Name the groups").first.wait_for()
        assert await page.locator("#queue li").count() == 0
        await page.get_by_label("Who may read them", exact=True).select_option("everyone of my tenant")
        assert await page.evaluate(DROP, [HOSTILE_NAME, PETS.decode()])
        await page.locator("#queue .chip", has_text="ready").wait_for()
        assert HOSTILE_NAME in await page.locator("#queue").inner_text()
        await page.locator("#rows tr", has_text="onerror='window.planted=1'").locator(".chip", has_text="ready").wait_for()
        await page.locator("#corpus", has_text="1 document added since this release was proven").wait_for()
        await page.locator("#live", has_text="ready").wait_for(state="attached")
        await check_access(page)
        await check_unplanted(page)

        await page.set_input_files("#files", [{"name": "setup.exe", "mimeType": "application/octet-stream", "buffer": b"MZ\x00\x01"}])
        failed = page.locator("#queue li", has_text="setup.exe")
        await failed.locator(".chip", has_text="failed").wait_for()
        assert len(await failed.locator(".why").inner_text()) > 10

        await page.get_by_label("Search documents").fill("onerror='window")
        await page.locator("#rows tr:only-child").wait_for()
        row = page.locator("#rows tr")
        await row.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert await row.count() == 1
        await row.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
        await page.get_by_text("No added document is called that.").wait_for()
        await page.wait_for_function("() => document.activeElement.id === 'list-title'")
        await check_unplanted(page)


async def test_what_is_uploaded_answers_the_next_question(house: House, browser: Browser) -> None:
    async with listening(house.settings()) as server, visiting(browser, server, size=PHONE) as visit:
        page = visit.page
        await visit.go("/documents")
        await page.set_input_files("#files", [{"name": "pets.md", "mimeType": "text/markdown", "buffer": PETS}])
        await page.locator("#queue .chip", has_text="ready").wait_for()
        await page.get_by_role("link", name="Ask").click()
        await page.wait_for_url(f"{visit.url}/")  # whole: Enter before its script runs only begins a line
        await visit.ask("When are dogs welcome in the office?")
        names = [await one.get_attribute("aria-label") for one in await page.locator(".answer .cite").all()]
        pets = next(at for at, name in enumerate(names) if name and "pets" in name.lower())
        await page.locator(".answer .cite").nth(pets).click()
        await page.wait_for_selector("#cited")
        assert "Dogs are welcome" in "".join(await page.locator("#source mark").all_inner_texts())


async def test_what_documents_call_themselves_stays_text_and_their_pages_follow_each_other(company: House, browser: Browser) -> None:
    async with listening(company.settings()) as server, visiting(browser, server) as visit:
        page = visit.page
        one = {
            "id": "../admin", "name": PLANTED, "title": PLANTED, "bytes": 1, "tenant": PLANTED, "groups": [PLANTED], "domain": PLANTED,
            "version": PLANTED, "status": PLANTED, "uploader": '" onmouseover="window.planted=1', "created_at": "no time",
            "state": "failed", "reason": PLANTED, "origin": "upload",
        }  # fmt: skip
        deleted = []
        page.on("request", lambda request: deleted.append(request.url) if request.method == "DELETE" else None)

        async def pages(route):  # type: ignore[no-untyped-def]
            last = "cursor=two" in route.request.url
            body = {
                "documents": [{**one, "id": "b"} if last else one],
                "next": None if last else "two",
                "added": 12,
                "release_documents": 3,
            }
            await route.fulfill(status=200, content_type="application/json", body=json.dumps({**body, "corpus_version": PLANTED}))

        await page.route("**/v1/documents?*", pages)
        await visit.go("/documents")
        await page.wait_for_selector("#rows tr")
        assert "12 documents added since this release was proven" in await page.locator("#corpus").inner_text()
        await page.get_by_role("button", name="Show more").click()
        await page.locator("#rows tr:nth-child(2)").wait_for()
        assert await page.locator("#more").is_hidden()
        await page.get_by_role("button", name="Delete").first.click()
        await page.get_by_role("button", name="Delete it").click()
        await page.locator(
            "#problem", has_text="is no address"
        ).wait_for()  # a browser would have asked for another address than the document's
        assert deleted == []
        await check_unplanted(page)
