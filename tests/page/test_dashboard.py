"""The dashboard in a real browser: what was asked is seen, a channel is moved, and another site moves nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Browser

from serving.keys import Caller, create_key
from serving.pipeline.types import Answer, Draw, Query, Trace
from serving.release.channel import read_channel
from serving.traces.record import TraceRecord
from tests.app.making import House
from tests.app.real import Listening, listening
from tests.app.release.test_trial import try_beside
from tests.page.browsing import PATIENCE_MS, Visit, check_access, check_unplanted, visiting
from tests.page.site import PLANTED, release
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

LOOKS_AGAIN_MS = 31_000  # when a page has looked again at what is served


async def written(server: Listening) -> None:
    await eventually(lambda: not server.api.app.state.service.traces.waiting)


async def test_a_damaged_channel_is_told_of_beside_the_others(house: House, browser: Browser) -> None:
    stable = read_channel(house.storage, "dev").stable
    house.storage.put("channels/staging.json", b"{}")
    async with listening(house.settings()) as server, visiting(browser, server) as visit:
        await visit.go("/admin/dashboard")
        damaged = visit.page.locator("[data-channel=staging]")
        await damaged.get_by_text("channels/staging.json is not a channel").wait_for()
        assert await damaged.get_by_role("button").count() == 0
        assert await visit.page.locator("[data-channel=dev] dd").first.get_attribute("title") == stable


async def test_a_question_is_seen_with_its_journey_and_the_channel_is_rolled_back(house: House, browser: Browser) -> None:
    first = read_channel(house.storage, "dev").stable
    second = await release(house, "Nothing is known of that [1].")
    settings = house.settings(usd_per_day=1.0, traces=str(house.root / "own.db"))
    async with listening(settings) as server, visiting(browser, server) as visit:
        page = visit.page
        await page.clock.install()
        asked = (await server.api.ask(f"How many days of paid leave? {PLANTED}")).json()
        said = {"trace_id": asked["trace_id"], "kind": "correction", "text": f"It is 30. {PLANTED}"}
        assert (await server.api.client.post("/v1/feedback", json=said)).status_code == 200
        await written(server)
        await visit.go("/admin/dashboard")
        await page.wait_for_selector("#replica-body table")
        assert await page.locator(".tile", has_text="Questions").locator("dd").first.inner_text() == "1"
        assert "It is 30." in await page.locator("#feedback-table").inner_text()
        assert "from the traces of all replicas" in await page.locator("#window").inner_text()
        assert "others have numbers of their own" in await page.locator("#replica-note").inner_text()
        await page.get_by_text("Numbers of “Questions”").click()
        assert await page.locator("figure", has_text="Numbers of “Questions”").locator("tbody tr").count() == 24

        await page.locator("#trace-table .link").first.click()
        dialog = page.get_by_role("dialog", name="The journey of a question")
        await dialog.locator("h3", has_text="Prompt").wait_for()
        stages = [text.strip() for text in await dialog.locator("table.bars th").all_inner_texts()]
        assert stages == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]
        whole = await dialog.inner_text()
        for words in ("Retrieved: 3", "Read by the model", "Nothing is known of that", "local:echo", "It is 30.", second[:8]):
            assert words in whole, words
        await check_access(page)
        await check_unplanted(page)
        await page.keyboard.press("Escape")

        card = page.get_by_role("article", name="Channel dev")
        await card.get_by_role("button", name="Roll back …").click()
        await page.get_by_label("Reason").fill(f"worse {PLANTED}")
        await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        await card.get_by_text("Done.").wait_for()
        assert first[:8] in await card.inner_text()
        await card.get_by_text("History (3)").click()
        assert PLANTED in await card.locator(".history").evaluate("element => element.textContent")
        assert "somebody on this machine" in await card.inner_text()
        await check_unplanted(page)
        moved = read_channel(house.storage, "dev")
        assert (moved.stable, moved.history[-1].why) == (first, f"worse {PLANTED}")
        await page.clock.fast_forward(LOOKS_AGAIN_MS)
        await page.get_by_text(f"dev · {first[:8]}").wait_for()

        acts = page.locator("#audit-table")
        row = acts.locator("tbody tr", has_text="channel.rollback")
        for words in ("somebody on this machine", "api", "dev", "done", PLANTED, f"from {second}", f"to {first}"):
            assert words in (await row.evaluate("element => element.textContent")), words
        await check_access(page)

        await card.get_by_role("button", name="Try a candidate …").click()
        await page.get_by_label("Percent of the questions").fill("25")
        await page.get_by_label("Reason").fill("a trial")
        await page.get_by_role("button", name="Begin").click()
        await card.get_by_role("img", name="The candidate has 25 % of the questions").wait_for()
        judged = card.get_by_role("group", name="Verdict on the candidate of dev")
        await judged.get_by_text("No caller's turn of 10 minutes has been counted yet.").wait_for()
        await judged.get_by_text("What was measured").click()
        assert "No question was answered by both releases" in await judged.inner_text()
        await check_access(page)
        await card.get_by_role("button", name="Stop candidate …").click()
        await server.api.client.post(  # somebody else is quicker
            "/v1/admin/channels/dev/withdraw", json={"why": "first", "revision": 4}, headers={"X-Touchstone-CSRF": "1"}
        )
        await page.get_by_label("Reason").fill("second")
        await page.get_by_role("button", name="Stop it").click()
        await card.get_by_text("look again").wait_for()
        assert [change.kind for change in read_channel(house.storage, "dev").history[3:]] == ["candidate", "withdrawal"]
        await acts.locator(".chip", has_text="refused: Conflict").wait_for()


async def test_a_candidate_that_refuses_is_shown_to_be_worse(house: House, browser: Browser) -> None:
    release = await try_beside(house, "canary", 0.5)
    settings = house.settings(traces=str(house.root / "own.db"))
    at = datetime.fromisoformat(read_channel(house.storage, "dev").updated_at).timestamp()
    async with listening(settings) as server, visiting(browser, server) as visit:
        service = server.api.app.state.service
        service.traces.store.put([TraceRecord.of(a_refusal(release, number, 100), at + 1) for number in range(100)])
        server.api.app.state.service = replace(service, wall=lambda: at + 3600)
        await visit.go("/admin/dashboard")
        judged = visit.page.get_by_role("group", name="Verdict on the candidate of dev")
        await judged.get_by_text("Refusals: 100.0% by the candidate, 0.0% by the stable release").first.wait_for()
        assert await judged.locator("p .chip.bad").inner_text() == "worse"
        await judged.get_by_text("What was measured").click()
        rows = {
            await row.locator("strong").inner_text(): await row.locator(".chip").inner_text() for row in await judged.locator("li").all()
        }
        assert (rows["refused"], rows["failed"], rows["disagreements"]) == ("worse", "undecided", "not measured")
        await check_access(visit.page)


def a_refusal(release: str, number: int, count: int) -> Trace:
    """A question of one caller among so many, which the candidate refuses."""
    share = (number + 0.5) / count
    chosen = share < 0.5
    draw, role = Draw(release, "canary", share, 0.5), "canary" if chosen else "stable"
    return Trace(f"t{number}", Query("?"), "c", "i", role=role, draw=draw, answer=Answer("a", refused=chosen))


async def test_without_the_scope_the_dashboard_is_empty_and_says_why(company: House, browser: Browser, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.yaml", Caller(id="reader"))
    admin = create_key(tmp_path / "keys.yaml", Caller(id="ada", scopes=frozenset({"query", "admin"})))
    settings = company.settings(api_keys=tmp_path / "keys.yaml", traces=str(tmp_path / "t.db"))
    async with listening(settings) as server, visiting(browser, server) as visit:
        await visit.go("/admin/dashboard")
        await visit.page.get_by_role("dialog").get_by_label("Key").fill(key)
        await visit.page.keyboard.press("Enter")
        await visit.page.get_by_text("lacks the scope 'admin'").wait_for()
        assert await visit.page.locator(".tile, tbody tr, article").count() == 0
        assert await visit.page.locator("h2:visible, .jump:visible").count() == 0
        await _give(visit, admin)
        await visit.page.wait_for_selector("#replica-body table")
        await _give(visit, key)  # what the administrator saw goes
        await visit.page.get_by_text("lacks the scope 'admin'").wait_for()
        assert await visit.page.locator(".tile, tbody tr, article").count() == 0


async def _give(visit: Visit, key: str) -> None:
    await visit.page.get_by_role("button", name="API key set").click()
    await visit.page.get_by_label("Key", exact=True).fill(key)
    await visit.page.keyboard.press("Enter")


ATTACK = """<!doctype html><title>evil</title><form id=f method=post enctype="text/plain" action="{url}/v1/admin/channels/dev/rollback">
<input name='{{"why":"evil","revision":2,"x":"' value='"}}'></form><iframe name=frame src="{url}/admin/dashboard"></iframe><script>
(async () => {{
  const results = [];
  const body = JSON.stringify({{ why: "evil", revision: 2 }});
  for (const init of [
    {{ mode: "no-cors", headers: {{ "Content-Type": "text/plain" }} }},
    {{ headers: {{ "Content-Type": "application/json", "X-Touchstone-CSRF": "1" }} }},
  ]) {{
    try {{
      results.push((await fetch("{url}/v1/admin/channels/dev/rollback", {{ method: "POST", body, ...init }})).type);
    }} catch {{
      results.push("refused");
    }}
  }}
  try {{ results.push(await (await fetch("{url}/v1/admin/channels")).text()); }} catch {{ results.push("unread"); }}
  window.results = results;
}})();
</script>"""


@contextmanager
def evil_site(page: str) -> Iterator[str]:
    """Another server of this machine, as a browser sees it another origin of the same site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_another_sites_page_in_the_same_browser_moves_and_reads_nothing(house: House, browser: Browser) -> None:
    second = await release(house, "Something else [1].")
    async with listening(house.settings()) as server:
        url = f"http://127.0.0.1:{server.port}"
        context = await browser.new_context()
        try:
            with evil_site(ATTACK.format(url=url)) as evil:
                page = await context.new_page()
                page.set_default_timeout(PATIENCE_MS)
                await page.goto(evil)
                await page.wait_for_function("window.results")
                assert await page.evaluate("window.results") == ["opaque", "refused", "unread"]
                assert await page.frames[1].evaluate("document.querySelector('#channel-cards')") is None  # framing is refused
                await page.evaluate("document.getElementById('f').submit()")
                await page.wait_for_url(f"{url}/**")
                assert "cross-site" in await page.content()
        finally:
            await context.close()
    channel = read_channel(house.storage, "dev")
    assert (channel.stable, len(channel.history)) == (second, 2)
