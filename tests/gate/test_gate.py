import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
import yaml

from harness.gate.run_gate import new_gate_folder
from tests.support.world import CONFIG, NOVA, World, unreachable_bedrock

RULES: list[dict[str, Any]] = [
    {"id": "facts", "rule": "floor", "metric": "key_facts", "at_least": 0.5},
    {"id": "facts-champion", "rule": "non_inferior", "metric": "key_facts", "margin": 0.2},
    {"id": "errors", "rule": "errors"},
    {"id": "domains", "rule": "leak", "by": "domain", "cases": 3},
]


@pytest.fixture
def gated(world: World) -> World:
    """The small company with a gate and a champion."""
    gates = world.root / "experiments" / "gates"
    gates.mkdir(parents=True)
    gate = {"name": "small", "golden": "tiny/v1", "split": "all", "metrics": ["quality"], "rules": RULES}
    (gates / "pull_request.yaml").write_text(yaml.safe_dump(gate))
    assert world.touchstone("champion", "set", "-c", "tiny.yaml").code == 0
    return world


def change_gate(world: World, **fields: Any) -> None:
    path = world.root / "experiments" / "gates" / "pull_request.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def test_the_champion_itself_passes_and_leaves_every_file(gated: World) -> None:
    said = gated.touchstone("gate", "-c", "tiny.yaml", "--out", "out", "--junit", "j.xml", "--markdown", "s.md")
    assert said.code == 0, said.err
    assert "gate small passed: 4 of 4 rules hold" in said.out
    decision = json.loads(Path("out/decision.json").read_text())
    assert decision["state"] == "pass"
    assert decision["champion_digest"] == decision["config_digest"]
    assert decision["rulings"][1]["value"] == 0.0
    assert decision["rulings"][3]["count"] == 9  # three questions, three domains
    assert Xml.parse("j.xml").getroot().find("testsuite") is not None
    assert Path("s.md").read_text().startswith("## ✅ Gate small passed")
    assert sorted(path.name for path in Path("out").iterdir()) == ["cases.jsonl", "decision.json", "junit.xml", "summary.md"]


def test_a_time_that_may_block_is_taken_of_computed_answers_and_an_advisory_one_is_not_worth_computing_them(gated: World) -> None:
    latency = {"id": "latency", "rule": "ceiling", "number": "ms.total.p95", "at_most": 60_000}
    change_gate(gated, rules=[*RULES, latency])  # every answer is kept since the champion was recorded
    said = gated.touchstone("gate", "-c", "tiny.yaml", "--json")
    assert said.code == 0 and isinstance(said.json, dict), said.err
    assert said.json["rulings"][-1]["value"] > 0
    change_gate(gated, rules=[*RULES, latency | {"advisory": True}])
    said = gated.touchstone("gate", "-c", "tiny.yaml", "--json")
    assert said.code == 0 and isinstance(said.json, dict), said.err
    assert said.json["rulings"][-1]["value"] is None
    assert "kept from before" in said.json["rulings"][-1]["reason"]


def test_a_worse_configuration_fails_with_exit_code_1(gated: World) -> None:
    said = gated.touchstone("gate", "-c", "tiny.yaml", "-s", "answer.prompt.name=nothing-of-the-kind", "--json")
    assert said.code == 2  # a prompt that is not there is the user's mistake, not a judgement
    said = gated.touchstone("gate", "-c", "tiny.yaml", "-s", "answer.models.lite.name=local:echo", "--json")
    assert said.code == 1, said.err
    assert isinstance(said.json, dict)
    assert said.json["state"] == "fail"
    assert {"facts", "facts-champion"} <= {one["id"] for one in said.json["rulings"] if one["outcome"] == "fail"}
    assert said.json["reproduce"].endswith("--config tiny.yaml --set answer.models.lite.name=local:echo")


