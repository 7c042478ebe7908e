"""How the pages are sent, and what their files may not hold."""

import re
from pathlib import Path

import pytest

from serving.app.web.page import FOR_EVER, HERE, PAGES, read_site
from tests.app.making import House, opened

FILES = sorted(path for folder in ("pages", "assets") for path in (HERE / folder).iterdir())


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix in (".js", ".html", ".svg")], ids=lambda path: path.name)
def test_no_page_makes_html_or_code_of_a_string_or_asks_anybody_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser", text)
    assert not re.search(r"<script(?! type=\"module\" src)|<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r"https?://|[\"'(]//[a-z]", text)


def test_every_module_and_asset_that_is_named_is_there() -> None:
    site = read_site()
    named = set()
    for path in FILES:
        named |= set(re.findall(r"from \"\./([\w.]+)\"", path.read_text(encoding="utf-8")))
        named |= set(re.findall(r"\{assets\}/([\w.]+)", path.read_text(encoding="utf-8")))
    assert named == set(site.assets)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_asked_for_again_and_its_assets_are_kept_for_ever(tmp_path: Path, path: str) -> None:
    async with opened(House(tmp_path).settings()) as api:
        page = await api.client.get(path)
        same = await api.client.get(path, headers={"If-None-Match": f'W/{page.headers["etag"]}, "other"'})
        assets = [await api.client.get(address) for address in re.findall(r"(?:href|src)=\"(/assets/[^\"]+)\"", page.text)]
        older = await api.client.get("/assets/0123456789abcdef/base.css")
        missing = await api.client.get("/assets/0123456789abcdef/page.py")
        outside = await api.client.get("/assets/0123456789abcdef/..%2fpage.py")
    assert (page.status_code, page.headers["cache-control"], same.status_code, same.content) == (200, "no-cache", 304, b"")
    assert "{assets}" not in page.text
    assert len(assets) >= 5
    assert {(asset.status_code, asset.headers["cache-control"]) for asset in assets} == {(200, FOR_EVER)}
    assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
    assert (missing.status_code, outside.status_code) == (404, 404)
    rules = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert [rules[name] for name in ("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types")] == ["'none'"] * 5
    assert [rules[name] for name in ("script-src", "style-src", "connect-src", "img-src")] == ["'self'"] * 4
    assert rules["require-trusted-types-for"] == "'script'"


def test_another_asset_gives_every_page_another_address(tmp_path: Path) -> None:
    for path in FILES:
        copy = tmp_path / path.relative_to(HERE)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes() + (b"/* more */" if path.name == "tokens.css" else b""))
    before, after = read_site(), read_site(tmp_path)
    assert before.digest != after.digest
    assert all(before.pages[path].etag != after.pages[path].etag for path in PAGES)
