"""`touchstone ingest`: folders, buckets and git repositories, again and again."""

import os
import subprocess
from pathlib import Path

import boto3
import pytest

from harness.ingest.git import GitLocation
from serving.documents.open import open_documents
from serving.documents.store import DocumentStore
from serving.pipeline.errors import ConfigError
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import write_release
from tests.app.making import PROMPTS, config
from tests.documents.making import RELEASED
from tests.support.releasing import at, point
from tests.support.world import World, world

__all__ = ["world"]


def store(place: Path) -> DocumentStore:
    found = open_documents(PipelineSettings(home=place / ".touchstone", _env_file=None))
    found.refresh()
    return found


def live(place: Path) -> dict[str, str]:
    found = store(place)
    return {record.id: found.text(record).text for record in found.current.live}


@pytest.fixture
def shelf(world: World) -> Path:
    folder = world.root / "shelf"
    (folder / "hr").mkdir(parents=True)
    (folder / "hr" / "pay.md").write_text("---\ngroups: [hr]\nversion: 3\nstatus: superseded\n---\n# Pay bands\n\nBand 7 begins at 70,000.")
    (folder / "moon.txt").write_text("Lunar travel is booked by the lunar desk.")
    (folder / "cells.xlsx").write_text("cells")
    return folder


def test_a_folder_is_added_with_what_its_rules_say(world: World, shelf: Path):
    said = world.touchstone("ingest", str(shelf), "--json")
    assert said.code == 0, said.err
    assert said.json["added"] == ["shelf/hr/pay.md", "shelf/moon.txt"]
    assert said.json["skipped"] == [{"path": "cells.xlsx", "reason": "no loader for '.xlsx'"}]
    pay = store(world.root).get("shelf/hr/pay.md")
    assert (pay.groups, pay.version, pay.status, pay.title, pay.domain) == (("hr",), "3", "superseded", "Pay bands", "hr")
    assert (pay.collection, pay.state) == (str(shelf), "indexing")
    assert pay.uploader.startswith("ingest:")


def test_only_what_changed_is_touched_and_what_is_gone_is_removed_when_asked(world: World, shelf: Path):
    world.touchstone("ingest", str(shelf))
    before = store(world.root)
    assert world.touchstone("ingest", str(shelf), "--json").json | {"place": ""} == {
        "added": [], "changed": [], "unchanged": 2, "gone": [], "pruned": False, "dry_run": False, "indexed": None, "place": "",
        "skipped": [{"path": "cells.xlsx", "reason": "no loader for '.xlsx'"}],
    }  # fmt: skip
    assert store(world.root).current == before.current
    (shelf / "moon.txt").write_text("Lunar travel takes nine days.")
    (shelf / "hr" / "pay.md").unlink()
    said = world.touchstone("ingest", str(shelf))
    assert "0 documents added, 1 changed, 0 unchanged, 1 gone from the source and kept (remove: --prune)" in said.out
    assert live(world.root)["shelf/moon.txt"] == "Lunar travel takes nine days."
    assert "1 would be removed" in world.touchstone("ingest", str(shelf), "--prune", "--dry-run").out
    assert len(live(world.root)) == 2
    assert world.touchstone("ingest", str(shelf), "--prune").code == 0
    assert list(live(world.root)) == ["shelf/moon.txt"]


def test_a_changed_rule_changes_readers_of_files_that_did_not_change(world: World, shelf: Path):
    world.touchstone("ingest", str(shelf))
    (shelf / "corpus.yaml").write_text("defaults: {groups: [hr, staff]}\n")
    said = world.touchstone("ingest", str(shelf), "--json").json
    assert said["changed"] == ["shelf/moon.txt"]
    assert store(world.root).get("shelf/moon.txt").groups == ("hr", "staff")


def test_readers_of_the_command_line_are_narrowed_and_never_widened_by_the_files(world: World, shelf: Path):
    said = world.touchstone("ingest", str(shelf), "--tenant", "acme", "--groups", "hr,law", "--domain", "people")
    assert said.code == 0, said.err
    found = store(world.root)
    assert {record.id: (record.tenant, record.groups, record.domain) for record in found.current.live} == {
        "shelf/hr/pay.md": ("acme", ("hr",), "people"),
        "shelf/moon.txt": ("acme", ("hr", "law"), "people"),
    }
    said = world.touchstone("ingest", str(shelf), "--groups", "law", "--as", "again")
    assert said.code == 2
    assert "groups hr would read what --groups keeps for law" in said.err


def test_a_source_without_a_document_is_a_mistake_unless_it_may_be_empty(world: World):
    empty = world.root / "incoming"
    empty.mkdir()
    assert world.touchstone("ingest", str(empty)).code == 2
    (empty / "cells.xlsx").write_text("cells")
    said = world.touchstone("ingest", str(empty), "--may-be-empty", "--json")
    assert (said.code, said.json["added"]) == (0, [])
    assert [skip["path"] for skip in said.json["skipped"]] == ["cells.xlsx"]
    assert world.touchstone("ingest", str(empty), "--may-be-empty", "--prune").code == 2  # an empty bucket removes nothing


def test_a_channel_that_there_is_not_is_refused_before_anything_is_written(world: World, shelf: Path):
    said = world.touchstone("ingest", str(shelf), "--channel", "production")
    assert said.code == 2
    assert "No channel 'production'" in said.err
    assert live(world.root) == {}


def test_a_dry_run_writes_nothing(world: World, shelf: Path):
    said = world.touchstone("ingest", str(shelf), "--dry-run")
    assert "2 documents would be added" in said.out
    assert live(world.root) == {}


