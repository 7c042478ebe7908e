"""A short soak, and that the soak would see what is wrong."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.support.redis import PROGRAM
from tests.support.waiting import WITHIN_S

BENCH = Path(__file__).parents[3] / "bench"
A, B = "a" * 16, "b" * 16


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`bench/soak.py` as a module."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("soak", BENCH / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)
    spec.loader.exec_module(module)
    return module


def test_a_release_may_answer_from_when_the_channel_named_it_until_the_next_was_followed(soak: ModuleType) -> None:
    found = soak.SoakFindings(moves=[soak.Move(A, 0.0, 0.0), soak.Move(B, 10.0, 12.0), soak.Move(A, 20.0, 21.0)])
    assert found.may_answer(A, 11.0, 11.5)  # the move was not followed yet
    assert found.may_answer(B, 10.5, 11.0)
    assert not found.may_answer(A, 12.1, 13.0)  # followed, and not named again
    assert not found.may_answer(B, 5.0, 9.0)
    assert not found.may_answer(B, 21.5, 22.0)
    assert found.may_answer(A, 13.0, 20.5)  # named again while the question was answered


def test_a_failure_is_announced_only_around_a_loss_of_the_trace_store(soak: ModuleType) -> None:
    found = soak.SoakFindings(losses=[("redis", 0.0, 100.0), ("trace store", 20.0, 25.0)])
    assert found.announced(19.0, 21.0)
    assert found.announced(25.0 + soak.GRACE_S, 40.0)
    assert not found.announced(10.0, 19.0)
    assert not found.announced(26.0 + soak.GRACE_S, 40.0)


def test_a_wrong_answer_a_5xx_and_a_lost_connection_are_findings(soak: ModuleType) -> None:
    def answered(request: httpx.Request) -> httpx.Response:
        said = {"answer": "of B", "release": A, "trace_id": "t"}
        answers = {"/v1/query": httpx.Response(200, json=said), "/v1/retrieve": httpx.Response(503)}
        if request.url.path not in answers:
            raise httpx.ConnectError("refused")
        return answers[request.url.path]

    async def try_all() -> list[str]:
        found = soak.SoakFindings(moves=[soak.Move(A, 0.0, 0.0)])
        async with httpx.AsyncClient(transport=httpx.MockTransport(answered), base_url="http://server") as client:
            worker = soak.Worker(client, found, {A: "of A", B: "of B"}, documents=False, seed=1)
            await worker._ask(1.0)
            await worker._retrieve(1.0)
            with pytest.raises(httpx.TransportError):
                await worker._feedback(1.0)
        return list(found.wrong)

    first, second = asyncio.run(try_all())
    assert "'of B'" in first
    assert "retrieve: 503" in second


def test_memory_that_grows_is_seen_and_a_moment_of_it_is_not(soak: ModuleType) -> None:
    assert soak.growth([(float(second), 100.0 + second) for second in range(80)]) > soak.GROWTH
    assert abs(soak.growth([(float(second), 150.0 if second == 75 else 100.0) for second in range(80)])) < 0.01


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed: apt install redis-server")
def test_nothing_is_wrong_lost_or_unannounced_while_releases_swap_and_stores_go_and_come(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "soak.py"), "--seconds", "16", "--swaps", "5", "--losses", "2", "--workers", "3"]
    command += ["--patience", "2", "--kill-pause", "0.05"]  # the double of the trace store takes long to find one thing among many
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=BENCH.parent, capture_output=True, text=True, check=False, timeout=15 * WITHIN_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["wrong"] == []
    assert report["swaps"] == 5
    assert report["losses"] == {"redis": 1, "trace store": 1}
    assert report["traces"] > 10
