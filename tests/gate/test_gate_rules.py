from pathlib import Path

import pytest

from harness.gate.champion import champion_path
from harness.gate.decision import DECISION_CODEC
from harness.gate.gate import check_gate, known_numbers, load_gate
from harness.gate.leaks import Leaks
from harness.golden.load import load_golden
from harness.judges import connect_judge
from harness.judges.tools import Tools
from harness.results.report_file import read_report
from serving.pipeline.errors import ConfigError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from tests.support.gating import a_gate, a_report, a_trace_of, crashed, decided, read, ruled
from tests.support.making import a_case
from tests.support.world import REPOSITORY

FLOOR = {"rule": "floor", "metric": "quality", "at_least": 0.5}
BASE = {"name": "small", "golden": "tiny/v1"}


def tools() -> Tools:
    return Tools(PipelineSettings(prompts=REPOSITORY / "prompts"))


def test_a_floor_holds_at_the_threshold_itself() -> None:
    assert ruled(a_report(0.0, 1.0), FLOOR).outcome == "pass"
    assert ruled(a_report(0.0, 0.9), FLOOR).outcome == "fail"


def test_a_floor_on_the_low_end_is_stricter_than_on_the_mean() -> None:
    report = a_report(0.0, 1.0, 1.0, 1.0)
    assert ruled(report, FLOOR).outcome == "pass"
    low = ruled(report, FLOOR | {"statistic": "low"})
    assert low.outcome == "fail"
    assert low.value == report.summary["quality"].low


def test_a_ceiling_reads_mean_high_end_or_a_percentile() -> None:
    report = a_report(0.0, 0.0, 0.0, 1.0, metric="pii", directions={"pii": "lower"})
    ceiling = {"rule": "ceiling", "metric": "pii", "at_most": 0.25}
    assert ruled(report, ceiling).outcome == "pass"
    assert ruled(report, ceiling | {"statistic": "high"}).outcome == "fail"
    assert ruled(report, ceiling | {"statistic": "p50"}).value == 0.0
    assert ruled(report, ceiling | {"statistic": "p95"}).value == pytest.approx(0.85)  # of 0 0 0 1, at place 2.85


def test_numbers_are_held_against_ceilings_by_their_logged_names() -> None:
    report = a_report(1.0, 1.0)
    cost = ruled(report, {"rule": "ceiling", "number": "cost.usd", "at_most": 0.01})
    assert (cost.outcome, cost.value, cost.count) == ("pass", pytest.approx(0.01), 2)
    assert ruled(report, {"rule": "ceiling", "number": "ms.total.p95", "at_most": 99}).outcome == "fail"


def test_an_unknown_price_is_no_pass() -> None:
    report = a_report(1.0)
    row = report.rows[0]
    unpriced = type(report)(report.header, (type(row)(row.case, row.scores, a_trace_of("c0", priced=False)),))
    ruling = ruled(unpriced, {"rule": "ceiling", "number": "cost.usd", "at_most": 1})
    assert (ruling.outcome, ruling.reason) == ("fail", "no value: the price of a model is unknown")


def test_a_metric_without_a_value_fails_with_the_commonest_reason() -> None:
    ruling = ruled(a_report(None, None), FLOOR)
    assert ruling.outcome == "fail"
    assert ruling.reason == "no case was scored: nothing to score"
    assert ruling.value is None


def test_coverage_counts_the_scored_among_all_cases() -> None:
    ruling = ruled(a_report(1.0, None, None, 1.0), {"rule": "coverage", "metric": "quality", "at_least": 0.6})
    assert (ruling.outcome, ruling.value, ruling.count, ruling.of) == ("fail", 0.5, 2, 4)


