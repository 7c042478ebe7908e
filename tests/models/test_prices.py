"""Prices: known ones by hand, unknown ones never as free."""

import socket

import pytest
from langchain_core.messages import AIMessage

from serving.pipeline.models.bedrock import BedrockEmbeddings
from serving.pipeline.models.fakes import Echo
from serving.pipeline.models.prices import Price, embedding_usage, price, usage_of
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
    assert price(model, MILLION, 0) == pytest.approx(input_usd)
    if output_usd:
        assert price(model, 0, MILLION) == pytest.approx(output_usd)


@pytest.mark.parametrize("model", ["bedrock_converse:acme.oracle-v1:0", "ollama:llama3", "openai:amazon.nova-lite-v1:0", "nonsense", ""])
def test_an_unknown_model_has_no_price(model: str):
    assert price(model, MILLION, MILLION) is None


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
    fresh = price("amazon.nova-lite-v1:0", 1000, 0)
    cached = price("amazon.nova-lite-v1:0", 1000, 0, cache_read_tokens=1000)
    assert fresh is not None
    assert cached == pytest.approx(fresh / 4)


def test_an_agreed_price_comes_before_the_list_and_holds_for_every_region():
    agreed = {"amazon.nova-lite-v1:0": Price(1.0, 2.0, "contract, 2026-10-01")}
    assert price("bedrock_converse:eu.amazon.nova-lite-v1:0", MILLION, MILLION, overrides=agreed) == pytest.approx(3.0)
    assert price("amazon.nova-pro-v1:0", MILLION, 0, overrides=agreed) == pytest.approx(0.80)


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
    assert price("amazon.nova-lite-v1:0", 1, 1) is not None
