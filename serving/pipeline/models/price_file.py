"""A file of one's own prices: negotiated ones, and those of models that no list knows.

date: 2026-11-20                     # the day that the prices are for; the list's are taken of that day too
models:
  amazon.nova-lite-v1:0:             # a model's id, or its name in a configuration; for every region
    valid_from: 2026-11-01           # a list of such entries has each price with its date
    usd_per_million_input: 0.05
    usd_per_million_output: 0.20
    usd_per_million_cached_input: 0.0125
  amazon.rerank-v1:0: {valid_from: 2026-11-01, usd_per_call: 0.0008}
  bedrock-guardrail:contentPolicy: {valid_from: 2026-11-01, usd_per_1000_units: 0.12}

A unit of text is what the service counts by: of a guardrail, up to 1,000 characters under one kind of policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.registry import explain


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars by the million tokens, the call, and the thousand units of text; None where a thing is not paid by it."""

    input_usd: float | None = None
    output_usd: float | None = None
    cached_input_usd: float | None = None  # read from the provider's cache; None: as any input
    cache_write_usd: float | None = None  # written to it; None: as any input
    call_usd: float | None = None  # of a reranker: a query of up to 100 passages
    thousand_units_usd: float | None = None

    def of_tokens(self, input_tokens: int, output_tokens: int, cache_read_tokens: int, cache_write_tokens: int) -> float | None:
        """Dollars of one call; None where a kind of token that it took has no price."""
        read, written = self._cached(self.cached_input_usd), self._cached(self.cache_write_usd)
        fresh = max(0, input_tokens - cache_read_tokens - cache_write_tokens)
        parts = [(fresh, self.input_usd), (cache_read_tokens, read), (cache_write_tokens, written), (output_tokens, self.output_usd)]
        if self.call_usd is not None and self.input_usd is None and self.output_usd is None:
            return self.call_usd
        if any(count and usd is None for count, usd in parts):
            return None
        return round(sum(count * (usd or 0.0) for count, usd in parts) / 1_000_000 + (self.call_usd or 0.0), 12)

    def _cached(self, usd: float | None) -> float | None:
        return self.input_usd if usd is None else usd


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What holds on its day, by model."""

    day: date
    prices: Mapping[str, Price]
    digest: str


def _day(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("a day such as 2026-11-20 is expected")  # noqa: TRY004  # pydantic explains a ValueError
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("a day such as 2026-11-20 is expected") from None


Day = Annotated[date, BeforeValidator(_day)]
Usd = Annotated[float | None, Field(ge=0.0, allow_inf_nan=False, strict=True)]
PRICES = {
    "input_usd": "usd_per_million_input", "output_usd": "usd_per_million_output", "cached_input_usd": "usd_per_million_cached_input",
    "cache_write_usd": "usd_per_million_cache_write", "call_usd": "usd_per_call", "thousand_units_usd": "usd_per_1000_units",
}  # fmt: skip


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    valid_from: Day
    usd_per_million_input: Usd = None
    usd_per_million_output: Usd = None
    usd_per_million_cached_input: Usd = None
    usd_per_million_cache_write: Usd = None
    usd_per_call: Usd = None
    usd_per_1000_units: Usd = None

    @model_validator(mode="after")
    def _has_a_price(self) -> "_Entry":
        if all(getattr(self, name) is None for name in PRICES.values()):
            raise ValueError(f"no price; give one of {', '.join(PRICES.values())}")
        return self

    @property
    def price(self) -> Price:
        return Price(**{name: getattr(self, field) for name, field in PRICES.items()})


def _entries(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Day
    models: dict[str, Annotated[tuple[_Entry, ...], BeforeValidator(_entries), Field(min_length=1)]]


def read_prices(path: Path) -> PriceFile:
    """The prices of a file that hold on its day; a later one is for a later day's file."""
    where = f"TOUCHSTONE_PRICES, {path}"
    try:
        data = load_plain(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}.") from None
    except YamlError as error:
        raise ConfigError(f"{where}:{error.line}: {error}.") from None
    except UnicodeError:
        raise ConfigError(f"{where}: is not UTF-8 text.") from None
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, where, _known(error))) from None
    held = {name: [entry for entry in entries if entry.valid_from <= file.date] for name, entries in file.models.items()}
    for name, entries in file.models.items():
        if len({entry.valid_from for entry in entries}) < len(entries):
            raise ConfigError(f"{where}: {name} has two prices from the same day on.")
    newest = {name: max(entries, key=lambda entry: entry.valid_from).price for name, entries in held.items() if entries}
    return PriceFile(file.date, newest, digest_of(file.model_dump(mode="json")))


def _known(error: ValidationError) -> list[str]:
    model = _File if len(error.errors(include_url=False)[0]["loc"]) == 1 else _Entry
    return list(model.model_fields)
