"""The server that the demo shows, in a process of its own."""

import asyncio
from pathlib import Path

import pytest

from harness.cli.demo import decision_summary, excerpt
from harness.cli.demo_server import demo_server
from tests.app.conftest import furnished, house
from tests.app.making import PROMPTS, QUESTION, SAYS, House, config
from tests.support.releasing import point

__all__ = ["furnished", "house"]


@pytest.mark.slow
def test_a_server_follows_its_channel_and_is_gone_when_the_block_ends_however_it_ends(house: House, tmp_path: Path) -> None:
    other = asyncio.run(house.release(config("Nobody knows."), channel=None))
    places = {"HOME": house.root / "home", "RELEASES": house.releases, "PROMPTS": PROMPTS, "POLL_S": 0.1}
    environment = {f"TOUCHSTONE_{name}": str(value) for name, value in places.items()}
    with pytest.raises(KeyboardInterrupt), demo_server("dev", tmp_path / "server.log", environment) as server:
        answer = server.ask(QUESTION) if server.wait_for(_stable(house)) >= 0 else {}
        assert answer["answer"] == SAYS
        assert [one["document"] for one in answer["citations"]] == ["leave.md"]
        point(house.storage, "dev", other)
        server.wait_for(other)
        assert server.ask(QUESTION)["release"] == other
        raise KeyboardInterrupt
    assert server.process.poll() == 0


@pytest.mark.slow
def test_a_server_that_cannot_start_is_told_with_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    environment = {"TOUCHSTONE_RELEASES": str(tmp_path / "none"), "TOUCHSTONE_POLL_S": "wrong"}
    with pytest.raises(SystemExit, match="does not serve abc"), demo_server("dev", tmp_path / "server.log", environment) as server:
        server.wait_for("abc")
    assert "poll_s" in capfd.readouterr().err


def test_an_excerpt_is_one_line() -> None:
    assert excerpt("# Leave\n\n30 days") == "# Leave 30 days"
    assert len(excerpt("word " * 100)) <= 102


def test_a_gate_that_passed_says_which_rules_did_not_hold() -> None:
    outcomes = ["pass", "fail", "unjudged", "unjudged"]
    decision = {"message": "1 of 4 rules hold, none blocks", "rulings": [{"outcome": one} for one in outcomes]}
    assert decision_summary(decision) == "1 of 4 rules hold, none blocks (1 advise against it, 2 cannot be judged)."
    assert (
        decision_summary({"message": "1 of 1 rules hold, none blocks", "rulings": [{"outcome": "pass"}]})
        == "1 of 1 rules hold, none blocks."
    )


def _stable(house: House) -> str:
    from serving.release.channel import read_channel

    return read_channel(house.storage, "dev").stable
