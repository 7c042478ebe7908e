"""What bench/verdict_peers.py sends to other tools and reads from them, and how it finds the smallest loss that was seen."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("_peers")


def test_a_tool_in_its_own_process_answers_each_pair(peers: ModuleType, tmp_path: Path) -> None:
    pairs = [
        peers.ScoredPair(0, 0, [1.0, 1.0, 0.0, 1 / 3], [1.0, 0.0, 0.0, 1 / 3]),
        peers.ScoredPair(0, 1, [1.0] * 100, [0.0] * 4 + [1.0] * 96, interval=True, checked=True),
        peers.ScoredPair(3, 0, [0.5, 0.5], [0.5, 0.6]),
        peers.ScoredPair(3, 1, [0.5, 0.5], [0.5, 0.53]),
    ]
    peers.write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert list(peers.read_pairs(tmp_path / "pairs.jsonl")) == pairs
    subprocess.run([sys.executable, BENCH / "_peers.py", "means", tmp_path / "pairs.jsonl", tmp_path / "said.jsonl"], check=True)
    said = peers.read_answers(tmp_path / "said.jsonl")
    assert [(one.cell, one.number, one.called, one.passes) for one in said.answers] == [
        (0, 0, "worse", False),
        (0, 1, "worse", True),
        (3, 0, "better", True),
        (3, 1, "none", True),
    ]
    assert {one.by_interval for one in said.answers} == {None}
    assert (said.versions, said.checked) == ({}, 0)


def test_answers_of_a_run_that_broke_off_are_refused(peers: ModuleType, tmp_path: Path) -> None:
    peers.write_pairs(tmp_path / "pairs.jsonl", [peers.ScoredPair(0, number, [0.0], [1.0]) for number in range(3)])
    peers.main("means", tmp_path / "pairs.jsonl", tmp_path / "said.jsonl")
    lines = (tmp_path / "said.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "said.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="ends after 3 lines"):
        peers.read_answers(tmp_path / "said.jsonl")


def test_the_loss_from_which_on_all_are_found_lies_between_the_planted_ones(peers: ModuleType) -> None:
    smallest_found = importlib.import_module("verdict_peers").smallest_found
    assert smallest_found([(0.0, 0.0), (0.1, 0.6), (0.2, 1.0)]) == pytest.approx(0.15)
    assert smallest_found([(0.0, 0.0), (0.1, 0.6), (0.2, 0.7)]) is None
    assert smallest_found([(0.0, 0.9), (0.1, 0.3), (0.2, 0.9), (0.4, 1.0)]) == pytest.approx(0.1 + 0.1 * 5 / 6)  # the last time
    assert smallest_found([(0.0, 0.9), (0.1, 0.95)]) == 0.0  # called worse where nothing changed


def test_what_all_said_is_counted_by_cell_and_shown(peers: ModuleType) -> None:
    bench = importlib.import_module("verdict_peers")
    every = bench.cells()
    answers = [
        peers.PeerAnswer(place, number, "worse" if number else "none", "better", passes=not number)
        for place in range(len(every))
        for number in range(4)
    ]
    rows = bench.rows(every, dict.fromkeys(("ours", "mlflow", "ragops", "means"), answers), [0.25] * len(every))
    assert len(rows) == len(every) == 168
    assert rows[7]["mlflow"] == {
        "called_better": 0.0,
        "called_worse": 0.75,
        "by_interval_better": 1.0,
        "by_interval_worse": 0.0,
        "passes": 0.25,
        "pairs": 4,
    }
    grid = bench.CellTable(rows)
    assert bench.wrong(grid.row(("binary", False, 14), 0.0), "compare") == "75.0 / 0.0"
    assert bench.passes(rows[0], "ragops") == 0.25
    assert bench.passes(rows[0], "MLflow, not worse") == 0.25
