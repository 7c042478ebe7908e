"""The store of added documents, on a folder and in a bucket."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.documents import store as store_module
from serving.documents.open import open_documents
from serving.documents.record import NewDocument, safe_name
from serving.documents.store import Addition, DocumentStore, ReadText
from serving.pipeline.errors import DataError, StoreError
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Principal
from serving.storage.log import ChangeLog

HR = Principal("ann", "acme", frozenset({"hr"}))


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> PipelineSettings:
    """A folder, and for tests marked `everywhere` a bucket too."""
    bucket = getattr(request, "param", "folder") == "bucket"
    return PipelineSettings(documents=f"s3://{request.getfixturevalue('s3_bucket')}/kept" if bucket else str(tmp_path / "kept"))


everywhere = pytest.mark.parametrize("place", ["folder", "bucket"], indirect=True)


@pytest.fixture
def store(place: PipelineSettings) -> DocumentStore:
    return open_documents(place)


def note(name: str = "note.md", **about) -> NewDocument:
    return NewDocument(name=name, media_type="text/markdown", **about)


def keys(store: DocumentStore, prefix: str) -> list[str]:
    return [entry.key for entry in store.storage.list(prefix)]


@everywhere
def test_what_one_replica_adds_another_reads(store, place):
    added = store.put(note(tenant="acme", groups=("hr",), title="Holidays", version="2", status="current", uploader="ann"), b"thirty days")
    other = open_documents(place)
    assert other.get(added.record.id) is None
    other.refresh()
    record = other.get(added.record.id)
    assert record == added.record
    assert (record.state, record.bytes, record.tenant, record.groups, record.version) == ("waiting", 11, "acme", ("hr",), "2")
    assert other.data(record) == b"thirty days"
    assert other.text(record) is None
    assert not added.duplicate


def test_the_same_bytes_with_the_same_readers_are_one_document(store):
    first = store.put(note("a.md", groups=("hr", "law")), b"same")
    again = store.put(note("a.md", groups=("law", "hr")), b"same")
    others = store.put(note("a.md", groups=("law",)), b"same")
    assert again.duplicate
    assert again.record == first.record
    assert others.record.id != first.record.id
    assert len(keys(store, "files/")) == 2


@everywhere
def test_a_new_version_takes_the_place_of_the_old_one_and_its_bytes(store):
    old = store.put(note(id="wiki/a.md", collection="wiki"), b"old").record
    new = store.put(note(id="wiki/a.md", collection="wiki"), b"new").record
    assert store.get("wiki/a.md") == new
    assert new.created_at == old.created_at
    assert store.data(new) == b"new"
    assert len(keys(store, "files/")) == 1


def test_an_id_of_one_collection_is_not_overwritten_by_another(store):
    store.put(note(id="wiki/a.md", collection="wiki"), b"old")
    with pytest.raises(DataError, match=r"is from wiki, not from an upload"):
        store.put(note(id="wiki/a.md"), b"new")


@everywhere
def test_a_deleted_document_leaves_a_tombstone_without_its_words(store):
    record = store.put(note("secret plan.md", title="Secret"), b"words", "words").record
    store.delete([record.id])
    left = store.get(record.id)
    assert (left.state, left.title, left.name, left.content) == ("deleted", "", "", "")
    assert keys(store, "files/") == keys(store, "texts/") == []
    assert store.find().records == ()
    assert store.find(deleted=True).records == (left,)


def test_a_document_that_was_deleted_can_be_added_again(store):
    record = store.put(note(), b"words").record
    store.delete([record.id])
    again = store.put(note(), b"words")
    assert not again.duplicate
    assert store.data(again.record) == b"words"


def test_a_document_of_the_releases_own_corpus_can_be_named_by_a_tombstone(store, place):
    store.delete(["policies/travel.md"])
    other = open_documents(place)
    assert other.refresh().records["policies/travel.md"].state == "deleted"


def test_a_deletion_that_expects_another_revision_is_refused(store, place):
    record = store.put(note(id="a", collection="c"), b"one").record
    store.put(note(id="a", collection="c"), b"two")
    with pytest.raises(DataError, match="changed meanwhile"):
        open_documents(place).delete(["a"], expected=record.revision)
    assert store.refresh().records["a"].live


def test_a_reader_lists_what_it_may_find(store):
    store.put_all([
        Addition(note("open.md"), b"1"),
        Addition(note("ours.md", tenant="acme"), b"2"),
        Addition(note("hr.md", tenant="acme", groups=("hr",)), b"3"),
        Addition(note("theirs.md", tenant="other", groups=("hr",)), b"4"),
        Addition(note("sales.md", domain="sales"), b"5"),
    ])  # fmt: skip
    assert {record.name for record in store.find(HR).records} == {"open.md", "ours.md", "hr.md", "sales.md"}
    assert {record.name for record in store.find(Principal()).records} == {"open.md", "sales.md"}
    held = Principal("bob", "acme", frozenset(), frozenset({"sales"}))
    assert {record.name for record in store.find(held).records} == {"sales.md"}


def test_pages_of_a_listing_hold_every_document_once(store):
    store.put_all([Addition(note(f"{number}.md"), str(number).encode()) for number in range(7)])
    seen, after = [], ""
    while True:
        page = store.find(after=after, limit=3)
        seen += [record.name for record in page.records]
        after = page.next
        if not after:
            break
    assert sorted(seen) == [f"{number}.md" for number in range(7)]
    assert [record.name for record in store.find(words="4.M").records] == ["4.md"]


def test_a_state_is_written_only_over_the_content_it_is_of(store):
    old = store.put(note(id="a", collection="c"), b"one").record
    new = store.put(note(id="a", collection="c"), b"two").record
    assert store.advance([old.model_copy(update={"state": "ready", "chunks": 3})]) == []
    assert store.get("a") == new
    [ready] = store.advance([new.model_copy(update={"state": "ready", "chunks": 4})])
    assert store.get("a") == ready
    assert (ready.state, ready.chunks) == ("ready", 4)
    store.delete(["a"])
    assert store.advance([ready]) == []


def test_the_version_changes_with_every_change_of_what_is_wanted_and_is_the_same_everywhere(store, place):
    versions = [store.current.version]
    record = store.put(note(), b"words").record
    versions.append(store.current.version)
    store.advance([record.model_copy(update={"state": "ready"})])
    assert store.current.version == versions[-1]
    store.delete([record.id])
    versions.append(store.current.version)
    store.delete(["policies/travel.md"])
    versions.append(store.current.version)
    assert versions[0] == ""
    assert len(set(versions)) == 4
    assert open_documents(place).refresh().version == versions[-1]


@everywhere
def test_concurrent_writers_lose_nothing(place):
    def write(writer: int) -> None:
        mine = open_documents(place)
        for number in range(6):
            record = mine.put(note(f"{writer}-{number}.md"), f"{writer} {number}".encode()).record
            mine.put(note("shared.md"), b"shared")
            if number % 2:
                mine.delete([record.id])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = open_documents(place)
    store.refresh()
    assert {record.name for record in store.find().records} == {f"{w}-{n}.md" for w in range(4) for n in (0, 2, 4)} | {"shared.md"}
    assert all(store.data(record) for record in store.find().records)
    assert len(keys(store, "files/")) == 13


def test_a_replica_that_fell_behind_begins_at_the_snapshot(place, monkeypatch):
    monkeypatch.setattr(store_module, "SNAPSHOT_EVERY", 4)
    clock = [datetime.now(UTC)]
    storage = open_documents(place).storage
    store = DocumentStore(storage, now=lambda: clock[0])
    behind = open_documents(place)
    store.put(note("0.md"), b"0")
    behind.refresh()
    for number in range(1, 6):
        store.put(note(f"{number}.md"), str(number).encode())
    clock[0] += timedelta(hours=1)
    for number in range(6, 13):
        store.put(note(f"{number}.md"), str(number).encode())
    assert keys(store, "log/changes/")[0] == "log/changes/000000000009.json"
    assert behind.refresh() == store.current
    assert open_documents(place).refresh() == store.current
    assert len(store.current.records) == 13


def test_a_writer_that_slept_does_not_write_where_the_log_was_tidied(place):
    storage = open_documents(place).storage
    clock = [datetime.now(UTC)]
    log = ChangeLog(storage, "log", now=lambda: clock[0])
    for revision in range(6):
        assert log.append(revision, b"x")
    log.write_snapshot(3, b"s3")
    clock[0] += timedelta(hours=1)
    log.write_snapshot(6, b"s6")
    assert not log.append(1, b"late")
    assert log.after(2).revision == 6


@everywhere
def test_a_snapshot_that_is_lost_is_named(place):
    storage = open_documents(place).storage
    log = ChangeLog(storage, "log")
    for revision in range(3):
        assert log.append(revision, b"x")
    log.write_snapshot(3, b"s3")
    for revision in (1, 2, 3):
        storage.delete(f"log/changes/{revision:012d}.json")
    storage.delete("log/snapshots/000000000003.json")
    with pytest.raises(StoreError, match=r"log/snapshots/000000000003\.json is not there.* Bring it back"):
        log.after(0)


def test_bytes_of_a_writer_that_was_killed_are_removed_after_a_while(place):
    clock = [datetime.now(UTC)]
    store = DocumentStore(open_documents(place).storage, now=lambda: clock[0])
    record = store.put(note(), b"words", "words").record
    store.storage.put("files/0123-dead", b"lost")
    assert store.remove_orphans() == 0
    clock[0] += timedelta(hours=2)
    assert store.remove_orphans() == 1
    assert store.data(record) == b"words"
    assert store.text(record) == ReadText("words")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\plan.docx", "plan.docx"),
        (".env", "env"),
        ("a\u202eb\n?#%.md", "a b .md"),
        ("", "document"),
        ("x" * 300 + ".md", "x" * 117 + ".md"),
    ],
)
def test_names_of_files_become_harmless_ids(name, safe):
    assert safe_name(name) == safe


def test_a_reader_that_finds_nothing_new_asks_for_little(place):
    store = open_documents(place)
    store.put(note(), b"words")
    asked: list[str] = []
    get = store.storage.get
    store.storage.get = lambda key: asked.append(key) or get(key)
    for _ in range(5):
        store.refresh()
    assert len(asked) <= 5 + 1
