import html
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from serving.pipeline.config import load_config
from tests.support.world import CONFIG, World

pytestmark = pytest.mark.slow


def test_a_sweeps_report_is_written_anew_by_name_by_experiment_by_folder_and_as_the_latest(world: World) -> None:
    assert world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "one").code == 0
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json").code == 0
    [folder] = (world.root / "reports" / "sweeps").iterdir()
    for word in (folder.name, "small", str(folder), "latest"):
        (folder / "report.html").unlink()
        said = world.touchstone("report", word, "--json")
        assert said.code == 0, said.err
        assert isinstance(said.json, dict)
        assert (said.json["kind"], said.json["ended"]) == ("sweep", True)
        assert Path(said.json["report"]).resolve() == folder / "report.html"
        assert (folder / "report.html").is_file()


def commands_of(page: Path) -> list[list[str]]:
    """What a page says to type, to do it again."""
    [typed] = re.findall(r"<h2>Do it again</h2>\s*<pre>(.*?)</pre>", page.read_text(), re.DOTALL)
    return [shlex.split(line)[1:] for line in html.unescape(typed).splitlines()]


@pytest.mark.parametrize("places", ["reports", "what was found", "/"])
def test_what_the_page_says_to_type_does_it_again(world: World, places: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_REPORTS", places if places != "/" else str(world.root / "reports"))
    before = world.touchstone("sweep", "small.yaml", "--no-tracking", "--json", "--trials", "2").json
    assert isinstance(before, dict)
    page = Path(before["report"])
    again, gate, ship = commands_of(page)
    assert not Path(again[1]).is_absolute()
    listed = re.findall("^    (touchstone .*)", page.with_suffix(".md").read_text(), re.MULTILINE)
    assert [shlex.split(line)[1:] for line in listed] == [again, gate, ship]
    found = world.touchstone(*again, "--no-tracking", "--json").json
    assert isinstance(found, dict)
    assert [found[name] for name in ("trials", "verdict", "values")] == [before[name] for name in ("trials", "verdict", "values")]
    world.pass_gate(gate[gate.index("--config") + 1])  # makes the gate as well
    assert world.touchstone(*gate).code == 0
    shipped = world.touchstone(*ship, "--json").json
    assert isinstance(shipped, dict)
    assert shipped["release"] == before["config_digest"]
    assert world.touchstone("report", page.parent.name, "--out", "elsewhere").code == 0
    assert commands_of(world.root / "elsewhere/report.html") == [["sweep", "elsewhere/experiment.yaml"], gate, ship]


@pytest.mark.usefixtures("tracked")
def test_the_champion_that_had_to_be_beaten_is_kept_beside_the_report(world: World) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json", "--trials", "2").code == 0
    [first] = (world.root / "reports/sweeps").iterdir()
    assert "no other configuration was recorded as champion" in (first / "report.html").read_text()
    assert not (first / "champion.yaml").exists()
    champion = world.root / "reports/champions/tiny-v1-holdout.yaml"
    champion.parent.mkdir()
    champion.write_text(yaml.safe_dump(CONFIG | {"retrieve": {"top_k": 7}}))
    assert world.touchstone("sweep", "small.yaml", "--json", "--trials", "2").code == 0
    [second] = set((world.root / "reports/sweeps").iterdir()) - {first}
    digest = json.loads((second / "trials/001.jsonl").read_text().splitlines()[0])["config_digest"]
    for page in ("report.html", "report.md"):
        words = "What had to be beaten was the champion recorded when the sweep was begun, configuration "
        assert f"{words}{digest}, kept in champion.yaml" in (second / page).read_text().replace("&#39;", "'")
    assert load_config(second / "champion.yaml") == load_config(champion)
    assert list((world.root / ".touchstone/mlflow/artifacts").glob("*/artifacts/champion.yaml"))


def test_a_sweep_that_was_stopped_is_reported_as_it_stands(world: World) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json").code == 0
    [folder] = (world.root / "reports" / "sweeps").iterdir()
    (folder / "result.json").unlink()
    said = world.touchstone("report", "latest", "--out", "elsewhere")
    assert said.code == 0, said.err
    assert said.out.startswith("No verdict yet")
    assert "No verdict yet: 3 of 3 trials" in (world.root / "elsewhere" / "report.md").read_text()


def test_an_evaluations_report_is_written_anew(world: World) -> None:
    assert world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "one").code == 0
    before = (world.root / "reports/runs/one/report.html").read_text()
    for word in ("one", "reports/runs/one", "reports/runs/one/cases.jsonl"):
        assert world.touchstone("report", word, "--out", "elsewhere").code == 0
        assert (world.root / "elsewhere" / "report.html").read_text() == before


def test_an_unknown_run_is_one_line_with_near_names(world: World) -> None:
    said = world.touchstone("report", "latest")
    assert said.code == 2
    assert "to report on yet" in said.err
    assert world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "first").code == 0
    assert world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "second-try").code == 0
    said = world.touchstone("report", "second")
    assert said.code == 2
    assert "No sweep and no evaluation 'second'. Did you mean 'second-try'?" in said.err
    said = world.touchstone("report", "frist")
    assert said.code == 2
    assert "Did you mean 'first'?" in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["sweep.json", "result.json"])
def test_a_sweep_of_another_version_is_one_line_that_names_what_is_wrong(world: World, name: str) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json", "--trials", "2").code == 0
    [folder] = (world.root / "reports/sweeps").iterdir()
    kept = json.loads((folder / name).read_text())
    kept["experiment"] |= {"trails": 3}
    (folder / name).write_text(json.dumps(kept))
    if name == "sweep.json":
        (folder / "result.json").unlink()
        commands = [["report", "latest"], ["sweep", "--resume", "--no-tracking"]]
    else:
        commands = [["report", "latest"]]
    for command in commands:
        said = world.touchstone(*command)
        assert said.code == 2, said
        assert f"{name}, experiment: unknown key 'trails'. Did you mean 'trials'?" in said.err
        assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("change", [{"winner": 7}, {"finalists": []}, {"finalists": [{"number": 9, "against": None}], "winner": 9}])
def test_a_verdict_over_trials_that_are_not_there_is_one_line(world: World, change: dict[str, object]) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json", "--trials", "2").code == 0
    [folder] = (world.root / "reports/sweeps").iterdir()
    (folder / "result.json").write_text(json.dumps(json.loads((folder / "result.json").read_text()) | change))
    said = world.touchstone("report", "latest")
    assert said.code == 2
    assert "result.json: not what a sweep found. Write it anew: touchstone sweep --folder" in said.err
