"""`touchstone index` says who may read the documents, verifies what is there, and never takes every corpus for one."""

import json
from pathlib import Path

import pytest

from harness.evaluation.context import corpus_path
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError
from tests.support.world import World

HASHING = ["--set", "index.embedder.name=local:hashing"]


@pytest.fixture
def rules(world: World) -> Path:
    """A corpus with one restricted document, one public, and rules that match none."""
    folder = world.root / "shelf"
    (folder / "hr").mkdir(parents=True)
    (folder / "hr" / "pay.md").write_text("---\ngroups: [hr]\n---\n# Pay\n\nBands.")
    (folder / "open.txt").write_text("Open to all.")
    (folder / "corpus.yaml").write_text("domains: {hr: people, hrr: x}\n")
    return folder


def test_index_says_how_many_documents_are_public_and_which_rules_matched_none(world: World, rules: Path) -> None:
    said = world.touchstone("index", "--corpus", str(rules), *HASHING)
    assert said.code == 0
    assert "1 documents are public, 1 are restricted" in said.out
    assert "matched no document: corpus.yaml: domains: hrr" in said.err
    found = json.loads(world.touchstone("index", "--corpus", str(rules), *HASHING, "--json").out)
    assert (found["public"], found["unused_rules"]) == (1, ["corpus.yaml: domains: hrr"])


def test_a_restriction_nearly_right_is_one_line_and_exit_code_2(world: World, rules: Path) -> None:
    (rules / "hr" / "bands.md").write_text("---\nGroups: [hr]\n---\n# Bands\n\nSecret.")
    said = world.touchstone("index", "--corpus", str(rules), *HASHING)
    assert said.code == 2
    assert f"{rules}/hr/bands.md:2: `Groups` looks like a restriction and is none" in said.err.splitlines()[-1]


def test_verify_builds_nothing_and_finds_a_changed_byte(world: World, rules: Path) -> None:
    words = ["index", "--corpus", str(rules), *HASHING, "--verify"]
    missing = world.touchstone(*words)
    assert (missing.code, "Build it: touchstone index" in missing.err) == (3, True)
    built = json.loads(world.touchstone(*words[:-1], "--json").out)
    assert "verified: every file, row and vector" in world.touchstone(*words).out
    place = Path(HarnessSettings().index_root) / built["recipe"]
    largest = max((path for path in place.rglob("*.lance") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    for again in (words, words[:-1]):
        said = world.touchstone(*again)
        assert said.code == 3
        assert f"{place}: the index is damaged: " in said.err
        assert "Remove it and run: touchstone index" in said.err
        assert "Traceback" not in said.err


@pytest.mark.parametrize("name", ["", " ", ".", "..", "./", "../.."])
def test_no_name_stands_for_every_corpus(name: str, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "corpora" / "one").mkdir(parents=True)
    with pytest.raises(ConfigError, match="A corpus is a name|with every corpus below it. Name one"):
        corpus_path(name, HarnessSettings(datasets=tmp_path / "datasets"))