def test_a_slice_with_too_few_cases_is_shown_and_not_judged() -> None:
    cases = [a_case(id=f"c{number}", domain="hr" if number < 3 else "it") for number in range(4)]
    rule = {"rule": "slice", "metric": "quality", "by": "domain", "at_least": 0.5, "min_cases": 2}
    ruling = ruled(a_report(1.0, 1.0, 0.0, 0.0, cases=cases), rule)
    assert ruling.outcome == "pass"
    assert [(part.name, part.count, part.outcome) for part in ruling.parts] == [("hr", 3, "pass"), ("it", 1, "unjudged")]
    assert "not judged: it" in ruling.reason
    assert ruled(a_report(1.0, 1.0, 0.0, 0.0, cases=cases), rule | {"min_cases": 1}).outcome == "fail"
    assert ruled(a_report(1.0, 1.0, 0.0, 0.0, cases=cases), rule | {"min_cases": 9}).outcome == "unjudged"


CHAMPION = {"config_digest": "champion"}


def test_the_champion_itself_has_nothing_to_prove_but_fails_when_it_is_worse_than_it_was() -> None:
    rule = {"rule": "non_inferior", "metric": "quality", "margin": 0.01}
    same = ruled(a_report(0.0, 1.0, 0.5), rule, a_report(0.0, 1.0, 0.5))
    assert (same.outcome, same.value, same.mean) == ("pass", 0.0, 0.5)
    assert same.reason.endswith("it is the champion's own configuration")
    assert ruled(a_report(*[0.0] * 20), rule, a_report(*[1.0] * 20)).outcome == "fail"


def test_another_configuration_with_the_same_scores_on_few_cases_is_not_shown_to_be_as_good() -> None:
    rule, scores = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}, [0.0, 1.0, 0.5] * 4
    few = ruled(a_report(*scores), rule, a_report(*scores, **CHAMPION))
    assert (few.outcome, few.value) == ("fail", 0.0)
    assert "undecided; a loss of the margin is not ruled out: 12 cases show no difference below about" in few.reason
    many = ruled(a_report(*scores * 4), rule, a_report(*scores * 4, **CHAMPION))
    assert many.outcome == "pass"
    assert many.low is not None and -0.1 < many.low < -0.05  # 48 cases: 1 − 0.025^(1/48) = 0.074


def test_a_constant_loss_is_held_against_the_margin() -> None:
    rule = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}
    champion, near, far = ([start + step for step in (0.0, 0.1, 0.2) * 40] for start in (0.5, 0.45, 0.35))
    assert ruled(a_report(*near), rule, a_report(*champion, **CHAMPION)).outcome == "pass"  # 0.05 lost on every case of 120
    assert ruled(a_report(*far), rule, a_report(*champion, **CHAMPION)).outcome == "fail"
    assert ruled(a_report(*far), rule, a_report(*champion, **CHAMPION)).value == pytest.approx(-0.15)


def test_questions_on_one_document_are_held_together() -> None:
    cases = [a_case(id=f"c{n}", evidence=[], relevant_ids=[f"d{n % 4}"]) for n in range(48)]
    rule = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}
    ruling = ruled(a_report(*[0.5] * 48, cases=cases), rule, a_report(*[0.5] * 48, cases=cases, **CHAMPION))
    assert (ruling.outcome, "48 cases on 4 documents" in ruling.reason) == ("fail", True)


def test_a_gain_that_may_be_a_loss_is_not_shown_to_be_within_the_margin() -> None:
    champion, candidate = a_report(*[0.0, 1.0] * 5, **CHAMPION), a_report(*[1.0, 0.0] * 5)
    ruling = ruled(candidate, {"rule": "non_inferior", "metric": "quality", "margin": 0.1}, champion)
    assert ruling.outcome == "fail"
    assert "a loss of the margin is not ruled out" in ruling.reason


def test_where_less_is_better_a_rise_is_the_loss() -> None:
    down = {"metric": "pii", "directions": {"pii": "lower"}}
    rule = {"rule": "non_inferior", "metric": "pii", "margin": 0.1}
    few, more = [0.1, 0.2] * 20, [0.4, 0.5] * 20
    assert ruled(a_report(*more, **down), rule, a_report(*few, **down, **CHAMPION)).outcome == "fail"
    fell = ruled(a_report(*few, **down), rule, a_report(*more, **down, **CHAMPION))
    assert fell.outcome == "pass"
    assert fell.value == pytest.approx(0.3)
    assert fell.mean == pytest.approx(0.15)


