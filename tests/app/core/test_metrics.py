import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.app.core.metrics import MOST_RELEASES, MOST_RULES, Metrics
from serving.pipeline.types import Answer, Attempt, GuardAction, GuardVerdict, Query, Route, StageRecord, Trace, Usage
from tests.app.making import SAYS, House, config, opened
from tests.app.release.test_trial import try_beside
from tests.support.making import a_trace


async def numbers(api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await api.client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


async def test_a_query_is_counted_by_stage_tokens_money_and_outcome(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        answer = (await api.ask()).json()
        await api.ask(domains=["nothing here"])
        found = await numbers(api)
        state = api.release_manager.readiness
    echo = ("model", "local:echo")
    assert found["touchstone_requests_total", (("route", "/v1/query"), ("status", "200"))] == 2
    assert found["touchstone_query_seconds_count", ()] == 2
    for stage, times in {"guard": 6, "cache": 2, "retrieve": 2, "route": 2, "answer": 2}.items():
        assert found["touchstone_stage_seconds_count", (("stage", stage),)] == times
    assert found["touchstone_tokens_total", (("direction", "output"), echo)] == len(SAYS.split())
    assert found["touchstone_tokens_total", (("direction", "input"), echo)] == answer["usage"]["input_tokens"]
    assert found["touchstone_usd_total", (echo, ("simulated", "true"), ("stage", "answer"))] == answer["usage"]["usd"]
    assert found["touchstone_refused_total", ()] == 1
    assert found["touchstone_hits_count", ()] == 2
    assert found["touchstone_hits_bucket", (("le", "0.0"),)] == 1
    assert found["touchstone_answers_total", (("tier", "lite"),)] == 2
    assert found["touchstone_queries_in_flight", ()] == 0
    assert found["touchstone_ready", ()] == found["touchstone_release_current", ()] == 1
    assert found["touchstone_release_info", (("channel", "dev"), ("digest", state.loaded), ("index", state.index))] == 1


def test_what_was_given_up_and_who_was_paid_is_counted_by_tier_and_stage() -> None:
    metrics = Metrics()
    given_up = Attempt(Route("lite", "short"), Answer("perhaps"))
    metrics.answered(replace(a_trace(), attempts=(given_up,), usage=(Usage("guardrail", usd=0.5, stage="guard"),)))
    value = metrics.registry.get_sample_value
    assert value("touchstone_escalated_total", {"tier": "lite"}) == 1
    assert value("touchstone_usd_total", {"model": "guardrail", "stage": "guard", "simulated": "false"}) == 0.5


async def test_the_warm_up_is_no_query(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        assert (await numbers(api))["touchstone_query_seconds_count", ()] == 0


def test_what_an_alert_counts_begins_at_zero_since_a_rate_does_not_see_the_first() -> None:
    value = Metrics().registry.get_sample_value
    assert value("touchstone_answer_findings_total", {"finding": "prompt_leak"}) == 0
    assert value("touchstone_shadow_pairs_total", {"verdict": "disagreed"}) == 0
    assert value("touchstone_role_answers_total", {"role": "canary", "outcome": "ungrounded"}) == 0
    assert value("touchstone_cache_hits_total", {"kind": "semantic"}) == 0


def test_two_apps_in_one_process_count_for_themselves() -> None:
    one, two = Metrics(), Metrics()
    one.request("/v1/query", 200, 0.1)
    assert one.registry.get_sample_value("touchstone_requests_total", {"route": "/v1/query", "status": "200"}) == 1
    assert two.registry.get_sample_value("touchstone_requests_total", {"route": "/v1/query", "status": "200"}) is None


def test_rules_that_a_part_from_outside_makes_up_do_not_fill_the_registry() -> None:
    metrics = Metrics()
    for number in range(MOST_RULES + 50):
        verdict = GuardVerdict("input", GuardAction.FLAG, "", check="odd", rule=f"rule {number}")
        metrics.answered(Trace("t", Query("q"), "c", "i", guard=(verdict,)))
    labels = {"side": "input", "check": "odd", "action": "flag"}
    assert metrics.registry.get_sample_value("touchstone_guard_incidents_total", {**labels, "rule": "other"}) == 50
    assert metrics.registry.get_sample_value("touchstone_guard_incidents_total", {**labels, "rule": "rule 7"}) == 1


def test_each_kind_of_personal_data_is_counted_and_what_was_allowed_is_not() -> None:
    metrics = Metrics()
    masked = GuardVerdict("input", GuardAction.MASK, "", check="pii", rule="EMAIL_ADDRESS, US_SSN")
    metrics.answered(Trace("t", Query("q"), "c", "i", guard=(masked, GuardVerdict("input", GuardAction.ALLOW, "", check="size"))))
    text = [
        sample for family in metrics.registry.collect() for sample in family.samples if sample.name == "touchstone_guard_incidents_total"
    ]
    assert {sample.labels["rule"]: sample.value for sample in text} == {"EMAIL_ADDRESS": 1, "US_SSN": 1}


@pytest.mark.parametrize(("says", "verdict"), [(SAYS + " Ask the people team.", "agreed"), ("It is 90 days, or 91 [1].", "disagreed")])
async def test_a_shadow_is_counted_by_its_role_and_by_whether_it_agrees(house: House, says: str, verdict: str) -> None:
    async with opened(house.settings()) as api:
        digest = await try_beside(house, "shadow", 1.0, config(says))
        await api.release_manager.refresh()
        await api.ask()
        await asyncio.gather(*api.app.state.service.shadows._tasks)
        found = await numbers(api)
    pairs = {dict(labels)["verdict"]: value for (name, labels), value in found.items() if name == "touchstone_shadow_pairs_total"}
    assert pairs == {"agreed": 0, "disagreed": 0, "failed": 0} | {verdict: 1}
    for role in ("stable", "shadow"):
        assert found["touchstone_role_answers_total", (("outcome", "answered"), ("role", role))] == 1
        assert found["touchstone_role_query_seconds_count", (("role", role),)] == 1
        assert found["touchstone_role_usd_total", (("role", role),)] > 0
    assert found["touchstone_candidate_info", (("channel", "dev"), ("digest", digest), ("mode", "shadow"))] == 1


def test_an_answer_counts_once_for_its_role_by_what_it_is() -> None:
    metrics = Metrics()
    bad = GuardVerdict("output", GuardAction.FLAG, "", check="groundedness", rule="ungrounded")
    metrics.answered(replace(a_trace(answer="x"), guard=(bad, bad), role="canary"))
    metrics.answered(replace(a_trace(refused=True), guard=(bad,), role="canary"))
    metrics.answered(replace(a_trace(answer="x"), role="made up"))
    value = metrics.registry.get_sample_value
    assert value("touchstone_role_answers_total", {"role": "canary", "outcome": "ungrounded"}) == 1
    assert value("touchstone_role_answers_total", {"role": "canary", "outcome": "refused"}) == 1
    assert value("touchstone_role_answers_total", {"role": "other", "outcome": "answered"}) == 1


async def test_the_budget_the_age_of_the_index_and_keys_that_cannot_be_read_are_told(furnished: House, tmp_path, monkeypatch) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"{'a' * 64}: {{id: bot}}\n")
    async with opened(furnished.settings(usd_per_day=12.5, api_keys=keys)) as api:
        before = await numbers(api)
        keys.write_text("not: [a file of keys")
        monkeypatch.setattr(api.app.state.service.keys, "_checked_at", -10.0)  # a second later
        after = await numbers(api)
        created = api.release_manager.serving.release.index.created_at
    assert (before["touchstone_keys_unreadable", ()], after["touchstone_keys_unreadable", ()]) == (0, 1)
    assert before["touchstone_budget_usd_per_day", ()] == 12.5
    assert before["touchstone_index_created_timestamp_seconds", ()] == datetime.fromisoformat(created).timestamp()


async def test_what_of_the_day_s_budget_is_spent_is_told(furnished: House) -> None:
    async with opened(furnished.settings(usd_per_day=12.5)) as api:
        before = await numbers(api)
        usd = (await api.ask()).json()["usage"]["usd"]
        after = await numbers(api)
    assert usd > 0
    assert before["touchstone_budget_spent_usd", ()] == 0
    assert after["touchstone_budget_spent_usd", ()] == pytest.approx(usd)


async def test_what_was_found_and_what_of_it_was_read_and_cited_is_counted(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        answer = (await api.ask()).json()
        trace = (await api.client.post("/v1/retrieve", json={"question": "leave"})).json()
        found = await numbers(api)
    release = ("release", answer["release"])
    assert trace["passages"]
    assert found["touchstone_release_answers_total", (release, ("role", "stable"))] == 2
    assert found["touchstone_best_score_count", ()] == 1
    assert found["touchstone_cited_share_count", ()] == 1
    assert 0 < found["touchstone_cited_share_sum", ()] <= 1
    assert found["touchstone_output_tokens_per_second_count", ()] == 1


def test_releases_beyond_a_few_are_told_from_each_other_no_more() -> None:
    metrics = Metrics()
    for number in range(MOST_RELEASES + 5):
        metrics.answered(replace(a_trace(), release_digest=f"{number:016x}"))
    value = metrics.registry.get_sample_value
    assert value("touchstone_release_answers_total", {"release": "other", "role": "stable"}) == 5
    assert value("touchstone_release_answers_total", {"release": f"{0:016x}", "role": "stable"}) == 1


def test_repeats_and_passages_that_did_not_fit_and_cut_answers_are_counted() -> None:
    metrics = Metrics()
    record = StageRecord("retrieve", "d", 1.0, {"duplicates": 3})
    traced = replace(a_trace(), route=Route("lite", "short"), stages=(record,), dropped_passages=2, answer=Answer("cut sh", truncated=True))
    metrics.answered(traced)
    value = metrics.registry.get_sample_value
    assert value("touchstone_duplicate_passages_total") == 3
    assert value("touchstone_dropped_passages_total") == 2
    assert value("touchstone_truncated_total") == 1
