import json
from pathlib import Path

import pytest
import yaml

from harness.results.report_file import read_report
from tests.support.world import World


def test_prod_without_a_decision_is_exit_code_1_and_one_line(gated: World) -> None:
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--channel", "prod")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "there is no decision of the gate 'promotion'" in said.err
    assert said.err.rstrip().endswith("Run: touchstone gate experiments/gates/promotion.yaml --config one.yaml")
    assert not Path("releases").exists()


def test_a_pull_requests_gate_is_enough_for_dev_and_not_for_prod(gated: World) -> None:
    gated.pass_gate("one.yaml")
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--channel", "prod").code == 1
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--channel", "dev").code == 0
    assert gated.touchstone("gate", "experiments/gates/promotion.yaml", "--config", "one.yaml").code == 0
    to_prod = ("promote", "one.yaml", "--corpus", "tiny", "--channel", "prod", "--json")
    refused = gated.touchstone(*to_prod)
    assert refused.code == 1
    assert "touchstone channel approve prod" in refused.err
    assert gated.touchstone("channel", "approve", "prod", "channel:dev", "--why", "read it").code == 0
    said = gated.touchstone(*to_prod)
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert said.json["channel"]["evidence"] == said.json["evidence"]
    assert gated.touchstone("promote", "two.yaml", "--corpus", "tiny").code == 1


def test_what_is_promoted_becomes_the_champion_and_what_is_forced_does_not(gated: World) -> None:
    holdout, whole = (Path(f"reports/champions/tiny-v1-{split}.jsonl") for split in ("holdout", "all"))
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--force", "--why", "demo").code == 0
    assert not holdout.exists()
    gated.pass_gate("one.yaml")
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert [Path(path).name for path in said.json["champions"]] == [holdout.name]
    champion = read_report(holdout)
    assert champion.header.config_digest == said.json["release"]
    assert holdout.with_suffix(".yaml").is_file()
    assert not whole.exists()


def test_a_champion_is_scored_by_all_that_the_gates_on_its_cases_ask(gated: World) -> None:
    gate = {
        "name": "strict",
        "golden": "tiny/v1",
        "split": "holdout",
        "metrics": ["token_f1"],
        "rules": [{"id": "errors", "rule": "errors"}],
    }
    Path("experiments/gates/strict.yaml").write_text(yaml.safe_dump(gate))
    gated.pass_gate("one.yaml")
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny")
    assert said.code == 0, said.err
    assert "tiny-v1-holdout.jsonl: what has to be beaten from now on" in said.out
    assert set(read_report(Path("reports/champions/tiny-v1-holdout.jsonl")).header.metrics) == {"quality", "token_f1"}


def test_a_failed_gate_is_said_to_have_failed(gated: World) -> None:
    Path("echo.yaml").write_text(Path("one.yaml").read_text().replace("local:reader-lite", "local:echo"))
    assert gated.touchstone("gate", "-c", "echo.yaml").code == 1
    said = gated.touchstone("promote", "echo.yaml", "--corpus", "tiny")
    assert said.code == 1, said
    assert "says that the gate 'pull_request' failed: 1 of 2 rules do not hold: quality" in said.err


def test_a_decision_can_be_named_and_so_can_the_gate(gated: World) -> None:
    gated.pass_gate("one.yaml")
    [path] = Path("reports/gates").glob("*/decision.json")
    path.parent.rename("elsewhere")
    command = ["promote", "one.yaml", "--corpus", "tiny"]
    assert gated.touchstone(*command).code == 1
    assert gated.touchstone(*command, "--decision", "elsewhere/decision.json").code == 0
    assert gated.touchstone(*command, "--decision", "elsewhere/decision.json", "--gate", "experiments/gates/promotion.yaml").code == 1
    assert gated.touchstone(*command, "--decision", "elsewhere/decision.json", "--gate", "experiments/gates/pull_request.yaml").code == 0
    for file, words in (("none.json", "No file 'none.json'"), ("one.yaml", "one.yaml: not a gate's decision")):
        said = gated.touchstone(*command, "--decision", file)
        assert said.code == 2
        assert words in said.err
    assert gated.touchstone(*command, "--gate", "none.yaml").code == 2


def test_no_gate_that_is_named_asks_less_of_prod(gated: World) -> None:
    Path("lax.yaml").write_text("{name: lax, golden: tiny/v1, metrics: [quality], rules: [{id: errors, rule: errors}]}")
    command = ["promote", "one.yaml", "--corpus", "tiny", "--channel"]
    for gate in ("lax.yaml", "experiments/gates/pull_request.yaml"):
        assert gated.touchstone("gate", gate, "--config", "one.yaml").code == 0
        assert gated.touchstone(*command, "dev", "--gate", gate).code == 0
        for channel in ("staging", "prod"):
            said = gated.touchstone(*command, channel, "--gate", gate)
            assert said.code == 2
            assert f"--gate {gate!r} does not count for the channel {channel!r}" in said.err
    assert gated.touchstone("gate", "experiments/gates/promotion.yaml", "--config", "one.yaml").code == 0
    assert gated.touchstone("channel", "approve", "prod", "channel:dev", "--why", "read it").code == 0
    assert gated.touchstone(*command, "prod", "--gate", "experiments/gates/promotion.yaml").code == 0


