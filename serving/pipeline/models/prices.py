"""What calls cost, in US dollars: by the file of one's own prices, else by the genai-prices package as installed, never from the network.

An unknown price is not a price of nothing: `Usage.priced` is False then, and `usd` is what is known of the cost.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from langchain_core.messages import AIMessage

from serving.pipeline.errors import ConfigError
from serving.pipeline.models.price_file import Price, read_prices
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage

PRICED_ON = date(2026, 11, 1)  # pinned: the same calls cost the same in every report
AWS = "aws"
PROVIDERS = {  # LangChain's name of a provider → genai-prices' name
    "anthropic": "anthropic", "azure_openai": "azure", "bedrock": AWS, "bedrock_converse": AWS, "cohere": "cohere", "deepseek": "deepseek",
    "fireworks": "fireworks", "google_genai": "google", "google_vertexai": "google", "groq": "groq", "mistralai": "mistral",
    "openai": "openai", "openrouter": "openrouter", "perplexity": "perplexity", "together": "together", "xai": "x-ai",
}  # fmt: skip
REGIONAL = re.compile(r"^(?:us-gov|us|eu|apac|amer|sa|jp|au|global)\.")
GUARDRAIL = "bedrock-guardrail"
LISTED: Mapping[str, Price] = {  # list prices of AWS on that day, of what the package does not know: it knows tokens only
    "amazon.rerank-v1:0": Price(call_usd=0.001),
    "cohere.rerank-v3-5:0": Price(call_usd=0.002),
    f"{GUARDRAIL}:topicPolicy": Price(thousand_units_usd=0.15),
    f"{GUARDRAIL}:contentPolicy": Price(thousand_units_usd=0.15),
    f"{GUARDRAIL}:contentPolicyImage": Price(thousand_units_usd=0.75),
    f"{GUARDRAIL}:wordPolicy": Price(thousand_units_usd=0.0),
    f"{GUARDRAIL}:sensitiveInformationPolicy": Price(thousand_units_usd=0.10),
    f"{GUARDRAIL}:sensitiveInformationPolicyFree": Price(thousand_units_usd=0.0),
    f"{GUARDRAIL}:contextualGroundingPolicy": Price(thousand_units_usd=0.10),
    f"{GUARDRAIL}:automatedReasoningPolicy": Price(thousand_units_usd=0.17),
}


class PriceSource(Protocol):
    """The part of a model source that pricing needs."""

    price_model: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one day: those of one's own before those of the lists."""

    own: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    as_of: date = PRICED_ON
    file: str = ""  # whose own prices these are
    digest: str = ""  # of that file's content

    @property
    def label(self) -> str:
        """Which prices these are, for a report: sources, date and digest."""
        package = f"genai-prices {version('genai-prices')} as of {self.as_of.isoformat()}"
        return f"{self.file} ({self.digest}), then {package}" if self.file else package

    def tokens(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        *,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_write_hour_tokens: int = 0,
    ) -> float | None:
        """Dollars of a call by its tokens; None where the price is unknown.

        Those read from and written to the provider's cache are among `input_tokens`, those kept for an hour among the written ones.
        """
        if (agreed := self._own(model)) is not None:
            return agreed.of_tokens(input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
        return _listed_usd(self.as_of, model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_hour_tokens)

    def calls(self, model: str, count: int) -> float | None:
        """Dollars of so many calls of a model that is paid by the call."""
        agreed = self._own(model) or LISTED.get(_bare(model))
        return None if agreed is None or agreed.call_usd is None else count * agreed.call_usd

    def units(self, name: str, count: float) -> float | None:
        """Dollars of so many units of text of a service that is paid by them."""
        agreed = self._own(name) or LISTED.get(name)
        return None if agreed is None or agreed.thousand_units_usd is None else count * agreed.thousand_units_usd / 1000

    def reprice(self, use: Usage) -> Usage:
        """The same call of retrieval by these prices, where they know its model."""
        usd = self.calls(use.model, use.calls)
        usd = self.tokens(use.model, use.input_tokens, use.output_tokens) if usd is None else usd
        return use if usd is None else replace(use, usd=usd, priced=True)

    def _own(self, model: str) -> Price | None:
        names = [model, *(reference.model for reference in _references(model))]
        return next((self.own[name] for name in names if name in self.own), None)


@lru_cache(maxsize=4096)
def _listed_usd(
    as_of: date, model: str, input_tokens: int, output_tokens: int, cache_read_tokens: int, cache_write_tokens: int, hour_tokens: int
) -> float | None:
    """What genai-prices says of a call on a day; worked out once, since that takes longer than a search."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens or None,
        cache_write_tokens=cache_write_tokens or None,
        cache_write_1h_tokens=hour_tokens or None,
    )
    day = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    for reference in _references(model):
        try:
            calculation = calc_price(tokens, reference.model, provider_id=reference.provider, genai_request_timestamp=day)
        except LookupError:
            continue
        except ValueError:  # counts that contradict each other
            return None
        return float(calculation.total_price)
    return None


PACKAGE = PriceList()


def price_list(settings: PipelineSettings) -> PriceList:
    """The prices that the settings name; read once, so that a process has one price for a thing."""
    return _read(settings.prices.absolute()) if settings.prices else PACKAGE


@cache
def _read(path: Path) -> PriceList:
    file = read_prices(path)
    own: dict[str, Price] = {}
    for name, price in file.prices.items():
        if own.setdefault(_bare(name), price) is not price:
            raise ConfigError(f"TOUCHSTONE_PRICES, {path}: {name} is priced twice, once under its bare id.")
    return PriceList(MappingProxyType(own), file.day, path.name, file.digest)


def usage_of(message: AIMessage, source: PriceSource, name: str, prices: PriceList = PACKAGE) -> Usage:
    """Tokens and dollars of one answer, as the provider counts them."""
    tokens = message.usage_metadata
    if tokens is None:
        return Usage(name, simulated=source.simulated, priced=False)
    details = dict[str, Any](tokens.get("input_token_details", {}).items())  # with a provider's own keys
    short, hour = (int(details.get(key) or 0) for key in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))
    usd = prices.tokens(
        source.price_model,
        tokens["input_tokens"],
        tokens["output_tokens"],  # those of reasoning are among them
        cache_read_tokens=details.get("cache_read") or 0,
        cache_write_tokens=short + hour + (details.get("cache_creation") or 0),
        cache_write_hour_tokens=hour,
    )
    return Usage(name, tokens["input_tokens"], tokens["output_tokens"], usd or 0.0, source.simulated, priced=usd is not None)


def embedding_usage(
    tokens: int, source: PriceSource, name: str, *, prices: PriceList = PACKAGE, calls: int = 1, estimated: bool = False
) -> Usage:
    """Tokens and dollars of embedding texts; `estimated`: the tokens are by the length of the text."""
    usd = prices.tokens(source.price_model, tokens, 0)
    return Usage(name, tokens, 0, usd or 0.0, source.simulated, calls, usd is not None, "retrieve", estimated)


def guardrail_usage(units: Mapping[str, Any], name: str, prices: PriceList = PACKAGE) -> Usage:
    """Dollars of one ApplyGuardrail call, by the `usage` of its response: units of text by kind of policy, such as `contentPolicyUnits`."""
    known, priced = 0.0, bool(units)
    for kind, count in units.items():
        if not kind.endswith("Units") or not count:  # how many policies of automated reasoning there are is told as well
            continue
        counted = isinstance(count, int | float) and math.isfinite(count)
        usd = prices.units(f"{GUARDRAIL}:{kind.removesuffix('Units')}", count) if counted else None
        known, priced = known + (usd or 0.0), priced and usd is not None
    return Usage(name, usd=round(known, 12), priced=priced, stage="guard")


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


def _bare(model: str) -> str:
    """A model of Bedrock by its id alone, as its source names it."""
    before, _, after = model.partition(":")
    model = after if PROVIDERS.get(before) == AWS else model
    return model.rpartition("/")[2] if model.startswith("arn:") else model