def test_lines_are_documents_too(world: World, tmp_path: Path):
    (tmp_path / "wiki.jsonl").write_text('{"id": "a", "text": "Lunar."}\n{"id": "b", "text": "Tax.", "metadata": {"groups": ["hr"]}}\n')
    assert world.touchstone("ingest", str(tmp_path / "wiki.jsonl")).code == 0
    assert live(world.root) == {"wiki/a": "Lunar.", "wiki/b": "Tax."}
    assert world.touchstone("ingest", str(tmp_path / "wiki.jsonl"), "--json").json["unchanged"] == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "No folder or file 'nowhere'"),
        ("file:///etc", "is no source"),
        ("ext::sh -c id", "is no source"),
        ("https://example.com/x", "is no source"),
        ("git+ext::sh -c id", "is no address of a repository"),
        ("git+file:///etc", "fetched by https, not by 'file'"),
        ("git+ssh://git@host/x", "fetched by https, not by 'ssh'"),
        ("git+https://me:secret@host/x", "a name or a password is not taken"),
        ("git+https://host/x@--upload-pack=id", "is not the name of a branch"),
        ("git+https://host/x#../y", "is not a folder in a repository"),
    ],
)
def test_what_is_no_source_is_one_line_and_exit_code_2(world: World, source: str, said: str):
    found = world.touchstone("ingest", source)
    assert found.code == 2
    assert said in found.err.splitlines()[-1]
    assert "secret" not in found.err


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("git+https://host/team/repo.git@v1.2#docs/en", GitLocation("https://host/team/repo.git", "v1.2", "docs/en")),
        ("git+https://host/team/repo@feature/x", GitLocation("https://host/team/repo", "feature/x")),
        ("git+https://host/repo", GitLocation("https://host/repo")),
    ],
)
def test_addresses_of_repositories(source: str, place: GitLocation):
    assert GitLocation.parse(source) == place


def test_a_user_name_in_an_address_is_not_taken_for_a_ref():
    with pytest.raises(ConfigError, match="a name or a password"):
        GitLocation.parse("git+https://token@host/repo")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "upstream"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "moon.md").write_text("# Moon\n\nThe lunar desk books.")
    (folder / "other.md").write_text("# Other\n\nNot of the folder.")
    os.symlink("/etc/hostname", folder / "docs" / "link.md")
    hook = folder / ".githooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(folder), *words], check=True)
    return folder


def test_a_repository_is_read_at_a_ref_and_nothing_of_it_is_run(world: World, repository: Path, tmp_path: Path):
    source = f"git+{repository}@v1#docs"
    said = world.touchstone("ingest", source, "--json")
    assert said.code == 0, said.err
    assert said.json["added"] == ["docs/link.md", "docs/moon.md"]
    assert live(world.root)["docs/link.md"] == "/etc/hostname"  # a link is a file with its target in it
    (repository / "docs" / "moon.md").write_text("# Moon\n\nThe moon is closed.")
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(repository), "commit", "-qam", "two"], check=True)
    assert world.touchstone("ingest", source, "--json").json["unchanged"] == 2
    assert world.touchstone("ingest", f"git+{repository}@main#docs", "--json").json["changed"] == ["docs/moon.md"]
    assert not (tmp_path / "ran").exists()
    assert "find remote ref nowhere" in world.touchstone("ingest", f"git+{repository}@nowhere").err


def test_a_repository_beyond_the_bounds_is_refused(world: World, repository: Path):
    (repository / "docs" / "large.md").write_bytes(os.urandom(3_000_000).hex().encode())
    subprocess.run(["git", "-C", str(repository), "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(repository), "commit", "-qm", "large"], check=True)
    said = world.touchstone("ingest", f"git+{repository}", "--max-mb", "1")
    assert said.code in (2, 3)
    assert live(world.root) == {}


def test_a_bucket_is_read_without_what_no_loader_reads(world: World, s3_bucket: str, s3_server: str):
    client = boto3.Session().client("s3", endpoint_url=s3_server, region_name="us-east-1")
    files = {"wiki/hr/a.md": "# A\n\nLunar.", "wiki/b.bin": "x", "wiki/corpus.yaml": "domains: {hr: people}\n", "other/c.md": "C"}
    for key, text in files.items():
        client.put_object(Bucket=s3_bucket, Key=key, Body=text.encode())
    said = world.touchstone("ingest", f"s3://{s3_bucket}/wiki", "--json")
    assert said.code == 0, said.err
    assert said.json["added"] == ["wiki/hr/a.md"]
    assert [skip["path"] for skip in said.json["skipped"]] == ["b.bin"]
    assert store(world.root).get("wiki/hr/a.md").domain == "people"
    assert world.touchstone("ingest", f"s3://{s3_bucket}/nothing").code == 2


def test_with_a_release_on_the_channel_they_are_indexed_at_once(world: World, shelf: Path):
    import asyncio

    from serving.pipeline.index.build import build_index
    from serving.pipeline.index.corpus import Corpus
    from serving.pipeline.prompts import PromptLibrary

    settings = PipelineSettings(home=world.root / ".touchstone", _env_file=None)
    index = asyncio.run(build_index(Corpus.of("tiny", RELEASED), config(), settings=settings))
    made = write_release(at(world.root / "releases"), config(), PromptLibrary(PROMPTS), index.manifest)
    point(at(world.root / "releases"), "dev", made.digest)
    said = world.touchstone("ingest", str(shelf), "--json")
    assert said.code == 0, said.err
    assert said.json["indexed"] == {"release": made.digest, "documents": 2, "failed": 0, "added": 2}
    assert {record.state for record in store(world.root).current.live} == {"ready"}
