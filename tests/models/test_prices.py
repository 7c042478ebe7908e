"""Prices: known ones by hand, unknown ones never as free."""

import socket
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from serving.pipeline.errors import ConfigError
from serving.pipeline.models.bedrock import BedrockEmbeddings
from serving.pipeline.models.fakes import Echo
from serving.pipeline.models.prices import LISTED, PACKAGE, PriceList, embedding_usage, guardrail_usage, price_list, usage_of
from serving.pipeline.settings import PipelineSettings

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "input_usd", "output_usd"),
    [
        ("amazon.nova-lite-v1:0", 0.06, 0.24),
        ("bedrock_converse:amazon.nova-lite-v1:0", 0.06, 0.24),
        ("us.amazon.nova-pro-v1:0", 0.80, 3.20),
        ("bedrock_converse:eu.amazon.nova-pro-v1:0", 0.80, 3.20),
        ("apac.amazon.nova-micro-v1:0", 0.035, 0.14),
        ("global.amazon.nova-lite-v1:0", 0.06, 0.24),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", 0.06, 0.24),
        ("bedrock:amazon.titan-embed-text-v2:0", 0.02, 0.0),
        ("openai:gpt-4o-mini", 0.15, 0.60),
    ],
)
def test_a_million_tokens_cost_what_the_provider_says(model: str, input_usd: float, output_usd: float):
    assert PACKAGE.tokens(model, MILLION, 0) == pytest.approx(input_usd)
    if output_usd:
        assert PACKAGE.tokens(model, 0, MILLION) == pytest.approx(output_usd)


@pytest.mark.parametrize("model", ["bedrock_converse:acme.oracle-v1:0", "ollama:llama3", "openai:amazon.nova-lite-v1:0", "nonsense", ""])
def test_an_unknown_model_has_no_price(model: str):
    assert PACKAGE.tokens(model, MILLION, MILLION) is None


def test_an_unknown_price_does_not_read_as_free():
    source = Echo(Echo.Params())
    source.price_model = "acme.oracle-v1:0"
    used = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    usage = usage_of(AIMessage("x", usage_metadata=used), source, "acme:oracle")
    assert (usage.input_tokens, usage.output_tokens, usage.usd, usage.priced) == (10, 5, 0.0, False)
    assert embedding_usage(10, source, "acme:oracle").priced is False


def test_an_answer_without_a_token_count_does_not_read_as_free():
    assert usage_of(AIMessage("x"), Echo(Echo.Params()), "local:echo").priced is False


def test_tokens_read_from_the_providers_cache_cost_less_than_fresh_ones():
    fresh = PACKAGE.tokens("amazon.nova-lite-v1:0", 1000, 0)
    cached = PACKAGE.tokens("amazon.nova-lite-v1:0", 1000, 0, cache_read_tokens=1000)
    assert fresh is not None
    assert cached == pytest.approx(fresh / 4)


def test_embedding_is_paid_by_its_tokens():
    source = BedrockEmbeddings(
        BedrockEmbeddings.Params(), name="bedrock:amazon.titan-embed-text-v2:0", settings=PipelineSettings(_env_file=None)
    )
    usage = embedding_usage(MILLION, source, source.name, calls=7)
    assert (usage.input_tokens, usage.output_tokens, usage.calls, usage.simulated) == (MILLION, 0, 7, False)
    assert usage.usd == pytest.approx(0.02)


