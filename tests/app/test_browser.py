"""The page in a real browser: what it makes of hostile text."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.app.query.jsontext import json_text
from serving.app.web.page import FILE
from tests.app.making import House, config, opened
from tests.app.real import listening

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "One\u2028two\u2029three\u0085four <b id=planted>bold</b><img src=x onerror=\"document.title='run'\"> </script> &amp; [1]."
ASK_AT_ONCE = '\nwindow.addEventListener("load", () => { $("question").value = "How many days?"; $("form").requestSubmit(); });\n</script>'


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
async def test_the_page_shows_separators_and_html_as_the_text_they_are(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "index.html"
    page.write_text(FILE.read_text(encoding="utf-8").replace("\n</script>", ASK_AT_ONCE), encoding="utf-8")
    monkeypatch.setattr("serving.app.web.page.FILE", page)  # the same page, which asks by itself
    await house.release(config(HOSTILE))
    async with listening(house.settings()) as server:
        for _ in range(5):  # the browser prints the page when its own clock says so, be the answer there or not
            dom = await asyncio.to_thread(_dom, f"http://127.0.0.1:{server.port}/", tmp_path)
            if 'id="facts"></p>' not in dom:
                break
    shown = dom.split('id="text"', 1)[1].split("</p>", 1)[0]
    assert "One\u2028two\u2029three\u0085four" in shown
    assert "&lt;b id=planted&gt;bold&lt;/b&gt;" in shown
    assert "&lt;img src=x" in shown
    assert "&amp;amp;" in shown
    assert "<b id=" not in dom
    assert "<title>Touchstone</title>" in dom
    assert "[1]" in dom.split('id="sources"', 1)[1]


def _dom(url: str, folder: Path) -> str:
    """The page's document after it has asked and been answered."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", url,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


async def test_no_character_of_an_event_is_a_line_break_for_anybody(house: House) -> None:
    await house.release(config(HOSTILE + "\x1c\x0b"))
    async with opened(house.settings()) as api:
        plain = await api.ask()
        streamed = await api.client.post("/v1/query/stream", json={"question": "How many days of paid leave?"})
    assert plain.status_code == streamed.status_code == 200
    assert len(plain.text.splitlines()) == 1
    for line in streamed.text.splitlines():  # Python's, which knows ten kinds of line breaks
        assert line == "" or line.startswith(("event: ", "data: "))
    assert json.loads(plain.text)["answer"].startswith(HOSTILE)


def test_half_a_surrogate_pair_goes_out_as_a_question_mark() -> None:
    assert json_text({"a": "\ud800 \u2028 \u0085 é"}) == b'{"a":"? \\u2028 \\u0085 \xc3\xa9"}'
