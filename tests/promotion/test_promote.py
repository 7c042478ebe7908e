import asyncio
import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.promotion import promote as promoting
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError, NotProven
from serving.pipeline.models.prices import PACKAGE
from serving.release.bundle import load_release, releases
from serving.release.channel import find_channel, read_channel
from serving.release.evidence import ForcedPromotion
from serving.release.verify import check_releases
from tests.support.killing import killing
from tests.support.promoting import MeetingFactory, factory, ship
from tests.support.releasing import at
from tests.support.world import World

FORCED = ForcedPromotion(who="ann", why="the demo is at noon")


def test_what_a_gate_passed_is_shipped_with_all_that_proves_it(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    done = asyncio.run(ship(at(storage_uri), "one.yaml"))
    release = load_release(at(storage_uri), done.release.digest, evidence=done.channel.evidence)
    [(digest, proof)] = release.evidence.items()
    assert read_channel(at(storage_uri), "dev") == done.channel
    assert (done.channel.stable, done.channel.evidence) == (release.digest, digest)
    assert done.channel.history[-1].why == "gate pull_request passed"

    decision = json.loads(next(gated.root.glob("reports/gates/*/decision.json")).read_text())
    assert proof.decision is not None
    recorded = proof.decision.model_dump(mode="json")
    assert recorded == {name: value for name, value in decision.items() if name != "changes"}
    assert (recorded["config_digest"], recorded["state"], recorded["valid_hours"]) == (release.digest, "pass", 168)
    assert [ruling["threshold"] for ruling in recorded["rulings"]] == [0.0, 0.05]
    [split] = proof.measured
    assert (split.by, split.golden, split.split_digest) == ("gate pull_request", "tiny/v1", decision["split_digest"])
    quality = split.metrics["quality"]
    assert quality.scored == split.cases == decision["cases"]
    assert quality.low is not None and quality.mean is not None and quality.low <= quality.mean
    assert (proof.corpus, proof.who, proof.git_commit, proof.price_date) == ("tiny", "tests", "abc", "2026-11-01")
    assert proof.prices == PACKAGE.label
    assert (proof.forced, proof.verdict, proof.previous) == (None, None, "")


@pytest.mark.slow
def test_promoting_again_adds_evidence_and_keeps_the_old(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    first = asyncio.run(ship(at(storage_uri), "one.yaml"))
    second = asyncio.run(ship(at(storage_uri), "one.yaml", git_commit="def"))
    assert second.release.digest == first.release.digest
    assert second.evidence.previous == first.channel.evidence
    assert list(load_release(at(storage_uri), first.release.digest).evidence) == [first.channel.evidence, second.channel.evidence]
    assert second.channel.revision == 2


@pytest.mark.parametrize("channel", ["dev", "staging", "prod"])
def test_without_a_decision_nothing_is_written(gated: World, tmp_path: Path, channel: str) -> None:
    with pytest.raises(NotProven, match=f"Not proven for {channel}: .* Run: touchstone gate .*yaml --config one.yaml"):
        asyncio.run(ship(at(tmp_path / "kept"), "one.yaml", channel=channel))
    assert not (tmp_path / "kept").exists()
    assert not (tmp_path / ".touchstone" / "indexes").exists()


def test_forcing_is_for_dev_only_and_says_why(gated: World, tmp_path: Path) -> None:
    storage = at(tmp_path / "kept")
    for channel in ("staging", "prod"):
        with pytest.raises(ConfigError, match="--force is for the channel dev"):
            asyncio.run(ship(storage, "one.yaml", channel=channel, forced=FORCED))
    with pytest.raises(ConfigError, match="--force needs a reason"):
        asyncio.run(ship(storage, "one.yaml", forced=ForcedPromotion(who="ann", why=" ")))
    assert not (tmp_path / "kept").exists()
    done = asyncio.run(ship(storage, "one.yaml", forced=FORCED, gates=()))
    assert (done.evidence.forced, done.evidence.decision, done.evidence.measured) == (FORCED, None, ())
    assert done.channel.history[-1].why == "forced: the demo is at noon"


@pytest.mark.slow
def test_two_promoters_who_saw_the_same_channel_race_and_one_loses_cleanly(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    gated.pass_gate("two.yaml")

    async def race() -> list[object]:
        meeting = asyncio.Barrier(2)
        runs = []
        for config in ("one.yaml", "two.yaml"):
            over = factory(HarnessSettings(), MeetingFactory)
            assert isinstance(over, MeetingFactory)
            over.meeting = meeting
            runs.append(ship(at(storage_uri), config, over=over))
        return await asyncio.gather(*runs, return_exceptions=True)

    found = asyncio.run(race())
    [lost] = [one for one in found if isinstance(one, BaseException)]
    [won] = [one for one in found if not isinstance(one, BaseException)]
    assert isinstance(lost, DataError)
    assert "no longer at nothing; look again" in str(lost)
    channel = read_channel(at(storage_uri), "dev")
    assert channel == won.channel  # type: ignore[attr-defined]
    assert (channel.revision, len(channel.history)) == (1, 1)
    for digest in releases(at(storage_uri)):  # what the loser wrote is whole and proven, and nobody points at it
        assert load_release(at(storage_uri), digest).evidence
    again = asyncio.run(ship(at(storage_uri), "two.yaml" if won.release.digest != _digest("two.yaml") else "one.yaml"))  # type: ignore[attr-defined]
    assert again.channel.revision == 2


def _digest(config: str) -> str:
    from serving.pipeline.config import load_config

    return factory(HarnessSettings()).digest(load_config(Path(config)))


@pytest.mark.slow
def test_a_promoter_killed_before_any_write_leaves_the_channel_at_a_whole_release(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    gated.pass_gate("two.yaml")
    storage = at(storage_uri)
    before = asyncio.run(ship(storage, "one.yaml")).channel
    with killing("tests.support.promoting:ship_and_die", storage_uri) as killed:

        def dies(write: int) -> None:
            assert killed(write) == -signal.SIGKILL
            channel = read_channel(storage, "dev")
            assert channel == before
            load_release(storage, channel.stable, evidence=channel.evidence)

        for write in (1, 2, 3, 4):
            dies(write)
            assert releases(storage) == [before.stable]  # not whole before SHA256SUMS is written
        dies(5)  # SHA256SUMS is there, and the evidence is not
        dies(1)  # what is whole is not written again: the first write is the evidence's
        dies(2)  # the channel's
        assert len(load_release(storage, _digest("two.yaml")).evidence) == 1
        assert killed(3) == 0
    after = read_channel(storage, "dev")
    assert (after.revision, after.history[-1].before, after.stable) == (2, before.stable, _digest("two.yaml"))
    assert list(load_release(storage, after.stable).evidence)[-1] == after.evidence


@pytest.mark.slow
def test_a_promoter_killed_after_any_write_leaves_the_channel_at_a_whole_release(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    gated.pass_gate("two.yaml")
    storage = at(storage_uri)
    before = asyncio.run(ship(storage, "one.yaml")).channel
    two = _digest("two.yaml")
    with killing("tests.support.promoting:ship_and_die", storage_uri) as killed:

        def dies(write: int) -> str:
            assert killed(-write) == -signal.SIGKILL
            channel = read_channel(storage, "dev")
            load_release(storage, channel.stable, evidence=channel.evidence)
            assert not [check.problem for check in check_releases(storage) if check.problem]
            return channel.stable

        for write in (1, 2, 3):  # configuration, index, prompt
            assert dies(write) == before.stable
            assert releases(storage) == [before.stable]
        assert dies(4) == before.stable  # SHA256SUMS: whole, and not pointed at
        assert sorted(releases(storage)) == sorted([before.stable, two])
        assert dies(1) == before.stable  # the evidence
        assert dies(2) == two  # the channel: nothing is left to do
        assert killed(0) == 0  # and again does no harm
    after = read_channel(storage, "dev")
    assert (after.stable, after.revision) == (two, 3)
    assert len(load_release(storage, two).evidence) == 3


def test_who_loses_a_race_is_told_in_one_line_and_what_was_made_is_whole(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.pass_gate("one.yaml")
    gated.pass_gate("two.yaml")
    point = promoting.point_channel

    def meanwhile(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(promoting, "point_channel", point)
        thread = threading.Thread(target=lambda: asyncio.run(ship(at("releases"), "two.yaml")))  # no loop runs within a loop
        thread.start()
        thread.join()
        return point(*given, **more)

    monkeypatch.setattr(promoting, "point_channel", meanwhile)
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert f"Channel 'dev' points at {_digest('two.yaml')} (revision 1), no longer at nothing; look again." in said.err
    assert gated.touchstone("release", "verify").code == 0
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 0
    assert read_channel(at("releases"), "dev").stable == _digest("one.yaml")


def test_a_channel_that_moves_during_a_promotion_is_left_where_it_went(gated: World, storage_uri: str) -> None:
    gated.pass_gate("one.yaml")
    gated.pass_gate("two.yaml")

    class Slow(MeetingFactory):
        async def index(self, config: object) -> object:  # type: ignore[override]
            await ship(at(storage_uri), "two.yaml")
            return await super(MeetingFactory, self).index(config)  # type: ignore[arg-type]

    with pytest.raises(DataError, match="look again"):
        asyncio.run(ship(at(storage_uri), "one.yaml", over=factory(HarnessSettings(), Slow)))
    channel = find_channel(at(storage_uri), "dev")
    assert channel and channel.stable == _digest("two.yaml")


def test_a_decision_ends_with_the_golden_set_the_gate_the_prompts_and_the_documents(gated: World, tmp_path: Path) -> None:
    gated.pass_gate("one.yaml")
    storage = at(tmp_path / "kept")
    root = gated.root

    gate = root / "experiments" / "gates" / "pull_request.yaml"
    good = gate.read_text()
    gate.write_text(yaml.safe_dump(yaml.safe_load(good) | {"rules": [{"id": "errors", "rule": "errors"}]}))
    with pytest.raises(NotProven, match="was decided by other rules than"):
        asyncio.run(ship(storage, "one.yaml"))
    gate.write_text(good)

    cases = root / "datasets" / "golden" / "tiny" / "v1" / "cases.jsonl"
    kept = cases.read_text()
    cases.write_text("\n".join(kept.splitlines()[1:]) + "\n")
    assert gated.touchstone("golden", "seal", "tiny/v1").code == 0
    with pytest.raises(NotProven, match="was decided on other questions than tiny/v1 has now"):
        asyncio.run(ship(storage, "one.yaml"))
    cases.write_text(kept)
    assert gated.touchstone("golden", "seal", "tiny/v1").code == 0

    document = root / "datasets" / "corpora" / "tiny" / "hr" / "leave.md"
    text = document.read_text()
    document.write_text(text + "\nMore.\n")
    with pytest.raises(NotProven, match="is of configuration"):
        asyncio.run(ship(storage, "one.yaml"))
    document.write_text(text)
    assert not (tmp_path / "kept").exists()
    assert asyncio.run(ship(storage, "one.yaml")).channel.revision == 1
