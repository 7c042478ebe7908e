from pathlib import Path

from tests.harness.world import World


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
    again = world.touchstone("sweep", str(folder / "experiment.yaml"), "--no-tracking", "--json").json  # as the page says
    assert isinstance(again, dict)
    assert again["trials"] == 3


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
    said = world.touchstone("report", "frist")
    assert said.code == 2
    assert "Did you mean 'first'?" in said.err
    assert len(said.err.strip().splitlines()) == 1
