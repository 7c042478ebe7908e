"""What tokens cost, in US dollars: from the genai-prices package as installed, never from the network.

An unknown price is not a price of nothing: `Usage.priced` is False then, and `usd` stays 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from langchain_core.messages import AIMessage

from serving.pipeline.types import Usage

PRICED_ON = datetime(2026, 11, 1, tzinfo=UTC)  # pinned: the same calls cost the same in every report
AWS = "aws"
PROVIDERS = {  # LangChain's name of a provider → genai-prices' name
    "anthropic": "anthropic", "azure_openai": "azure", "bedrock": AWS, "bedrock_converse": AWS, "cohere": "cohere", "deepseek": "deepseek",
    "fireworks": "fireworks", "google_genai": "google", "google_vertexai": "google", "groq": "groq", "mistralai": "mistral",
    "openai": "openai", "openrouter": "openrouter", "perplexity": "perplexity", "together": "together", "xai": "x-ai",
}  # fmt: skip
REGIONAL = re.compile(r"^(?:us-gov|us|eu|apac|amer|sa|jp|au|global)\.")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, with source and date."""

    input_usd: float
    output_usd: float
    read: str


OVERRIDES: Mapping[str, Price] = {}  # model → price, looked up first: models that the package lacks, and negotiated prices


class PriceSource(Protocol):
    """The part of a model source that pricing needs."""

    price_model: str
    simulated: bool


def usage_of(message: AIMessage, source: PriceSource, name: str) -> Usage:
    """Tokens and dollars of one answer."""
    tokens = message.usage_metadata
    if tokens is None:
        return Usage(name, simulated=source.simulated, priced=False)
    details = tokens.get("input_token_details", {})
    usd = price(
        source.price_model,
        tokens["input_tokens"],
        tokens["output_tokens"],
        cache_read_tokens=details.get("cache_read", 0),
        cache_write_tokens=details.get("cache_creation", 0),
    )
    return Usage(name, tokens["input_tokens"], tokens["output_tokens"], usd or 0.0, source.simulated, priced=usd is not None)


def embedding_usage(tokens: int, source: PriceSource, name: str, *, calls: int = 1) -> Usage:
    """Tokens and dollars of embedding texts."""
    usd = price(source.price_model, tokens, 0)
    return Usage(name, tokens, 0, usd or 0.0, source.simulated, calls=calls, priced=usd is not None)


def price(
    model: str,
    input_tokens: int,
    output_tokens: int,
    *,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    overrides: Mapping[str, Price] = OVERRIDES,
) -> float | None:
    """US dollars for a call's tokens, cached ones included in `input_tokens`; None when the model's price is unknown."""
    for reference in _references(model):
        if (agreed := overrides.get(reference.model)) is not None:
            return round((input_tokens * agreed.input_usd + output_tokens * agreed.output_usd) / 1_000_000, 12)
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens or None,
        cache_write_tokens=cache_write_tokens or None,
    )
    for reference in _references(model):
        try:
            calculation = calc_price(tokens, reference.model, provider_id=reference.provider, genai_request_timestamp=PRICED_ON)
        except LookupError:
            continue
        return float(calculation.total_price)
    return None


@dataclass(frozen=True, slots=True)
class _Reference:
    provider: str | None
    model: str


def _references(model: str) -> list[_Reference]:
    """How the package may know a model: as named, then without its region; a bare id is Bedrock's, else anybody's."""
    before, _, after = model.partition(":")
    if before in PROVIDERS:
        providers: list[str | None] = [PROVIDERS[before]]
        model = after
    else:
        providers = [AWS, None]
    model = model.rpartition("/")[2] if model.startswith("arn:") else model
    ids = dict.fromkeys([model, REGIONAL.sub("", model)])
    return [_Reference(provider, model_id) for provider in providers for model_id in ids]
