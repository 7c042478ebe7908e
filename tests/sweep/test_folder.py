import json
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.results.report_file import report_text
from harness.sweep.folder import SweepFolder, SweepRecord, experiment_of, latest, new_sweep_folder, refuse_changed
from harness.sweep.trial import Trial
from serving.pipeline.errors import ConfigError, DataError
from tests.support.sweeping import experiment, search, searched

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def trials_of(folder: Path) -> list[Trial]:
    return searched(search(experiment(trials=3), folder))


def test_what_was_kept_is_found_again_to_the_last_bit(tmp_path: Path) -> None:
    kept = trials_of(tmp_path)
    marked = replace(kept[2], state="pruned", why="worse", label="champion", violations={"cost.usd": 1e-17}, objectives=(1 / 3,))
    SweepFolder(tmp_path).write_trial(marked)
    found = SweepFolder(tmp_path).finished()
    for one, again in zip([*kept[:2], marked], found, strict=True):
        assert replace(one, report=again.report) == again
        assert report_text(one.report) == report_text(again.report)
    assert [one.number for one in found] == [0, 1, 2]


def test_an_empty_folder_has_nothing_finished_and_says_so(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "new")
    assert folder.finished() == []
    assert not folder.exists()
    with pytest.raises(DataError, match=r"it has no sweep\.json"):
        folder.record()


def test_a_folder_whose_question_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(DataError, match=r"sweep.json: cannot be read: Is a directory\.$"):
        SweepFolder(tmp_path).record()


def test_a_trial_whose_line_was_never_written_is_not_finished(tmp_path: Path) -> None:
    trials_of(tmp_path)
    (tmp_path / "trials" / "001.json").unlink()
    (tmp_path / "trials" / ".002.json.x8d2").write_text("{")  # a write that a kill cut short
    assert [one.number for one in SweepFolder(tmp_path).finished()] == [0, 2]


@pytest.mark.parametrize("damage", ["torn line", "torn report", "no report", "other line"])
def test_a_damaged_trial_is_named_with_its_mend(tmp_path: Path, damage: str) -> None:
    trials_of(tmp_path)
    line, report = tmp_path / "trials" / "001.json", tmp_path / "trials" / "001.jsonl"
    match damage:
        case "torn line":
            line.write_text(line.read_text()[:40])
        case "torn report":
            report.write_text(report.read_text()[:-40])
        case "no report":
            report.unlink()
        case "other line":
            line.write_text(json.dumps(json.loads(line.read_text()) | {"colour": "red"}))
    with pytest.raises(DataError, match=r"001\.json: not a finished trial: .* Remove it, and its cases are scored again") as caught:
        SweepFolder(tmp_path).finished()
    assert "\n" not in str(caught.value)
    line.unlink()
    assert len(SweepFolder(tmp_path).finished()) == 2


@pytest.mark.slow
def test_a_folder_is_one_process_at_a_time(tmp_path: Path) -> None:
    start = "import sys; from pathlib import Path; from harness.sweep.folder import SweepFolder\n"
    script = start + "with SweepFolder(Path(sys.argv[1])).locked(): pass"
    with SweepFolder(tmp_path).locked():
        other = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
        assert "is running in another process" in other.stderr
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True).returncode == 0


def test_two_sweeps_begun_in_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    made: list[SweepFolder] = []
    threads = [threading.Thread(target=lambda: made.append(new_sweep_folder(tmp_path, "e", NOON))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.path.name for folder in made) == ["e-20260102-120000", *(f"e-20260102-120000-{n}" for n in range(2, 6))]


def test_what_was_asked_is_read_back_and_the_sweep_begun_last_is_found(tmp_path: Path) -> None:
    for name, seed in (("e", 1), ("f", 2)):
        asked = experiment(name=name, seed=seed)
        folder = new_sweep_folder(tmp_path, name, NOON)
        folder.write_record(SweepRecord(experiment=asked.model_dump(mode="json"), golden_digest="g", corpus="tiny", corpus_digest="c"))
        assert experiment_of(folder.record()) == asked
    assert latest(tmp_path, "e").record().experiment["seed"] == 1
    with pytest.raises(ConfigError, match="No sweep of 'g'"):
        latest(tmp_path, "g")


def test_a_sweep_is_not_gone_on_with_over_other_questions_or_documents() -> None:
    record = SweepRecord(experiment={}, golden_digest="g", corpus="tiny", corpus_digest="c")
    now = {"golden_digest": "g", "corpus_digest": "c", "endpoints": ""}
    refuse_changed(record, now)
    with pytest.raises(ConfigError, match="The corpus has changed"):
        refuse_changed(record, now | {"corpus_digest": "d"})
    with pytest.raises(ConfigError, match="The endpoint of hosted models has changed .*none → http://there"):
        refuse_changed(record, now | {"endpoints": "http://there"})