def test_another_version_of_a_metric_is_not_compared() -> None:
    ruling = ruled(
        a_report(1.0, metric_versions={"quality": "2"}),
        {"rule": "non_inferior", "metric": "quality", "margin": 0.1},
        a_report(1.0),
    )
    assert ruling.outcome == "fail"
    assert ruling.reason == "not comparable: quality was version 1 for the champion and is 2 now. Run: touchstone champion set"


def test_cases_that_lost_their_value_are_told() -> None:
    ruling = ruled(a_report(1.0, 1.0, None), {"rule": "non_inferior", "metric": "quality", "margin": 0.1}, a_report(1.0, 1.0, 0.0))
    assert ruling.count == 2
    assert "1 cases that the champion has a value for have none now" in ruling.reason


def test_crashes_are_counted_and_outages_are_not_theirs() -> None:
    report = crashed(a_report(1.0), infrastructure=False)
    assert ruled(report, {"rule": "errors"}).outcome == "fail"
    assert ruled(report, {"rule": "errors", "at_most": 1}).outcome == "pass"
    assert ruled(crashed(a_report(1.0), infrastructure=True), {"rule": "errors"}).value == 0.0


def test_an_outage_leaves_the_gate_undecided_whatever_the_rest_scored() -> None:
    for value in (0.0, 1.0):
        decision = decided(crashed(a_report(value), infrastructure=True), FLOOR)
        assert (decision.state, decision.exit_code) == ("infrastructure", 3)
        assert decision.rulings[0].outcome == "unjudged"
        assert "the endpoint is down" in decision.message


def test_an_advisory_rule_never_blocks() -> None:
    decision = decided(a_report(0.0), FLOOR | {"advisory": True})
    assert (decision.state, decision.exit_code) == ("pass", 0)
    assert decision.rulings[0].outcome_text == "fail (advisory)"


def test_a_leak_fails_and_nothing_to_keep_apart_is_not_judged() -> None:
    rule = {"rule": "leak", "by": "domain"}
    found = decided(a_report(1.0), rule, leaks={"r0": Leaks(("only-hr asked c0 and saw it/vpn.md",), 6, 12)})
    assert found.exit_code == 1
    assert "only-hr asked c0 and saw it/vpn.md" in found.rulings[0].reason
    assert decided(a_report(1.0), rule, leaks={"r0": Leaks((), 0, 0, "one domain")}).rulings[0].outcome == "unjudged"
    assert decided(a_report(1.0), rule, leaks={"r0": Leaks((), 6, 12)}).rulings[0].outcome == "pass"


def test_changes_against_the_champion_start_with_the_losses() -> None:
    rule = {"rule": "non_inferior", "metric": "quality", "margin": 0.5}
    changes = decided(a_report(0.0, 1.0, 0.5, 0.6), rule, champion=a_report(1.0, 0.0, 0.5, 0.5)).changes
    assert [(one.case, one.before, one.after) for one in changes.largest] == [("c0", 1.0, 0.0), ("c3", 0.5, 0.6), ("c1", 0.0, 1.0)]
    assert (changes.lost, changes.won) == (1, 1)


