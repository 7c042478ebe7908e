"""What a channel serves, evaluated again."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.gate.gate import Gate
from harness.project.contexts import OpenContexts
from harness.project.reevaluation import reevaluate_channel
from harness.promotion.reevaluate import Baseline, reevaluate
from harness.promotion.served import SearchedIndex, served_index
from harness.settings import HarnessSettings
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import Release, load_release
from serving.release.channel import read_channel
from serving.release.evidence import MeasuredMetric, MeasuredSplit
from tests.support.gating import a_report
from tests.support.releasing import a_config, at, some_evidence, write
from tests.support.world import World


@pytest.fixture
def served(gated: World) -> str:
    """A release on dev."""
    gated.pass_gate("one.yaml")
    said = gated.touchstone("promote", "one.yaml", "--corpus", "tiny", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    return str(said.json["release"])


def test_what_is_served_is_not_seen_to_be_worse_than_when_it_was_promoted(gated: World, served: str) -> None:
    leave = Path("datasets/corpora/tiny/hr/leave.md")
    leave.write_text("# Leave\n\nNothing is said of it any more.\n")  # what is served stands on its own index
    said = gated.touchstone("channel", "evaluate", "dev", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert (said.json["release"], said.json["state"], said.json["gate"]) == (served, "pass", "pull_request")
    [quality] = said.json["differences"]
    assert (quality["paired"], quality["difference"], quality["before"]) == (True, 0.0, quality["after"])
    assert Path(said.json["report"]).is_file()
    assert Path(said.json["cases"]).is_file()

    documents = load_release(at("releases"), served).evidence
    first, second = documents.values()
    assert list(documents)[1] == said.json["evidence"]
    assert second.previous == said.json["promoted_by"] == next(iter(documents))
    assert first.reevaluation is None
    assert second.reevaluation and second.reevaluation.baseline == next(iter(documents))
    assert [one.by for one in second.measured] == ["channel evaluate dev"]
    assert gated.touchstone("release", "verify").code == 0
    shown = gated.touchstone("channel", "evaluate")
    assert shown.code == 0
    assert "not seen to be worse: no loss beyond a margin is seen in 1 metric, case by case" in shown.out


def test_a_release_that_lost_documents_is_worse_and_goes_no_further(gated: World) -> None:
    gate = Path("experiments/gates/promotion.yaml")
    gate.write_text(gate.read_text().replace("0.05", "0.4"))
    assert gated.touchstone("gate", str(gate), "--config", "one.yaml").code == 0
    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 0
    served = read_channel(at("releases"), "dev").stable

    async def emptied(release: Release, settings: PipelineSettings) -> SearchedIndex:
        opened = await served_index(release, settings)

        class Empty:
            def __getattr__(self, name: str) -> Any:
                return getattr(opened.index.store, name)

            async def search_vector(self, *given: Any, **more: Any) -> list[Any]:
                return []

            async def search_text(self, *given: Any, **more: Any) -> list[Any]:
                return []

        return SearchedIndex(replace(opened.index, store=Empty()), documents_added=2, corpus_version="v2")  # type: ignore[arg-type]

    settings = HarnessSettings(_env_file=None)
    done = asyncio.run(reevaluate_channel("dev", OpenContexts(settings, lambda *_: None), searched=emptied))
    assert not done.result.passed
    assert done.result.message == "1 of the gate's rules do not hold any more: quality"
    evidence = load_release(at("releases"), served).evidence[done.evidence]
    assert evidence.reevaluation
    assert (evidence.reevaluation.state, evidence.reevaluation.documents_added, evidence.reevaluation.corpus_version) == ("fail", 2, "v2")

    assert gated.touchstone("promote", "one.yaml", "--corpus", "tiny").code == 1  # by the decision of before
    refused = gated.touchstone("promote", "channel:dev")
    assert refused.code == 1
    assert "since its gate passed" in refused.err
    assert "was evaluated again on dev" in refused.err
    refused = gated.touchstone("channel", "set", "staging", "--stable", "channel:dev")
    assert refused.code == 1
    assert "Since its gate passed" in refused.err


def test_a_gates_rule_that_does_not_hold_any_more_fails(gated: World, served: str) -> None:
    strict = yaml.safe_load(Path("experiments/gates/pull_request.yaml").read_text())
    strict["name"], strict["rules"] = "strict", [{"id": "high", "rule": "floor", "metric": "quality", "at_least": 1.1}]
    Path("strict.yaml").write_text(yaml.safe_dump(strict))
    said = gated.touchstone("channel", "evaluate", "dev", "--gate", "strict.yaml")
    assert said.code == 1
    assert "worse: 1 of the gate's rules do not hold any more: high" in said.out


def test_without_the_cases_of_then_means_and_intervals_are_compared(gated: World, served: str) -> None:
    for path in [*Path("reports/gates").glob("*/cases.jsonl"), *Path("reports/champions").glob("*.jsonl")]:
        path.unlink()
    said = gated.touchstone("channel", "evaluate", "dev", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    [quality] = said.json["differences"]
    assert (quality["paired"], quality["difference"]) == (False, 0.0)
    assert quality["low"] < 0 < quality["high"]
    assert said.json["message"].endswith("by means and intervals: the cases of then are not at hand")


def test_an_outage_is_exit_code_3_and_leaves_no_evidence(gated: World, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_INDEXES", "elsewhere")
    said = gated.touchstone("channel", "evaluate", "dev")
    assert said.code == 3
    assert "No index in" in said.err
    assert len(load_release(at("releases"), served).evidence) == 1
    assert not Path("reports/channels").exists()
    assert gated.touchstone("channel", "evaluate", "staging").code == 2
    assert gated.touchstone("channel", "evaluate", "stagin").code == 2


def gate(**rule: Any) -> Gate:
    return Gate.model_validate({"name": "g", "golden": "tiny/v1", "metrics": ["quality"], "rules": [{"id": "r", **rule}]})


NON_INFERIOR = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}


def test_a_loss_counts_where_it_is_seen_and_larger_than_the_margin(tmp_path: Path) -> None:
    evidence = some_evidence(write(at(tmp_path), a_config()))
    good = a_report(*[1.0] * 60, split_digest="s")
    for values, outcome, passed in (
        ([1.0] * 60, "equivalent", True),
        ([0.6] * 60, "worse", False),
        ([0.92] * 60, "worse", True),  # seen, and within the margin
        ([1.0] * 55 + [0.0] * 5, "undecided", True),
    ):
        found = reevaluate(gate(**NON_INFERIOR), a_report(*values, split_digest="s"), Baseline(evidence, "e", good))
        assert ([one.outcome for one in found.differences], found.passed) == ([outcome], passed), values


def test_of_a_metric_that_the_gate_does_not_compare_a_loss_is_told_and_does_not_count(tmp_path: Path) -> None:
    evidence = some_evidence(write(at(tmp_path), a_config()))
    rules = gate(**NON_INFERIOR | {"metric": "key_facts"})
    before, after = a_report(*[1.0] * 60, split_digest="s"), a_report(*[0.2] * 60, split_digest="s")
    found = reevaluate(rules, after, Baseline(evidence, "e", before))
    assert [(one.outcome, one.counts) for one in found.differences] == [("worse", False)]
    assert found.passed


def test_by_means_alone_only_intervals_that_do_not_meet_tell_a_loss(tmp_path: Path) -> None:
    release = write(at(tmp_path), a_config())

    def then(mean: float, low: float, high: float) -> Baseline:
        split = MeasuredSplit(
            by="gate g", golden="tiny/v1", golden_digest="g", split="all", split_digest="s", cases=60, errors=0,
            metrics={"quality": MeasuredMetric(mean=mean, low=low, high=high, scored=60)}, usd_per_query=None, money="simulated",
        )  # fmt: skip
        return Baseline(some_evidence(release, measured=(split,)), "e", None)

    now = a_report(*[0.5, 0.6] * 30, split_digest="s")
    for before, outcome in (((0.95, 0.9, 0.99), "worse"), ((0.6, 0.5, 0.7), "undecided"), ((0.1, 0.05, 0.15), "better")):
        [found] = reevaluate(gate(**NON_INFERIOR), now, then(*before)).differences
        assert (found.outcome, found.paired) == (outcome, False)
    elsewhere = a_report(0.5, split_digest="other")
    [found] = reevaluate(gate(**NON_INFERIOR), elsewhere, then(0.95, 0.9, 0.99)).differences
    assert (found.difference, found.outcome) == (None, "undecided")