def test_a_dead_endpoint_is_exit_code_3_and_no_rule_fails(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable_bedrock(monkeypatch)
    said = gated.touchstone("gate", "-c", "tiny.yaml", "-s", f"answer.models.lite.name={NOVA}", "--out", "out")
    assert said.code == 3, said.out + said.err
    decision = json.loads(Path("out/decision.json").read_text())
    assert (decision["state"], decision["outages"]) == ("infrastructure", 10)
    assert {one["outcome"] for one in decision["rulings"] if one["rule"] != "leak"} == {"unjudged"}
    assert "could not decide" in Path("out/summary.md").read_text()


def test_a_machine_that_fails_before_anything_is_judged_leaves_a_decision(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (gated.root / "file").write_text("in the way")
    monkeypatch.setenv("TOUCHSTONE_HOME", "file")
    said = gated.touchstone("gate", "-c", "tiny.yaml", "--out", "out", "--junit", "j.xml")
    assert said.code == 3
    assert json.loads(Path("out/decision.json").read_text())["state"] == "infrastructure"
    assert 'type="infrastructure"' in Path("j.xml").read_text()


def test_a_recorded_evaluation_is_judged_without_a_new_one(gated: World) -> None:
    assert gated.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--split", "all", "--name", "mine", "--no-tracking").code == 0
    said = gated.touchstone("gate", "--run", "reports/runs/mine/cases.jsonl", "--json")
    assert said.code == 0, said.err
    assert gated.touchstone("gate", "--run", "reports/runs/mine/cases.jsonl", "-c", "tiny.yaml").code == 2
    assert gated.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--name", "tuned", "--no-tracking").code == 0
    other = gated.touchstone("gate", "--run", "reports/runs/tuned/cases.jsonl")
    assert other.code == 2
    assert "not made on tiny/v1 all as it is now" in other.err


def test_a_changed_golden_set_asks_for_a_new_champion(gated: World) -> None:
    cases = gated.root / "datasets" / "golden" / "tiny" / "v1" / "cases.jsonl"
    cases.write_text("\n".join(cases.read_text().splitlines()[1:]) + "\n")
    assert gated.touchstone("golden", "seal", "tiny/v1").code == 0
    said = gated.touchstone("gate", "-c", "tiny.yaml")
    assert said.code == 2
    assert said.err.rstrip().endswith("Run: touchstone champion set experiments/gates/pull_request.yaml")
    shown = gated.touchstone("champion", "show")
    assert shown.code == 2
    assert gated.touchstone("champion", "set", "-c", "tiny.yaml").code == 0
    assert gated.touchstone("gate", "-c", "tiny.yaml").code == 0


def test_a_gate_that_names_an_unknown_metric_runs_nothing(gated: World) -> None:
    change_gate(gated, rules=[{"id": "a", "rule": "floor", "metric": "key_fact", "at_least": 0.5}])
    said = gated.touchstone("gate", "-c", "tiny.yaml")
    assert said.code == 2
    assert "No metric 'key_fact'. Did you mean 'key_facts'?" in said.err
    assert not (gated.root / "reports" / "gates").exists()


def test_a_second_run_computes_no_answer_and_no_score_again(gated: World) -> None:
    said = gated.touchstone("gate", "-c", "tiny.yaml")  # the champion was made of the same configuration
    kept = next(line for line in said.out.splitlines() if line.startswith("kept from before"))
    assert "answer 10/10" in kept
    assert "score 20/20" in kept  # two metrics
    changed = gated.touchstone("gate", "-c", "tiny.yaml", "-s", "answer.prompt.version=2")
    kept = next(line for line in changed.out.splitlines() if line.startswith("kept from before"))
    assert "retrieve 10/10" in kept
    assert "answer 0/10" in kept


def test_the_summary_goes_where_github_shows_it(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(gated.root / "step.md"))
    (gated.root / "step.md").write_text("before\n")
    assert gated.touchstone("gate", "-c", "tiny.yaml").code == 0
    text = (gated.root / "step.md").read_text()
    assert text.startswith("before\n## ✅ Gate small passed")


def test_a_look_at_the_holdout_is_written_down(gated: World) -> None:
    ledger = (gated.root / ".touchstone" / "holdout-looks.jsonl").read_text()
    assert gated.touchstone("gate", "-c", "tiny.yaml").code == 0
    looks = (gated.root / ".touchstone" / "holdout-looks.jsonl").read_text().removeprefix(ledger).splitlines()
    assert [json.loads(look)["why"] for look in looks] == ["gate small"]


def test_the_champion_is_shown_with_what_it_lacks(gated: World) -> None:
    said = gated.touchstone("champion", "show", "--json")
    assert isinstance(said.json, list)
    assert said.json[0]["missing"] == []
    change_gate(gated, rules=[*RULES, {"id": "f1", "rule": "non_inferior", "metric": "token_f1", "margin": 0.1}])
    said = gated.touchstone("gate", "-c", "tiny.yaml")
    assert said.code == 1
    assert "the champion was not scored by token_f1. Run: touchstone champion set" in said.out
    assert "not scored by token_f1" in gated.touchstone("champion", "show").out


def test_a_champion_can_be_taken_from_a_release_or_a_run(gated: World) -> None:
    both = gated.touchstone("champion", "set", "-c", "tiny.yaml", "--release", "x")
    assert both.code == 2
    assert "Give one of" in both.err
    assert gated.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--split", "all", "--name", "mine", "--no-tracking").code == 0
    assert gated.touchstone("champion", "set", "--run", "reports/runs/mine/cases.jsonl").code == 0
    assert CONFIG["retrieve"] == {"top_k": 2}
    assert yaml.safe_load(Path("reports/champions/tiny-v1-all.yaml").read_text())["retrieve"]["top_k"] == 2
    assert gated.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--name", "tuned", "--no-tracking").code == 0
    tuned = gated.touchstone("champion", "set", "--run", "reports/runs/tuned/cases.jsonl")
    assert tuned.code == 2
    assert "no gate is held on its cases" in tuned.err


def test_two_decisions_of_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    folders = [new_gate_folder(tmp_path, "small", now) for _ in range(3)]
    assert [folder.name for folder in folders] == ["small-20261101-000000", "small-20261101-000000-2", "small-20261101-000000-3"]


def test_a_decision_says_for_how_long_it_is_valid(gated: World) -> None:
    change_gate(gated, valid_hours=24)
    said = gated.touchstone("gate", "-c", "tiny.yaml", "--json")
    assert isinstance(said.json, dict)
    assert said.json["valid_hours"] == 24
    change_gate(gated, valid_hours=0)
    said = gated.touchstone("gate", "-c", "tiny.yaml")
    assert said.code == 2
    assert "valid_hours" in said.err
