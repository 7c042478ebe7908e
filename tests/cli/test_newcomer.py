"""What somebody meets who uses the tool for the first time, on files of his own."""

import shutil
import sys

import pytest

from harness.cli import run
from tests.cli.test_mistakes import refused
from tests.support.world import World


def test_in_a_project_of_several_sets_it_is_asked_which_one(world: World) -> None:
    datasets = world.root / "datasets"
    shutil.copytree(datasets / "golden" / "tiny", datasets / "golden" / "other")
    shutil.copytree(datasets / "corpora" / "tiny", datasets / "corpora" / "other")
    assert "Which golden set? There are several in datasets/golden: other, tiny. Name one with --golden, or" in refused(
        world, "golden", "check"
    )
    assert "Which corpus? There are several in datasets/corpora: other, tiny. Name one with --corpus." in refused(
        world, "index", "-c", "tiny.yaml"
    )


def test_a_choice_that_is_none_is_told_without_the_parsers_own_words(world: World) -> None:
    said = refused(world, "eval", "--split", "holdot")
    assert "'holdot' is not one of 'tune', 'holdout', 'all'" in said
    assert "Value error" not in said


@pytest.mark.parametrize("space", ["{}", "\n"])
def test_an_empty_space_is_told_in_plain_words(world: World, space: str) -> None:
    (world.root / "own.yaml").write_text(f"name: own\ngolden: tiny/v1\nspace: {space}\n")
    said = refused(world, "sweep", "own.yaml", "--estimate")
    assert "own.yaml: space: " in said
    assert "dictionary" not in said


def test_files_that_an_import_leaves_out_are_told_in_sentences(world: World) -> None:
    corpus = world.root / "docs"
    corpus.mkdir()
    (corpus / "good.md").write_text("# Leave\n\nThere are 30 days of holiday.\n")
    (corpus / "prices.csv").write_text("a;b\n")
    (corpus / "broken.docx").write_bytes(b"PK\x03\x04 nonsense")
    (corpus / "LICENCE").write_text("words\n")
    (world.root / "cases.jsonl").write_text(
        '{"id": "a", "question": "How many days?", "answers": ["30 days"], "kind": "factoid", "domain": "hr",'
        ' "evidence": [{"document": "good.md", "quote": "30 days of holiday"}]}\n'
    )
    said = world.touchstone("golden", "import", "cases.jsonl", "--name", "own", "--corpus", "docs")
    assert said.code == 0, said
    assert "a document of the corpus, skipped: no loader for '.csv': 'prices.csv'" in said.out
    assert "a document of the corpus, skipped: is not a Word file" in said.out
    assert "a document of the corpus, skipped: no suffix that says what it is: 'LICENCE'" in said.out


def test_what_names_its_set_is_compared_in_a_project_of_several(world: World) -> None:
    for name, top_k in (("one", "2"), ("two", "3")):
        said = world.touchstone(
            "eval", "-g", "tiny", "-c", "tiny.yaml", "--name", name, "--set", f"retrieve.top_k={top_k}", "--no-tracking"
        )
        assert said.code == 0, said
    shutil.copytree(world.root / "datasets" / "golden" / "tiny", world.root / "datasets" / "golden" / "other")
    said = world.touchstone("compare", "one", "two")
    assert said.code == 0, said


@pytest.mark.parametrize(("stream", "code"), [("stdout", 0), ("stderr", 0)])
def test_a_stream_that_was_closed_before_the_start_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, stream: str, code: int
) -> None:
    monkeypatch.setattr(sys, stream, None)  # as Python has it after `>&-`
    assert run(["golden", "list"]) == code
    assert getattr(sys, stream) is None


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TOUCHSTONE_RELEASES", "s3:/bucket/x", "write a folder, or s3://bucket/prefix"),
        ("TOUCHSTONE_INDEXES", "gs://bucket/x", "write a folder, or s3://bucket/prefix"),
        ("TOUCHSTONE_TRACES", "dynamo:table", "write a file, or dynamodb:<table>"),
    ],
)
def test_a_place_that_is_nearly_a_bucket_or_a_table_is_no_folder(
    world: World, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    said = refused(world, "release", "list")
    assert f"{variable} is {value!r}: {words}" in said
    monkeypatch.setenv(variable, f"./{value}")
    assert world.touchstone("release", "list").code == 0


def test_doctor_sees_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.doctor

    monkeypatch.setattr(harness.doctor, "ROOM", 10**18)  # more than any disk has
    said = world.touchstone("doctor")
    assert said.code == 3
    assert "MB left; make room, or set TOUCHSTONE_HOME" in said.out
