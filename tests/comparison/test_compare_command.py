import json
from pathlib import Path

import pytest

from harness.resolve import NamedConfig, RecordedRun, resolve
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError
from tests.support.world import NOVA, World, unreachable_bedrock


def evaluated(world: World, name: str, *more: str) -> None:
    said = world.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny", "--name", name, "--no-tracking", *more)
    assert said.code == 0, said.err


def compared(world: World, *arguments: str) -> dict[str, object]:
    said = world.touchstone("compare", *arguments, "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    return said.json


def test_two_runs_are_compared_without_evaluating_anything(world: World) -> None:
    evaluated(world, "one")
    evaluated(world, "two", "--set", "retrieve.top_k=1")
    said = world.touchstone("compare", "one", "reports/runs/two/cases.jsonl", "--name", "x")
    assert said.code == 0, said.err
    assert "retrieve.top_k: 2 → 1" in said.out
    assert {path.name for path in (world.root / "reports" / "compare" / "x").iterdir()} == {"report.html", "report.md", "compare.json"}
    again = world.touchstone("compare", "one", "two", "--name", "x")
    assert again.code == 2
    assert "There is a comparison named 'x' already" in again.err


def test_a_configuration_is_evaluated_on_the_questions_of_the_run(world: World) -> None:
    evaluated(world, "one", "--split", "holdout", "-m", "quality", "-m", "recall@2")
    looks = (world.root / ".touchstone" / "holdout-looks.jsonl").read_text().splitlines()
    found = compared(world, "one", "tiny.yaml", "--set-b", "retrieve.top_k=1", "--name", "y")
    assert (found["golden"], found["split"]) == ("tiny/v1", "holdout")
    assert [one["metric"] for one in found["metrics"]] == ["quality", "recall@2"]  # type: ignore[attr-defined]
    assert [change["path"] for change in found["changes"]] == ["retrieve.top_k"]  # type: ignore[attr-defined]
    more = (world.root / ".touchstone" / "holdout-looks.jsonl").read_text().splitlines()[len(looks) :]
    assert [json.loads(line)["why"] for line in more] == ["compare y"]
    assert (world.root / "reports" / "compare" / "y" / "b.jsonl").is_file()


def test_a_configuration_against_itself_is_called_the_same(world: World) -> None:
    found = compared(world, "tiny.yaml", "tiny.yaml", "-g", "tiny", "--cases", "3", "-m", "quality")
    assert found["cases"] == 3
    assert "same configuration" in found["notes"][0]  # type: ignore[index]
    assert (found["verdict"], found["margin"]) == ("B is undecided by quality.", 0.02)
    wide = compared(world, "tiny.yaml", "tiny.yaml", "-g", "tiny", "--cases", "3", "-m", "quality", "--margin", "0.95")
    assert (wide["verdict"], wide["margin"]) == ("B is equivalent by quality.", 0.95)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("one", "nothing"), "'nothing' names nothing to compare. Write a configuration file"),
        (("one", "ona"), "Did you mean 'one'?"),
        (("one", "one", "--margin", "0"), "A margin is a difference of scores above 0 and below 1, for example 0.02, not 0.0."),
        (("one", "one", "-g", "other"), "one was evaluated on tiny/v1, not on other."),
        (("one", "one", "--split", "holdout"), "one was evaluated on the tune split, not on holdout."),
        (("one", "one", "--set-b", "retrieve.top_k=1"), "'one' was evaluated already"),
        (("one", "channel:dev"), "Channel 'dev' points at nothing yet."),
        (("one", "one", "-m", "token_f2"), "Did you mean 'token_f1'?"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(world: World, arguments: tuple[str, ...], words: str) -> None:
    evaluated(world, "one", "--cases", "2", "-m", "quality")
    said = world.touchstone("compare", *arguments)
    assert said.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not (world.root / "reports" / "compare").exists()


def test_an_outage_is_exit_code_3_and_no_comparison(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated(world, "one", "--cases", "2", "-m", "quality")
    unreachable_bedrock(monkeypatch)
    changes = [part for tier in ("lite", "pro") for part in ("--set-b", f"answer.models.{tier}.name={NOVA}")]
    said = world.touchstone("compare", "one", "tiny.yaml", *changes)
    assert said.code == 3, said.err
    assert "2 of 2 cases were not answered" in said.err
    assert not list((world.root / "reports").glob("compare/*/report.html"))


def test_words_name_files_runs_releases_channels_and_the_default(world: World) -> None:
    places = HarnessSettings()
    default = resolve("default", places)
    assert isinstance(default, NamedConfig)
    assert default.config.flat()["retrieve.top_k"] == 6
    evaluated(world, "one", "--cases", "2", "-m", "quality")
    by_name, by_folder, by_file = (resolve(word, places) for word in ("one", "reports/runs/one", "reports/runs/one/cases.jsonl"))
    assert isinstance(by_name, RecordedRun) and isinstance(by_folder, RecordedRun) and isinstance(by_file, RecordedRun)
    assert by_name.report.header == by_folder.report.header == by_file.report.header
    assert (by_name.label, by_folder.label) == ("one", "one")


def test_a_release_is_named_by_the_beginning_of_its_digest(world: World) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--trials", "2").code == 0
    world.pass_gate()
    assert world.touchstone("promote").code == 0
    places = HarnessSettings()
    served = resolve("channel:dev", places)
    assert isinstance(served, NamedConfig)
    short = resolve(served.release[:6], places)
    assert isinstance(short, NamedConfig)
    assert (short.release, short.config, short.label) == (served.release, served.config, f"release {served.release}")
    with pytest.raises(ConfigError, match="names nothing"):
        resolve(served.release[:3], places)
    twin = Path("releases") / (served.release[:6] + "x" * 10)
    twin.mkdir()
    (twin / "SHA256SUMS").write_text("")
    with pytest.raises(ConfigError, match="begins 2 releases"):
        resolve(served.release[:6], places)
