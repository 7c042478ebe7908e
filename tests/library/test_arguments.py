"""What a method is given by mistake is one line that says what it takes, and nothing is looked at, written or computed for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World
from touchstone import ConfigError, Project, run


@pytest.fixture
def project(world: World) -> Project:
    """The small company, as a library sees it."""
    return Project.open(world.root)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"split": "test"}, "No split 'test'. Known: tune, holdout, all."),
        ({"split": None}, "No split None"),
        ({"cases": 0}, "cases is a whole number from 1, not 0"),
        ({"cases": -1}, "cases is a whole number from 1, not -1"),
        ({"cases": "3"}, "cases is a whole number from 1, not '3'"),
        ({"concurrency": 0}, "concurrency is a whole number from 1, not 0"),
        ({"concurrency": None}, "concurrency is a whole number from 1, not None"),
        ({"metrics": "quality"}, "metrics is a list of names"),
        ({"metrics": None}, "metrics is a list of names"),
        ({"metrics": [1]}, "metrics is a list of names"),
        ({"name": "../../elsewhere"}, "becomes a folder's name"),
        ({"name": "/tmp/elsewhere"}, "becomes a folder's name"),
        ({"name": 5}, "becomes a folder's name"),
        ({"golden": None}, "A golden set is named by a text, such as 'tiny/v1', not None"),
        ({"golden": Path("tiny")}, "A golden set is named by a text"),
        ({"what": ""}, "'' names nothing to compare"),
    ],
)
def test_an_evaluation_refuses_what_it_cannot_mean(project: Project, world: World, given: dict[str, Any], words: str) -> None:
    (world.root / "cases.jsonl").write_text("not an evaluation\n")  # in the current folder, where '' would find it
    with pytest.raises(ConfigError, match=words):
        run(project.evaluate(**{"what": "tiny.yaml", "golden": "tiny", **given}))
    assert not project.settings.holdout_ledger.exists()
    assert not (world.root / "reports").exists()


def test_a_comparison_of_a_split_that_is_none_looks_at_no_holdout(project: Project) -> None:
    for given in ({"split": "test"}, {"cases": 0}):
        with pytest.raises(ConfigError, match="No split 'test'|cases is a whole number"):
            run(project.compare("tiny.yaml", "default", "tiny", **given))  # type: ignore[arg-type]
    assert not project.settings.holdout_ledger.exists()


CALLS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda project: project.ask(None, "tiny.yaml", corpus="tiny"), "A question is a text that asks something, not None"),
    (lambda project: project.ask(" \n", "tiny.yaml", corpus="tiny"), "A question is a text that asks something"),
    (lambda project: project.ask("a\ud800b", "tiny.yaml", corpus="tiny"), "no Unicode text, at 1"),
    (lambda project: project.ask("Why?", "tiny.yaml", corpus=None), "A corpus is a name, or the path"),
    (lambda project: project.ask("Why?", lambda question: None, corpus="tiny"), "it gave NoneType, not text"),
    (lambda project: project.gate(None), "A gate is named by the path of its file, not None"),
    (lambda project: project.gate({"name": "x"}), "A gate is named by the path of its file"),
    (lambda project: project.sweep(5), "An experiment is named by the path of its file, not 5"),
    (lambda project: project.sweep(folder=5), "A sweep is named by the path of its file, not 5"),
    (lambda project: project.estimate(None), "An experiment is named by the path of its file, not None"),
    (lambda project: project.promote({}), "A candidate is named by the path of its file"),
    (lambda project: project.promote(""), "A candidate is named by the path of its file"),
    (lambda project: project.promote(project.config()), "A candidate is named by the path of its file"),
    (lambda project: project.compare(project.evaluate(), "default"), "was not awaited: await it, or write run"),
]


@pytest.mark.parametrize(("call", "words"), CALLS)
def test_what_is_of_the_wrong_kind_is_told_in_one_line(project: Project, call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        run(call(project))
    assert "\n" not in str(told.value)


def test_changes_are_a_mapping_and_one_gate_may_stand_alone(project: Project) -> None:
    with pytest.raises(ConfigError, match="Changes are a mapping of dotted paths"):
        project.config("default", ["retrieve.top_k=3"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"No file 'nope.yaml'"):
        project.champions("nope.yaml")


def test_a_result_is_had_once_and_only_of_what_can_be_awaited(project: Project) -> None:
    asked = project.ask("For how long is sick leave paid?", "tiny.yaml", corpus="tiny")
    run(asked)
    with pytest.raises(ConfigError, match=r"This Project.ask was run already: call the method again"):
        run(asked)
    with pytest.raises(ConfigError, match=r"run takes what a method of a Project gives: run\(project.evaluate\(…\)\), not method"):
        run(project.evaluate)  # type: ignore[arg-type]


def test_a_project_is_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere", tmp_path / "file", 5):
        with pytest.raises(ConfigError, match="No folder|A project's folder"):
            Project.open(place)  # type: ignore[arg-type]
