"""The verdict on the command line: the same as by HTTP, with an exit code of its own for each."""

import time
from pathlib import Path

import pytest

from harness.cli import run
from serving.pipeline.types import Answer, Draw, Principal, Query, Trace
from serving.release.channel import read_channel
from serving.traces.record import TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from tests.app.making import House, config
from tests.app.release.test_trial import try_beside


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(tmp_path / "house")
    await made.release(config())
    monkeypatch.setenv("TOUCHSTONE_HOME", str(made.root / "home"))
    monkeypatch.setenv("TOUCHSTONE_RELEASES", str(made.releases))
    monkeypatch.chdir(tmp_path)
    return made


def put(house: House, release: str, count: int, *, refused: bool) -> None:
    store = SqliteTraceStore(house.root / "home" / "traces.db")
    traces = []
    for number in range(count):
        share = (number * 0.618) % 1.0
        chosen = share < 0.5
        answer = Answer("a", refused=refused and chosen)
        role, draw = "canary" if chosen else "stable", Draw(release, "canary", share, 0.5)
        traces.append(Trace(f"t{number}", Query("?", Principal("ann")), "c", "i", role=role, draw=draw, answer=answer))
    store.put([TraceRecord.of(trace, time.time() + number / 1e6) for number, trace in enumerate(traces)])
    store.close()


def verdict(*more: str) -> int:
    return run(["channel", "verdict", "dev", "--minutes", "0", *more])


async def test_each_verdict_has_its_exit_code_and_a_sentence(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict() == 2
    assert "has no candidate to judge. Try one: touchstone channel set dev --candidate" in capsys.readouterr().err
    release = await try_beside(house, "canary", 0.5)
    assert verdict() == 2
    assert "TOUCHSTONE_TRACES" in capsys.readouterr().err
    put(house, release, 60, refused=False)
    assert verdict() == 4
    assert "questions more would decide" in capsys.readouterr().out
    put(house, release, 400, refused=False)
    assert verdict("--json") == 0
    assert '"verdict": "no worse"' in capsys.readouterr().out
    put(house, release, 400, refused=True)
    assert verdict() == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "worse: Refusals: 100.0% by the candidate" in out
    assert "disagreements: No question was answered by both releases." in out
    assert verdict("--alpha", "2") == 2
    assert read_channel(house.storage, "dev").candidate
