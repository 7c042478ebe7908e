"""Documents over HTTP: who may add, read and remove which; what is refused; what is left after a deletion."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from serving.documents.open import open_documents
from serving.documents.record import NewDocument
from serving.keys import Caller, create_key
from serving.traces.record import REMOVED, TraceRecord
from tests.app.core.test_auth import bearer
from tests.app.making import DOCUMENTS, QUESTION, House, Open, config, opened
from tests.index.hostile_files import pdf_text, word_file
from tests.support.waiting import eventually

RULES = b"# Travel\n\nTrains are booked in second class."
CALLERS = {
    "hr": Caller(id="hr", tenant="acme", groups=frozenset({"hr", "staff"}), scopes=frozenset({"query", "ingest"})),
    "staff": Caller(id="staff", tenant="acme", groups=frozenset({"staff"}), scopes=frozenset({"query", "ingest"})),
    "reader": Caller(id="reader", tenant="acme", groups=frozenset({"hr"})),
    "bot": Caller(id="bot", tenant="acme", scopes=frozenset({"ingest"})),
    "finance": Caller(id="finance", tenant="acme", domains=frozenset({"finance"}), scopes=frozenset({"query", "ingest"})),
    "admin": Caller(id="admin", tenant="acme", groups=frozenset({"hr"}), scopes=frozenset({"admin"})),
    "globex": Caller(id="globex", tenant="globex", groups=frozenset({"hr", "staff"}), scopes=frozenset({"query", "ingest", "admin"})),
    "public": Caller(id="public", groups=frozenset({"hr"}), scopes=frozenset({"query", "ingest"})),
}


@dataclass(frozen=True)
class Library:
    """An app with keys, and what its callers do with documents."""

    api: Open
    keys: Mapping[str, str]

    async def add(self, who: str = "hr", data: bytes = RULES, name: str = "travel.md", **said: Any) -> httpx.Response:
        return await self.api.client.post("/v1/documents", files={"file": (name, data)}, data=said, headers=bearer(self.keys[who]))

    async def added(self, who: str = "hr", data: bytes = RULES, name: str = "travel.md", **said: Any) -> dict[str, Any]:
        response = await self.add(who, data, name, **said)
        assert response.status_code == 202, response.text
        return response.json()

    async def get(self, who: str, path: str = "", **asked: Any) -> httpx.Response:
        return await self.api.client.get(f"/v1/documents{path}", params=asked, headers=bearer(self.keys[who]))

    async def delete(self, who: str, ident: str) -> int:
        return (await self.api.client.delete(f"/v1/documents/{ident}", headers=bearer(self.keys[who]))).status_code

    async def settled(self, ident: str, who: str = "hr") -> dict[str, Any]:
        """A document when it has been read, or refused."""
        return await settled(lambda: self.get(who, f"/{ident}"))


async def settled(ask: Callable[[], Awaitable[httpx.Response]]) -> dict[str, Any]:
    """What is said of a document when it is worked at no more."""
    said: dict[str, Any] = {}

    async def done() -> bool:
        said.update((await ask()).json())
        return said["state"] not in ("waiting", "parsing", "indexing")

    await eventually(done)
    return said


@asynccontextmanager
async def library(house: House, tmp_path: Path, **changes: Any) -> AsyncIterator[Library]:
    path = tmp_path / "keys.yaml"
    keys = {name: create_key(path, caller) for name, caller in CALLERS.items()}
    async with opened(house.settings(api_keys=path, documents_poll_s=0.05, **changes)) as api:
        yield Library(api, keys)


async def kept_trace(api: Open, trace_id: str) -> TraceRecord:
    """A trace when it is in the store."""
    store = api.app.state.service.traces.store
    await eventually(lambda: store.get(trace_id))
    return store.get(trace_id)  # type: ignore[no-any-return]


def words_of(api: Open, trace_id: str) -> str:
    return json.dumps(dict(api.app.state.service.traces.store.get(trace_id).trace))


async def test_an_upload_is_kept_read_and_shown_to_those_who_may(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        made = await books.added(groups=["hr"], domain="people", version="2", status="current", metadata='{"year": "2026"}')
        assert (made["title"], made["name"], made["bytes"], made["media_type"]) == ("", "travel.md", len(RULES), "text/markdown")
        assert (made["tenant"], made["groups"], made["domain"], made["uploader"]) == ("acme", ["hr"], "people", "hr")
        assert (made["version"], made["status"], made["metadata"], made["origin"]) == ("2", "current", {"year": "2026"}, "upload")
        found = await books.settled(made["id"])
        assert found["state"] == "ready"
        text = (await books.get("reader", f"/{made['id']}/text", start=2, end=8)).json()
        assert (text["text"], text["title"], text["start"], text["end"], text["total"]) == ("Travel", "Travel", 2, 8, len(RULES))
        asked = {"question": "In which class are trains booked?"}
        for who, found_it in (("reader", True), ("hr", True), ("staff", False), ("globex", False), ("public", False)):
            hits = (await books.api.client.post("/v1/retrieve", json=asked, headers=bearer(books.keys[who]))).json()["passages"]
            assert (made["id"] in {hit["document"] for hit in hits}) == found_it, who
        listed = (await books.get("reader")).json()
        assert ([one["id"] for one in listed["documents"]], listed["added"], listed["next"]) == ([made["id"]], 1, None)
        assert listed["release_documents"] == len(DOCUMENTS)
        assert "+" in listed["corpus_version"]
        for who in ("staff", "globex", "public", "finance"):
            assert (await books.get(who, f"/{made['id']}")).status_code == 404
            assert (await books.get(who, f"/{made['id']}/text")).status_code == 404
            assert (await books.get(who)).json()["documents"] == []
            assert await books.delete(who, made["id"]) == 404
        assert books.api.log_text.count('"event": "document uploaded"') == 1


READERS: list[tuple[str, dict[str, Any], Any]] = [
    ("hr", {}, ("acme", ["hr", "staff"], "general")),
    ("hr", {"groups": ["staff"]}, ("acme", ["staff"], "general")),
    ("hr", {"groups": ""}, ("acme", [], "general")),
    ("bot", {}, ("acme", [], "general")),
    ("finance", {}, ("acme", [], "finance")),
    ("public", {}, ("public", ["hr"], "general")),
    ("staff", {"groups": ["hr"]}, "groups: hr: not among the groups of this key (staff)"),
    ("staff", {"groups": ["acme/staff"]}, "groups: acme/staff: not among"),
    ("finance", {"domain": "hr"}, "domain: 'hr' is not among the domains of this key (finance)"),
    ("hr", {"tenant": "globex"}, "tenant: unknown field"),
    ("hr", {"uploader": "admin"}, "uploader: unknown field"),
    ("hr", {"title": ["a", "b"]}, "title: is given twice"),
    ("hr", {"title": "a\u202eb"}, "title: value error, control characters"),
    ("hr", {"metadata": "{"}, "metadata: is not JSON"),
    ("hr", {"metadata": '{"a": 1}'}, "metadata.a: "),
    ("hr", {"metadata": '{"": "1"}'}, "metadata: value error, a name is empty"),
    ("hr", {"title": "x" * 301}, "title: "),
    ("hr", {"groups": ["hr", ""]}, "groups.1: "),
]


async def test_its_readers_are_those_that_the_uploader_may_choose(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        for number, (who, said, expected) in enumerate(READERS):
            response = await books.add(who, f"Words {number}".encode(), **said)
            body = response.json()
            if isinstance(expected, str):
                assert (response.status_code, body["detail"][: len(expected)]) == (422, expected)
            else:
                assert (body["tenant"], body["groups"], body["domain"]) == expected, said
        assert len(books.api.app.state.service.documents.documents.refresh().records) == sum(
            not isinstance(case[2], str) for case in READERS
        )


@pytest.mark.parametrize("name", ["reader", "none"])
async def test_nobody_adds_or_removes_without_the_scope(house: House, tmp_path: Path, name: str) -> None:
    async with library(house, tmp_path) as books:
        made = await books.added(groups="hr")
        keys = Library(books.api, {**books.keys, "none": "ts_wrong"})
        expected = 403 if name == "reader" else 401
        assert (await keys.add(name)).status_code == expected
        assert await keys.delete(name, made["id"]) == expected
        assert (await keys.get(name)).status_code == (200 if name == "reader" else 401)


async def test_a_key_that_may_only_ingest_sees_what_became_of_its_own_and_nothing_else(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        others, own = await books.added("hr", groups=""), await books.added("bot", b"Mine.", "mine.txt")
        listed = (await books.get("bot", limit=1)).json()
        assert ([one["id"] for one in listed["documents"]], listed["next"], listed["added"]) == ([own["id"]], None, 1)
        later = await books.added("hr", b"Another's.", "secret-merger.txt", groups="")
        listed = await books.get("bot", limit=1)
        assert ([one["id"] for one in listed.json()["documents"]], listed.json()["next"]) == ([own["id"]], None)
        assert later["name"] not in listed.text, "a cursor is made of the last document's id, which names the file"
        assert (await books.settled(own["id"], "bot"))["state"] == "ready"
        assert (await books.get("bot", f"/{own['id']}/text")).json()["text"] == "Mine."
        for path in (f"/{others['id']}", f"/{others['id']}/text", "/leave.md", "/leave.md/text"):
            assert (await books.get("bot", path)).status_code == 404
        assert (await books.api.client.post("/v1/query", json={"question": "x"}, headers=bearer(books.keys["bot"]))).status_code == 403


MANY = "\n".join(["---", *(f"key{number}: x" for number in range(40)), "---", "x"]).encode()


async def test_what_a_file_says_of_its_readers_is_never_followed(house: House, tmp_path: Path) -> None:
    inside = b"---\ntitle: Pay\ngroups: [hr]\ntenant: globex\ndomain: finance\nversion: '3'\nstatus: draft\nowner: Jan\n---\nBands.\n"
    async with library(house, tmp_path) as books:
        refused = await books.add("hr", inside, "pay.md")
        assert refused.status_code == 422
        assert "pay.md:3: restricts its readers. What a file says of its readers is not followed: say `groups`" in refused.json()["detail"]
        made = await books.added("hr", inside, "pay.md", groups="staff")
        assert (made["tenant"], made["groups"], made["domain"]) == ("acme", ["staff"], "general")
        assert (made["title"], made["version"], made["status"], made["metadata"]) == ("Pay", "3", "draft", {"owner": "Jan"})
        assert (await books.settled(made["id"]))["state"] == "ready"
        assert (await books.get("staff", f"/{made['id']}/text")).json()["text"] == "Bands.\n"
        for name in ("groups", "Group", "acl", "tenant"):
            wrong = await books.add("hr", b"Plain.", "plain.txt", metadata=json.dumps({name: "hr"}))
            assert wrong.status_code == 422, name
            assert "restricts nobody here. Say `groups`" in wrong.json()["detail"]
        assert (await books.added("hr", b"Plain.", "plain.txt", groups="hr", metadata='{"acl": "hr"}'))["metadata"] == {"acl": "hr"}
        for name, text in {
            "near.md": b"---\nGroups: [hr]\n---\nx", "acl.txt": b"---\nacl: hr\n---\nx", "meta.html": b"<meta name='groups' content='hr'>x",
            "broken.md": b"---\na: [\n---\nx", "long.md": b"---\ntitle: " + b"x" * 2000 + b"\n---\nx", "many.md": MANY,
        }.items():  # fmt: skip
            assert (await books.add("hr", text, name)).status_code == 422, name


FILES = {
    "a.txt": b"Plain words.", "b.md": b"# Head\n\nWords.", "c.html": b"<h1>Head</h1><p>Words.", "d.pdf": pdf_text(b"Words in a page."),
    "e.docx": word_file(b"<w:p><w:r><w:t>Words in Word.</w:t></w:r></w:p>"),
}  # fmt: skip


async def test_every_kind_is_read(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        made = {name: await books.added("hr", data, name) for name, data in FILES.items()}
        for name, one in made.items():
            assert (await books.settled(one["id"]))["state"] == "ready", name
            assert "ords" in (await books.get("hr", f"/{one['id']}/text")).json()["text"], name


NOT_TAKEN = [
    ("a.exe", b"MZ\0", 415, "'a.exe' is none of the files that are taken: txt, md, html, pdf, docx."),
    ("noname", b"x", 415, "is none of"),
    ("a.pdf", b"not a PDF", 415, "'a.pdf' does not begin as a PDF does"),
    ("a.docx", FILES["d.pdf"], 415, "does not begin as a Word file does"),
    ("a.txt", FILES["d.pdf"], 415, "begins as a PDF does"),
    ("a.html", FILES["e.docx"][:9000], 415, "begins as a ZIP archive"),
    ("a.md", b"a\0b", 415, "holds NUL bytes"),
    ("a.txt", b"", 422, "file: is empty"),
    ("a.txt", b"x" * 20_001, 413, "larger than 20000 bytes"),
]


async def test_a_file_that_is_not_taken_is_refused_with_the_reason(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path, max_upload_bytes=20_000) as books:
        for name, data, status, why in NOT_TAKEN:
            response = await books.add("hr", data, name)
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), name
            assert why in response.json()["detail"]
        assert (await books.get("hr")).json()["documents"] == []


async def test_a_file_of_which_no_text_can_be_had_fails_with_the_reason_and_can_be_sent_again(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        for name, data in {"bad.pdf": b"%PDF-1.4 nothing", "blank.txt": b" \n "}.items():
            made = await books.added("hr", data, name)
            failed = await books.settled(made["id"])
            assert failed["state"] == "failed"
            assert failed["reason"]
            assert (await books.get("hr", f"/{made['id']}/text")).status_code == 404
            assert (await books.add("hr", data, name)).status_code == 202


FORM = "multipart/form-data; boundary=b"
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n'


NO_FORMS = [
    ("application/json", b"{}", 400),
    ("multipart/form-data", b"x", 400),
    (FORM, b"", 422),
    (FORM, b"no form", 400),
    (FORM, b"--b\r\n\r\nx\r\n--b--\r\n", 400),
    (FORM, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
    (FORM, FILE_PART + FILE_PART + b"--b--\r\n", 400),
    (FORM, FILE_PART.replace(b'"file"', b'"other"') + b"--b--\r\n", 422),
    (FORM, FILE_PART.replace(b'; filename="a.txt"', b"") + b"--b--\r\n", 422),
    (FORM, FILE_PART.replace(b"a.txt", b"") + b"--b--\r\n", 422),
    (FORM, FILE_PART + b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\n' + b"x" * 20_000 + b"\r\n--b--\r\n", 400),
    (FORM, FILE_PART + b'--b\r\nContent-Disposition: form-data; name="groups"\r\n\r\nhr\r\n' * 200 + b"--b--\r\n", 400),
    (FORM, b"--b\r\nX: " + b"x" * 50_000 + b"\r\n\r\nx\r\n--b--\r\n", 400),
    (FORM, b"--b\r\n" + b"X: x\r\n" * 5000 + b"\r\nx\r\n--b--\r\n", 400),
    (FORM, b"x" * 3_000_000, 413),
]


async def test_a_body_that_is_no_form_with_one_file_is_refused(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path, max_upload_bytes=100_000) as books:
        for kind, body, status in NO_FORMS:
            headers = {**bearer(books.keys["hr"]), "Content-Type": kind}
            response = await books.api.client.post("/v1/documents", content=body, headers=headers)
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), body[:80]
        assert (await books.get("hr")).json()["documents"] == []


async def test_a_body_that_never_ends_is_cut_off_and_one_that_rests_too_long_too(house: House, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield FILE_PART[:-3]
        while True:
            yield b"x" * 65_536

    async def resting() -> AsyncIterator[bytes]:
        yield FILE_PART
        await asyncio.Event().wait()
        yield b""

    async with library(house, tmp_path, max_upload_bytes=100_000, upload_timeout_s=0.2) as books:
        headers = {**bearer(books.keys["hr"]), "Content-Type": FORM}
        assert (await books.api.client.post("/v1/documents", content=endless(), headers=headers)).status_code in (408, 413)
        assert (await books.api.client.post("/v1/documents", content=resting(), headers=headers)).status_code == 408


HOSTILE_NAMES = {
    "../../etc/passwd.txt": "passwd.txt", "..\\..\\boot.txt": "boot.txt", "/abs/x.txt": "x.txt", "a\u202etxt.exe.txt": "a txt.exe.txt",
    "<script>alert(1)<|script>.md": "<script>alert(1)<|script>.md", "a%2f..%2fb.txt": "a 2f.. 2fb.txt", ".hidden.txt": "hidden.txt",
    "x" * 400 + ".txt": "",
}  # fmt: skip


async def test_a_name_leads_nowhere_and_comes_back_as_data(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        for name, kept in HOSTILE_NAMES.items():
            response = await books.add("hr", f"Words of {name[:20]}".encode(), name, title="<img src=x onerror=alert(1)>")
            made = response.json()
            assert response.status_code == 202, made
            assert made["name"] == (kept or made["name"])
            assert len(made["name"]) <= 120
            assert made["title"] == "<img src=x onerror=alert(1)>"
            assert response.headers["content-type"] == "application/json"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert (await books.settled(made["id"]))["state"] == "ready"
        home = (house.root / "home").resolve()
        assert {path.resolve().is_relative_to(home) for path in home.rglob("*")} == {True}


async def test_the_same_bytes_with_the_same_readers_are_one_document(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        first, second = await asyncio.gather(books.add(), books.add())
        assert sorted([first.status_code, second.status_code]) == [200, 202]
        made = first.json()
        assert made["id"] == second.json()["id"]
        assert {first.json()["duplicate"], second.json()["duplicate"]} == {True, False}
        renamed = await books.add(name="other.md")
        assert (renamed.status_code, renamed.json()["id"], renamed.json()["name"]) == (200, made["id"], "travel.md")
        told = await books.add(version="9")
        assert (told.status_code, told.json()["id"], told.json()["version"]) == (202, made["id"], "9")
        again = await books.add()
        assert (again.status_code, again.json()["version"]) == (200, "9"), "what is not said stays as it was"
        narrower = await books.added(groups="hr")
        assert narrower["id"] != made["id"]
        shared = await books.added("hr", b"For all.", "all.txt", groups="")
        anothers = await books.add("staff", b"For all.", "all.txt", groups="", title="Mine now")
        assert (anothers.status_code, anothers.json()["id"], anothers.json()["uploader"]) == (200, shared["id"], "hr")
        assert (await books.get("hr")).json()["added"] == 3


async def test_a_tenant_keeps_as_much_as_it_may(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path, tenant_documents=2, tenant_document_bytes=1000) as books:
        made = await books.added("hr", b"one", "1.txt")
        large = await books.add("hr", b"x" * 999, "2.txt")
        assert (large.status_code, large.json()["type"]) == (409, "urn:touchstone:problem:quota-reached")
        await books.added("staff", b"two", "2.txt")
        assert (await books.add("hr", b"three", "3.txt")).status_code == 409
        assert (await books.add("hr", b"one", "1.txt")).status_code == 200, "what is there already needs no room"
        await books.added("public", b"three", "3.txt")
        assert await books.delete("hr", made["id"]) == 204
        await books.added("hr", b"three", "3.txt")


async def test_pages_follow_each_other_and_words_narrow(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        for number in range(5):
            await books.added("hr", f"Words {number}".encode(), f"{number}.txt", title=f"Title {number}")
        seen, cursor = [], ""
        while cursor is not None:
            page = (await books.get("hr", limit=2, cursor=cursor)).json()
            seen += [one["name"] for one in page["documents"]]
            cursor = page["next"]
            assert quote(cursor or "", safe="") == (cursor or ""), "it goes into an address as it is"
        assert seen == ["4.txt", "3.txt", "2.txt", "1.txt", "0.txt"]
        for odd in ("2026-11-29T09:30:00\n4.txt", "zzzzz", "é", "=" * 4):
            assert (await books.get("hr", cursor=odd)).status_code == 422, odd
        for odd in ("zzz", "_w", "-_-_"):  # made of nothing, and bytes that are no text
            assert (await books.get("hr", cursor=odd)).status_code == 200, odd
        assert [one["name"] for one in (await books.get("hr", q="TITLE 3")).json()["documents"]] == ["3.txt"]
        assert (await books.get("hr", limit=0)).status_code == (await books.get("hr", limit=201)).status_code == 422


async def test_a_document_of_the_release_can_be_read_at_the_span_of_a_citation_by_those_who_may(house: House, tmp_path: Path) -> None:
    texts = {document.id: document.text for document in DOCUMENTS}
    async with library(house, tmp_path) as books:
        asked = await books.api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(books.keys["reader"]))
        [citation] = asked.json()["citations"]
        place = {"start": citation["start"], "end": citation["end"]}
        opened_at = (await books.get("reader", f"/{citation['document']}/text", **place)).json()
        assert opened_at["text"] == citation["text"]
        whole = (await books.get("reader", "/leave.md/text")).json()
        assert (whole["text"], whole["title"], whole["total"]) == (texts["leave.md"], "Leave policy", len(texts["leave.md"]))
        about = (await books.get("reader", "/brand.md")).json()
        assert (about["origin"], about["version"], about["status"], about["state"]) == ("release", "4", "current", "ready")
        for path in ("/salaries.md", "/salaries.md/text", "/none.md", "/none.md/text", "/leave.md/text/text", "/%00", "/a%2f..%2fb"):
            missing = await books.get("reader", path)
            assert (missing.status_code, missing.json()["type"]) == (404, "urn:touchstone:problem:not-found")
        assert (await books.get("finance", "/leave.md")).status_code == 404
        for start, end in ((10**6, 10**7), (5, 2), (2**31, 2**31)):
            assert (await books.get("reader", "/leave.md/text", start=start, end=end)).json()["text"] == ""
        assert (await books.get("reader", "/leave.md/text", start=-1)).status_code == 422


async def test_only_its_uploader_or_an_administrator_of_its_tenant_removes_a_document(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        mine = await books.added("hr", groups="staff")
        assert await books.delete("staff", mine["id"]) == 403
        assert await books.delete("globex", mine["id"]) == 404
        assert await books.delete("hr", mine["id"]) == 204
        assert await books.delete("hr", mine["id"]) == 404
        assert (await books.get("hr", f"/{mine['id']}")).status_code == 404
        theirs = await books.added("hr", groups="hr")
        assert await books.delete("admin", theirs["id"]) == 204
        public = await books.added("public", groups="")
        assert await books.delete("admin", public["id"]) == 403, "nobody's documents are not acme's to remove"
        assert await books.delete("admin", "leave.md") == 403
        stored = {path.name for path in (house.root / "home" / "documents").rglob("*") if "files" in path.parts or "texts" in path.parts}
        assert not [name for name in stored if name.startswith(("files/", "texts/")) and mine["id"] in name]
        assert books.api.log_text.count('"event": "document deleted"') == 2


async def test_without_keys_everybody_may_hide_a_document_of_the_release(house: House) -> None:
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        assert (await api.client.get("/v1/documents/leave.md")).status_code == 200
        assert (await api.client.delete("/v1/documents/leave.md")).status_code == 204
        assert (await api.client.get("/v1/documents/leave.md")).status_code == 404
        assert (await api.client.get("/v1/documents/leave.md/text")).status_code == 404


async def test_a_deletion_takes_cached_answers_and_the_words_in_traces_with_it(house: House) -> None:
    await house.release(config(**{"cache.lookup": {"name": "exact"}}))
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        first, second = (await api.ask()).json(), (await api.ask()).json()
        assert (first["cached"], second["cached"]) == (False, True)
        assert (await api.client.delete("/v1/documents/leave.md")).status_code == 204
        for trace_id in (first["trace_id"], second["trace_id"]):
            await kept_trace(api, trace_id)
            await eventually(lambda: "28 days" not in words_of(api, trace_id))  # noqa: B023 — it is waited for here
            assert REMOVED in words_of(api, trace_id)
            shown = (await api.client.get(f"/v1/traces/{trace_id}")).json()
            assert "leave.md" not in json.dumps(shown["reranked_docs"]), "nobody may read it any more"
            assert shown["query"] == QUESTION
        pipeline = api.release_manager.serving.pipeline  # type: ignore[union-attr]
        assert (await pipeline.cache._answers.backend.size()).entries == {}  # type: ignore[attr-defined]


async def test_every_server_follows_the_store_and_one_that_was_killed_catches_up(house: House) -> None:
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        trace_id = (await api.ask()).json()["trace_id"]
        await kept_trace(api, trace_id)
    open_documents(house.settings()).delete(["leave.md"])  # another server, while this one was down
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        await api.app.state.service.documents.refresh()
        await api.app.state.service.documents.forget_words()
        assert "28 days" not in words_of(api, trace_id)
        assert REMOVED in (await api.client.get(f"/v1/traces/{trace_id}")).text


async def test_a_trace_shows_a_passage_to_those_who_may_read_it_now(house: House, tmp_path: Path) -> None:
    async with library(house, tmp_path) as books:
        answer = await books.api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(books.keys["reader"]))
        path, key = f"/v1/traces/{answer.json()['trace_id']}", bearer(books.keys["reader"])
        assert "28 days" in json.dumps((await books.api.client.get(path, headers=key)).json()["reranked_docs"])
        service = books.api.app.state.service.documents
        service.documents.put(NewDocument(id="leave.md", name="leave.md", tenant="acme", groups=("board",)), b"Only the board's now.")
        shown = (await books.api.client.get(path, headers=key)).json()
        assert "28 days" not in json.dumps(shown)
        assert shown["llm_response"] == REMOVED


async def test_a_server_that_was_killed_while_it_read_is_continued_by_the_next(house: House, tmp_path: Path) -> None:
    store = open_documents(house.settings())
    added = store.put(NewDocument(name="left.txt", uploader="x"), b"Left words.").record
    store.advance([added.model_copy(update={"state": "parsing"})])  # and then it was killed
    async with opened(house.settings(documents_poll_s=0.05)) as api:
        assert (await settled(lambda: api.client.get(f"/v1/documents/{added.id}")))["state"] == "ready"
        assert (await api.client.get(f"/v1/documents/{added.id}/text")).json()["text"] == "Left words."


@pytest.mark.parametrize("place", ["folder", "bucket"])  # in a bucket the rows of what was deleted are still there when it comes again
async def test_what_was_deleted_and_is_added_again_is_found_again(
    place: str, house: House, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    changes: dict[str, Any] = {}
    if place == "bucket":
        changes = {"documents": f"s3://{request.getfixturevalue('s3_bucket')}/dev", "s3_endpoint": request.getfixturevalue("s3_server")}
    async with library(house, tmp_path, **changes) as books:
        for _ in range(4):
            made = await books.added()
            assert (await books.settled(made["id"]))["state"] == "ready"
            assert await books.delete("hr", made["id"]) == 204
