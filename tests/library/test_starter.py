"""The project that `touchstone init` makes."""

import tomllib
from pathlib import Path

import pytest
import yaml

from harness.cli import run
from harness.gate.gate import load_gate
from harness.golden.load import load_golden
from harness.project import starter
from harness.project.starter import start_project
from harness.settings import read_settings
from harness.sweep.experiment import load_experiment
from serving.pipeline.config import load_config
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_new_project_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    files = start_project(folder)
    assert all((folder / file).is_file() for file in files)
    golden = load_golden(folder / "datasets", "sample")
    assert not golden.check(load_corpus(folder / "datasets" / "corpora" / "sample"))
    assert min(len(golden.tune().cases), golden.counts("kind")["unanswerable"]) > 3
    config = load_config(folder / "experiments" / "configs" / "default.yaml")
    assert config.answer.prompt.version in PromptLibrary(folder / "prompts").versions(config.answer.prompt.name)
    assert load_experiment(folder / "experiments" / "first.yaml").golden == golden.id
    gates = sorted((folder / "experiments" / "gates").glob("*.yaml"))
    assert [load_gate(file).golden for file in gates] == [golden.id, golden.id]
    workflow = yaml.safe_load((folder / ".github" / "workflows" / "quality.yml").read_text())
    assert "touchstone gate" in str(workflow["jobs"]["gate"]["steps"])


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert run(["init", str(tmp_path)]) == 2
    assert "holds README.md already, and nothing is written over" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert run(["init", str(tmp_path / "README.md")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_an_empty_folder_is_filled_and_a_failure_leaves_it_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with monkeypatch.context() as patched:  # a disk that is full after the third file
        copied: list[object] = []

        def copyfile(source: Path, target: Path) -> None:
            copied.append(target)
            if len(copied) > 3:
                raise OSError(28, "No space left on device")
            target.write_bytes(source.read_bytes())

        patched.setattr(starter.shutil, "copyfile", copyfile)
        with pytest.raises(OSError, match="No space left"):
            start_project(folder)
    assert not list(folder.iterdir())
    assert not [path for path in tmp_path.iterdir() if path != folder]
    start_project(folder)
    assert (folder / "experiments" / "first.yaml").is_file()


def test_the_wheel_takes_the_prompts_to_where_they_are_looked_for() -> None:
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    places = {f"prompts/{family}": str((starter.PROMPTS[0] / family).relative_to(REPOSITORY)) for family in starter.FAMILIES}
    assert wheel["force-include"] == places
    assert all((REPOSITORY / source).is_dir() for source in places)


def test_the_only_corpus_and_golden_set_are_meant_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert (read_settings().usual_corpus, read_settings().usual_golden) == ("sample", "sample")
    assert run(["golden", "show", "--json"]) == 0
    assert "card-price" in capsys.readouterr().out
    assert run(["index", "--set", "index.embedder.name=local:hashing", "--json"]) == 0
    (tmp_path / "datasets/corpora/second").mkdir()
    assert read_settings().usual_corpus == ""
    assert run(["index"]) == 2
    assert "Which corpus? There are several in datasets/corpora: sample, second." in capsys.readouterr().err