def test_a_decision_as_plain_data_has_each_rules_numbers() -> None:
    plain = DECISION_CODEC.dump(decided(a_report(0.2, 0.4), FLOOR))
    assert plain["state"] == "fail"
    assert {"value": 0.30000000000000004, "threshold": 0.5, "count": 2, "of": 2}.items() <= plain["rulings"][0].items()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"id": "a", "rule": "flor", "metric": "quality"}, "no rule 'flor'. Did you mean 'floor'?"),
        ({"id": "a", "metric": "quality"}, "'rule' is missing."),
        ({"id": "a", **FLOOR, "atleast": 1}, "unknown key 'rules.0.floor.atleast'. Did you mean 'at_least'?"),
        (
            {"id": "a", "rule": "floor", "metric": "quality", "at_leat": 0.5},
            "unknown key 'rules.0.floor.at_leat'. Did you mean 'at_least'?",
        ),
        ({"id": "a", **FLOOR, "metric": "qualty"}, "rule 'a': No metric 'qualty'. Did you mean 'quality'?"),
        ({"id": "a", **FLOOR, "metric": "safety"}, "rule 'a': 'safety' is a group of metrics, and a rule reads one"),
        ({"id": "a", "rule": "floor", "metric": "quality"}, "rules.0.floor.at_least: field required"),
        ({"id": "a", "rule": "ceiling", "at_most": 1}, "name either a metric or a number"),
        ({"id": "a b", **FLOOR}, "rules.0.floor.id"),
        ({"id": "a", **FLOOR, "at_least": float("nan")}, "rules.0.floor.at_least: input should be a finite number"),
    ],
)
def test_a_mistake_in_a_gate_file_is_one_line(tmp_path: Path, rule: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, BASE | {"rules": [rule]})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "gate.yaml"))


def test_metrics_are_read_by_the_names_that_evaluations_know_them_by(tmp_path: Path) -> None:
    gate = read(tmp_path, BASE | {"metrics": ["safety", "mrr"], "rules": [{"id": "a", **FLOOR, "metric": "recall"}]})
    assert gate.scored == ("pii", "injection_success", "toxicity", "mrr@10", "recall@10")
    assert gate.rules[0].metrics == ("recall@10",)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two rules have the id 'a'"):
        read(tmp_path, BASE | {"rules": [{"id": "a", **FLOOR}, {"id": "a", **FLOOR}]})


def test_unknown_metrics_and_numbers_are_named_with_what_they_resemble() -> None:
    with pytest.raises(ConfigError, match="No metric 'qualty'. Did you mean 'quality'?"):
        check_gate(a_gate(FLOOR | {"metric": "qualty"}), tools())
    with pytest.raises(ConfigError, match="no number 'cost.us'. Did you mean 'cost.usd'?"):
        check_gate(a_gate({"rule": "ceiling", "number": "cost.us", "at_most": 1}), tools())
    assert {"cost.usd", "ms.total.p95", "ms.retrieve.p50", "seconds"} <= known_numbers()


def test_a_floor_under_what_should_be_low_is_refused() -> None:
    with pytest.raises(ConfigError, match="less is better"):
        check_gate(a_gate(FLOOR | {"metric": "duplicate_rate@5"}), tools())
    with pytest.raises(ConfigError, match="less is better, and a slice has a floor only"):
        check_gate(a_gate({"rule": "slice", "by": "kind", "metric": "hallucination", "at_least": 0.1}), tools())


def test_a_judge_that_nobody_calibrated_may_only_advise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = PipelineSettings(prompts=REPOSITORY / "prompts")
    asked = Tools(settings, judge=connect_judge("local", settings, PromptLibrary(settings.prompts)))
    rule = FLOOR | {"metric": "judge_groundedness"}
    with pytest.raises(ConfigError, match="advisory: true"):
        check_gate(a_gate(rule), asked)
    check_gate(a_gate(rule | {"advisory": True}), asked)
    with pytest.raises(ConfigError, match="needs a judge. Name one in the gate's file, as judge: local"):
        check_gate(a_gate(rule | {"advisory": True}), tools())


@pytest.mark.parametrize("path", sorted((REPOSITORY / "experiments" / "gates").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_gate_of_this_repository_can_be_held(path: Path) -> None:
    gate = load_gate(path)
    check_gate(gate, tools())
    golden = load_golden(REPOSITORY / "datasets", gate.golden)
    assert golden.id == gate.golden  # a version is named, so that a new one is a decision
    recorded = champion_path(REPOSITORY / "reports/champions", golden.id, gate.split)
    if gate.needs_champion and recorded.is_file():  # none is recorded before the first promotion
        champion = read_report(recorded)
        assert champion.header.golden_digest == golden.digest, "run: touchstone champion set"
        assert set(gate.scored) <= set(champion.header.metrics), "run: touchstone champion set"