def test_prices_are_never_fetched(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a price was asked from the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert PACKAGE.tokens("amazon.nova-lite-v1:0", 1, 1) is not None


OWN = """
date: 2026-11-20
models:
  bedrock_converse:amazon.nova-lite-v1:0:
    - {valid_from: 2026-01-01, usd_per_million_input: 9, usd_per_million_output: 9}
    - {valid_from: 2026-11-01, usd_per_million_input: 1.0, usd_per_million_output: 2.0, usd_per_million_cached_input: 0.5}
    - {valid_from: 2026-12-01, usd_per_million_input: 7, usd_per_million_output: 7}
  acme:oracle: {valid_from: 2026-11-20, usd_per_call: 0.25}
  acme:reader: {valid_from: 2026-11-20, usd_per_million_input: 1.0}
  amazon.nova-micro-v1:0: {valid_from: 2026-11-21, usd_per_million_input: 5, usd_per_million_output: 5}
  amazon.rerank-v1:0: {valid_from: 2026-11-01, usd_per_call: 0.0005}
  bedrock-guardrail:contentPolicy: {valid_from: 2026-11-01, usd_per_1000_units: 0.12}
"""


def own(tmp_path: Path, text: str = OWN, name: str = "prices.yaml") -> PriceList:
    path = tmp_path / name
    path.write_text(text)
    return price_list(PipelineSettings(_env_file=None, prices=path))


@pytest.mark.parametrize(
    ("model", "used", "usd"),
    [
        ("amazon.nova-lite-v1:0", (MILLION, MILLION), 3.0),
        ("bedrock_converse:eu.amazon.nova-lite-v1:0", (MILLION, MILLION), 3.0),  # for every region, by its name or its id
        ("amazon.nova-pro-v1:0", (MILLION, 0), 0.80),  # not in the file: as listed
        ("amazon.nova-micro-v1:0", (MILLION, 0), 0.035),  # from a later day on: as listed until then
        ("acme:oracle", (MILLION, MILLION), 0.25),
        ("acme:reader", (MILLION, 0), 1.0),
        ("acme:reader", (MILLION, 1), None),  # what it writes has no price: not nothing
        ("acme:other", (1, 1), None),
    ],
)
def test_ones_own_price_of_the_day_comes_before_the_list(tmp_path: Path, model: str, used: tuple[int, int], usd: float | None) -> None:
    found = own(tmp_path).tokens(model, *used)
    assert found == (None if usd is None else pytest.approx(usd))


def test_tokens_of_the_providers_cache_have_ones_own_price_too(tmp_path: Path) -> None:
    prices = own(tmp_path)
    assert prices.tokens("amazon.nova-lite-v1:0", MILLION, 0, cache_read_tokens=MILLION // 2) == pytest.approx(0.75)
    assert prices.tokens("amazon.nova-lite-v1:0", MILLION, 0, cache_write_tokens=MILLION) == pytest.approx(1.0)  # no price of its own


def test_what_is_paid_by_the_call_or_by_units_can_be_priced_too(tmp_path: Path) -> None:
    prices = own(tmp_path)
    assert prices.calls("bedrock:amazon.rerank-v1:0", 3) == pytest.approx(0.0015)
    assert prices.calls("bedrock:cohere.rerank-v3-5:0", 3) == pytest.approx(0.006)
    assert prices.calls("bedrock:arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0", 1) == pytest.approx(0.0005)
    assert prices.calls("bedrock:acme.rerank", 1) is None
    usage = guardrail_usage({"contentPolicyUnits": 10, "topicPolicyUnits": 20}, "bedrock", prices)
    assert usage.usd == pytest.approx(10 * 0.12e-3 + 20 * 0.15e-3)


def test_a_report_names_its_prices_and_a_changed_file_is_another(tmp_path: Path) -> None:
    first, same, other = (
        own(tmp_path),
        own(tmp_path, OWN + "# a remark\n", "same.yaml"),
        own(tmp_path, OWN.replace("0.12", "0.13"), "o.yaml"),
    )
    assert first.label.startswith(f"prices.yaml ({first.digest}), then genai-prices ")
    assert first.label.endswith(" as of 2026-11-20")
    assert first.digest == same.digest != other.digest
    assert PACKAGE.label.endswith(" as of 2026-11-01")


def test_the_file_may_be_json(tmp_path: Path) -> None:
    text = '{"date": "2026-11-20", "models": {"acme:oracle": {"valid_from": "2026-11-20", "usd_per_call": 1}}}'
    assert own(tmp_path, text, "prices.json").tokens("acme:oracle", 1, 1) == 1.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date: [2026", "prices.yaml:1: "),
        ("", "is expected, not None"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_cal: 1}}", "Did you mean 'usd_per_call'"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20}}", "no price; give one of usd_per_million_input"),
        ("date: 2026-11-20\nmodels: {a: {usd_per_call: 1}}", "valid_from"),
        ("date: 20.11.2026\nmodels: {}", "a day such as 2026-11-20 is expected"),
        ("date: 20261120\nmodels: {}", "a day such as 2026-11-20 is expected"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_call: -1}}", "greater than or equal to 0"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_call: .inf}}", "finite number"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_call: free}}", "valid number"),
        ("date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_call: true}}", "valid number"),
        ("date: 2026-11-20\nmodels: {a: []}", "at least 1 must be in it, not 0"),
        (
            "date: 2026-11-20\nmodels: {a: [{valid_from: 2026-11-20, usd_per_call: 1}, {valid_from: 2026-11-20, usd_per_call: 2}]}",
            "a has two prices from the same day on",
        ),
        (
            "date: 2026-11-20\nmodels: {a: {valid_from: 2026-11-20, usd_per_call: 1}, 'bedrock:a': "
            "{valid_from: 2026-11-20, usd_per_call: 2}}",
            "priced twice",
        ),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, text)
    line = str(caught.value)
    assert line.startswith("TOUCHSTONE_PRICES, ")
    assert says in line
    assert "\n" not in line


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        price_list(PipelineSettings(_env_file=None, prices=tmp_path / "none.yaml"))


