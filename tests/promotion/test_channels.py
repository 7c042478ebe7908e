"""Channels and releases on the command line: what a person does between two promotions."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.project.channels import Channels
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError
from tests.support.world import World


@pytest.fixture
def promoted(gated: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two releases, one after the other on dev."""
    monkeypatch.setenv("TOUCHSTONE_WHO", "ann")
    for name in ("one", "two"):
        gated.pass_gate(f"{name}.yaml")
        said = gated.touchstone("promote", f"{name}.yaml", "--corpus", "tiny")
        assert said.code == 0, said.err
    return gated


def digests() -> list[str]:
    return [move.to for move in Channels(HarnessSettings(_env_file=None)).get("dev").moves]


@pytest.mark.slow
def test_a_release_is_compared_rolled_back_and_tried_beside_another(promoted: World) -> None:
    one, two = digests()
    said = promoted.touchstone("release", "diff", one[:6], "channel:dev")
    assert said.code == 0, said.err
    assert "retrieve.top_k" in said.out
    assert "quality" in said.out
    diff = promoted.touchstone("release", "diff", one, two, "--json").json
    assert isinstance(diff, dict)
    assert diff["config"] == [{"path": "retrieve.top_k", "before": "3", "after": "4"}]
    [quality] = [pair for pair in diff["metrics"] if pair["metric"] == "quality"]
    assert quality["before"]["low"] <= quality["before"]["mean"] <= quality["before"]["high"]
    same = promoted.touchstone("release", "diff", two, "channel:dev").out
    assert "They hold the same configuration, prompts, index and artefacts." in same

    back = promoted.touchstone("release", "rollback", "--why", "it was slow")
    assert back.out == f"dev: {two} → {one} (revision 3)\n"
    tried = promoted.touchstone("channel", "set", "dev", "--candidate", two, "--mode", "shadow", "--weight", "20", "--why", "again")
    assert tried.out == f"dev: {one} (revision 4)  shadow 20% {two}\n"
    assert f"candidate:  shadow 20% {two}" in promoted.touchstone("channel", "show", "dev").out
    assert promoted.touchstone("channel", "list").out.startswith(f"dev      {one}  revision 4")
    assert promoted.touchstone("release", "verify").code == 0
    assert promoted.touchstone("channel", "set", "dev", "--switch").code == 0
    history = promoted.touchstone("channel", "history", "dev")
    assert [line.split("  ")[2] for line in history.out.splitlines()] == [
        f"{one} → {two}",
        f"shadow 20% {two}",
        f"{two} → {one}",
        f"{one} → {two}",
        f"nothing → {one}",
    ]
    assert "ann: it was slow" in history.out
    assert len(json.loads(promoted.touchstone("channel", "history", "dev", "--json").out)) == 5


@pytest.mark.slow
def test_a_mistake_is_one_line_with_exit_code_2_and_changes_nothing(promoted: World) -> None:
    before = Path("releases/channels/dev.json").read_bytes()
    one, _two = digests()
    for arguments, words in (
        (["channel", "set", "dev"], "Say one of --stable RELEASE"),
        (["channel", "set", "dev", "--switch", "--withdraw"], "Say one of"),
        (["channel", "set", "dev", "--candidate", one, "--mode", "canery"], "Did you mean 'canary'?"),
        (["channel", "set", "dev", "--candidate", one, "--weight", "0"], "a share above 0"),
        (["channel", "set", "dev", "--candidate", "ffff"], "No release 'ffff'"),
        (["channel", "set", "dev", "--candidate", one, "--revision", "1"], "is at revision 2, no longer at 1; look again"),
        (["channel", "set", "dev", "--switch"], "has no candidate"),
        (["channel", "approve", "dev", one, "--why", "x"], "needs no approval"),
        (["channel", "set", "staging", "--candidate", one], "Channel 'staging' points at nothing yet"),
        (["release", "rollback", "--to", "0000"], "No release '0000'"),
        (["release", "rollback", "--channel", "prd"], "Did you mean 'prod'?"),
    ):
        said = promoted.touchstone(*arguments)
        assert said.code == 2, arguments
        assert words in said.err
        assert said.err.count("\n") == 1
    assert Path("releases/channels/dev.json").read_bytes() == before


@pytest.mark.slow
def test_a_release_that_only_a_pull_requests_gate_has_passed_is_set_nowhere_but_on_dev(promoted: World) -> None:
    said = promoted.touchstone("channel", "set", "staging", "--stable", "channel:dev")
    assert said.code == 1
    assert "no evidence of" in said.err
    gate = "experiments/gates/promotion.yaml"
    assert promoted.touchstone("gate", gate, "--config", "two.yaml").code == 0
    assert promoted.touchstone("promote", "two.yaml", "--corpus", "tiny", "--gate", gate).code == 0  # its evidence is there now
    said = promoted.touchstone("channel", "set", "staging", "--stable", "channel:dev")
    assert said.code == 0, said.err
    channels = Channels(HarnessSettings(_env_file=None))
    with pytest.raises(DataError, match="look again"):
        channels.point("staging", "channel:dev", revision=7)
    with pytest.raises(ConfigError, match="points at already"):
        channels.try_candidate("staging", "channel:dev", "canary", 0.1)


@pytest.mark.slow
def test_going_back_restores_the_index_of_then(gated: World) -> None:
    question = "After how many years is a phone replaced?"

    def asked() -> dict[str, Any]:
        said = gated.touchstone("ask", question, "--channel", "dev", "--json")
        assert said.code == 0, said.err
        assert isinstance(said.json, dict)
        return said.json

    gated.pass_gate("one.yaml")
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 0
    before = asked()
    Path("datasets/corpora/tiny/it/phones.md").write_text("# Phones\n\nA phone is replaced after 3 years.\n")
    gated.pass_gate("one.yaml")
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 0
    with_phones = asked()
    assert "3 years" in with_phones["answer"]["text"]
    assert with_phones["index_digest"] != before["index_digest"]
    assert gated.touchstone("release", "rollback").code == 0
    after = asked()
    assert (after["release_digest"], after["index_digest"]) == (before["release_digest"], before["index_digest"])
    assert "3 years" not in after["answer"]["text"]