def test_naming_a_pass_does_not_hide_a_later_failure(gated: World) -> None:
    gated.pass_gate("one.yaml")
    [path] = Path("reports/gates").glob("*/decision.json")
    earlier = json.loads(path.read_text())
    Path("pass.json").write_text(json.dumps(earlier))
    later = earlier | {"state": "fail", "message": "quality", "decided_at": earlier["decided_at"].replace("+00:00", ".5+00:00")}
    path.write_text(json.dumps(later))
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--decision", "pass.json")
    assert said.code == 1
    assert "says that the gate 'pull_request' failed" in said.err


def test_an_old_decision_is_stale(gated: World) -> None:
    gated.pass_gate("one.yaml")
    [path] = Path("reports/gates").glob("*/decision.json")
    decision = json.loads(path.read_text())
    path.write_text(json.dumps(decision | {"decided_at": "2026-01-01T00:00:00+00:00"}))
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny")
    assert said.code == 1
    assert "is of 2026-01-01T00:00:00+00:00 and was valid for 168 hours" in said.err
    (path.parent / "decision.json").write_text("{}")  # a file that is no decision is passed over
    assert "there is no decision" in gated.touchstone("promote", "one.yaml", "--corpus", "tiny").err


def test_forcing_needs_dev_and_a_reason(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_WHO", "ann")
    command = ["promote", "one.yaml", "--corpus", "tiny"]
    for more in (["--force"], ["--why", "x"], ["--force", "--why", "x", "--channel", "prod"], ["--force", "--why", ""]):
        assert gated.touchstone(*command, *more).code == 2
    said = gated.touchstone(*command, "--force", "--why", "the demo is at noon")
    assert said.code == 0, said.err
    assert "no passed gate; forced: the demo is at noon" in said.out
    shown = gated.touchstone("channel", "show", "dev")
    assert "ann: forced: the demo is at noon" in shown.out
    [digest] = [row["release"] for row in json.loads(gated.touchstone("release", "list", "--json").out)]
    [proof] = json.loads(gated.touchstone("release", "show", digest, "--json").out)["evidence"].values()
    assert proof["forced"] == {"who": "ann", "why": "the demo is at noon"}


def test_releases_are_verified_and_what_is_wrong_is_named(gated: World) -> None:
    gated.pass_gate("one.yaml")
    assert gated.touchstone("release", "verify").code == 0  # nothing is there, and nothing is wrong
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 0
    [digest] = [path.parent.name for path in Path("releases").glob("*/SHA256SUMS")]
    said = gated.touchstone("release", "verify")
    assert said.code == 0
    assert said.out == f"{digest}: verified, evidence: 1\nchannel dev: verified, evidence: 1\n"
    assert gated.touchstone("release", "verify", digest, "--json").json == [{"checked": digest, "evidence": 1, "problem": ""}]
    assert gated.touchstone("release", "verify", "0000").code == 2

    [proof] = Path("releases").glob("*/evidence/*.json")
    proof.write_text(proof.read_text().replace("techcorp", "x").replace('"tiny"', '"tinny"'))
    said = gated.touchstone("release", "verify", "--json")
    assert said.code == 3
    assert isinstance(said.json, list)
    assert all("is not the evidence that its name promises" in row["problem"] for row in said.json)
    assert f"2 of 2 checks failed in releases: {digest}, channel dev." in said.err
    assert gated.touchstone("ask", "How long?", "--channel", "dev").code == 3


@pytest.mark.slow
def test_all_of_it_works_in_a_bucket(gated: World, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_RELEASES", f"s3://{s3_bucket}/releases")
    gated.pass_gate("one.yaml")
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    digest = said.json["release"]
    assert said.json["place"] == f"s3://{s3_bucket}/releases/{digest}"
    assert gated.touchstone("release", "list").out == f"{digest}  dev\n"
    assert gated.touchstone("release", "show", digest).out.startswith(f"s3://{s3_bucket}/releases/{digest}: verified")
    assert gated.touchstone("release", "verify").code == 0
    assert gated.touchstone("channel", "show").out.startswith(f"dev: {digest} since ")
    asked = gated.touchstone("ask", "How many days of paid holiday does an employee have?", "--channel", "dev", "--json")
    assert isinstance(asked.json, dict)
    assert asked.json["release_digest"] == digest
    assert not Path("releases").exists()


def test_the_first_release_needs_no_champion_and_the_second_needs_the_record_of_the_first(gated: World) -> None:
    path = Path("experiments/gates/promotion.yaml")
    gate = yaml.safe_load(path.read_text())
    gate["rules"].append({"id": "quality-champion", "rule": "non_inferior", "metric": "quality", "margin": 0.2})
    path.write_text(yaml.safe_dump(gate))
    to_staging = ["promote", "--corpus", "tiny", "--channel", "staging", "--json"]
    said = gated.touchstone("gate", str(path), "--config", "one.yaml", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    [ruling] = [one for one in said.json["rulings"] if one["id"] == "quality-champion"]
    assert (ruling["outcome"], ruling["reason"]) == ("unjudged", "no champion is recorded yet: there is nothing to compare with")
    assert gated.touchstone(*to_staging, "one.yaml").code == 0

    for recorded in Path("reports/champions").iterdir():
        recorded.unlink()  # without the record the gate would ask less of a successor
    assert gated.touchstone("gate", str(path), "--config", "two.yaml").code == 0
    lost = gated.touchstone(*to_staging, "two.yaml")
    assert lost.code == 1
    assert "no champion is recorded on tiny/v1 all to hold a successor against. Run: touchstone champion set --release" in lost.err