def test_a_guardrails_call_costs_its_units_by_kind_of_policy() -> None:
    units = {"topicPolicyUnits": 1, "contentPolicyUnits": 2, "wordPolicyUnits": 2, "sensitiveInformationPolicyUnits": 3,
             "sensitiveInformationPolicyFreeUnits": 9, "contextualGroundingPolicyUnits": 4, "automatedReasoningPolicies": 2}  # fmt: skip
    usage = guardrail_usage(units, "bedrock:abc")
    assert usage.usd == pytest.approx((1 * 0.15 + 2 * 0.15 + 3 * 0.10 + 4 * 0.10) / 1000)
    assert (usage.model, usage.calls, usage.priced, usage.stage) == ("bedrock:abc", 1, True, "guard")


def test_a_policy_of_unknown_price_does_not_read_as_free() -> None:
    usage = guardrail_usage({"contentPolicyUnits": 1, "newPolicyUnits": 1}, "bedrock:abc")
    assert (usage.usd, usage.priced) == (pytest.approx(0.15e-3), False)
    assert guardrail_usage({"contentPolicyUnits": 1, "newPolicyUnits": 0}, "bedrock:abc").priced
    assert not guardrail_usage({}, "bedrock:abc").priced
    assert not guardrail_usage({"contentPolicyUnits": "many"}, "bedrock:abc").priced
    assert all(price.thousand_units_usd is not None for name, price in LISTED.items() if "guardrail" in name)


@pytest.mark.parametrize(
    ("details", "usd"),
    [
        ({}, 1000 * 3.3e-6),
        ({"cache_read": 1000}, 1000 * 0.33e-6),
        ({"cache_creation": 1000}, 1000 * 4.125e-6),
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 1000}, 1000 * 4.125e-6),  # how LangChain tells of it by its kinds
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}, 400 * 4.125e-6 + 600 * 6.6e-6),
        ({"cache_read": 2000}, None),  # more than was read at all: nobody knows
    ],
)
def test_tokens_of_the_providers_cache_cost_what_they_cost(details: dict[str, Any], usd: float | None) -> None:
    source = Echo(Echo.Params())
    source.price_model = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    tokens: Any = {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000, "input_token_details": details}
    usage = usage_of(AIMessage("x", usage_metadata=tokens), source, "claude")
    assert (usage.usd, usage.priced) == (pytest.approx(usd or 0.0), usd is not None)


def test_tokens_of_reasoning_are_among_those_written() -> None:
    tokens: Any = {"input_tokens": 0, "output_tokens": 1000, "total_tokens": 1000, "output_token_details": {"reasoning": 900}}
    usage = usage_of(AIMessage("x", usage_metadata=tokens), Echo(Echo.Params()), "m")
    assert usage.usd == pytest.approx(1000 * 0.24e-6)
