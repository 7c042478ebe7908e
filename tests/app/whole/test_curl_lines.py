"""The curl lines of the README and the pages do, on a server, what they are shown to do."""

import asyncio
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from serving.keys import SCOPES, Caller, create_key
from tests.app.making import House, events
from tests.app.real import Listening, listening
from tests.support.waiting import WITHIN_S

REPOSITORY = Path(__file__).parents[3]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINE = re.compile(r"^ {4}(curl (?:.*\\\n)*.*)$", re.MULTILINE)
SERVER = re.compile(r"(?:http://)?(?:localhost|127\.0\.0\.1):8080")


def curl_lines() -> list[tuple[str, str]]:
    """Every curl command of a page that goes to our server, with the page's name."""
    return [
        (page.name, line.replace("\\\n", " "))
        for page in PAGES
        for line in LINE.findall(page.read_text(encoding="utf-8"))
        if SERVER.search(line)
    ]


async def run(words: list[str], folder: Path) -> tuple[bytes, int | None]:
    """What a command says, and its exit code."""
    bounded = [*words, "--fail-with-body", "--noproxy", "*", "--max-time", str(WITHIN_S)]
    process = await asyncio.create_subprocess_exec(*bounded, cwd=folder, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said, process.returncode


async def uploaded(server: Listening, key: str, folder: Path) -> str:
    """The id of a document that was added before and can be found."""
    form = ["-H", f"Authorization: Bearer {key}", "-F", "file=@travel.md"]
    said, _ = await run(["curl", "-s", f"http://127.0.0.1:{server.port}/v1/documents", *form], folder)
    ident = str(json.loads(said)["id"])
    async with asyncio.timeout(WITHIN_S):
        while json.loads(said)["state"] != "ready":
            said, _ = await run(["curl", "-s", f"http://127.0.0.1:{server.port}/v1/documents/{ident}", *form[:2]], folder)
    return ident


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("page", "line"), curl_lines(), ids=lambda value: value[:60])
async def test_a_curl_line_of_the_pages_gets_what_it_asks_for(page: str, line: str, furnished: House, tmp_path: Path) -> None:
    settings, key = furnished.settings(traces=str(tmp_path / "traces.db"), documents=str(tmp_path / "documents")), ""
    for name in {"travel.md", *re.findall(r"file=@([\w.-]+)", line)}:
        await asyncio.to_thread((tmp_path / name).write_text, "# Travel\n\nTrains are first class above four hours, planes never are.\n")
    if "$KEY" in line:
        caller = Caller(id="reader", groups=frozenset({"staff"}), scopes=frozenset(SCOPES))
        key = await asyncio.to_thread(create_key, tmp_path / "keys.yaml", caller)
        settings = settings.model_copy(update={"api_keys": tmp_path / "keys.yaml"})
    async with listening(settings) as server:
        ident = await uploaded(server, key, tmp_path) if "$ID" in line else ""
        words = shlex.split(SERVER.sub(f"http://127.0.0.1:{server.port}", line).replace("$KEY", key).replace("$ID", ident), comments=True)
        said, code = await run(words, tmp_path)
    if "/v1/admin/channels/" in line:  # of another state of the channel than the page imagines
        assert json.loads(said)["status"] == (404 if line.split()[2].endswith("/verdict") else 409), said
        return
    assert code == 0, (page, said)
    if "/stream" in line:
        assert [name for name, _ in events(said.decode())][-1] == "answer"
    elif "/v1/query" in line:
        assert json.loads(said)["answer"]
    elif "/v1/admin/audit" in line:
        assert "entries" in json.loads(said)
    elif "/readyz" in line:
        assert json.loads(said)["ready"]


def test_the_readme_and_the_page_of_the_api_show_curl_lines() -> None:
    assert {"README.md", "api.md", "keys.md"} <= {page for page, _ in curl_lines()}
