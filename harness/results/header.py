"""What was evaluated on what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Header:
    """The configuration, data, metrics and judge of an evaluation: everything needed to repeat it."""

    config: dict[str, Any]
    config_digest: str
    index_digest: str
    corpus_digest: str
    golden: str
    golden_digest: str
    split: str
    split_digest: str
    metrics: tuple[str, ...]
    metric_versions: Mapping[str, str] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)  # metric → higher or lower is better
    amounts: tuple[str, ...] = ()  # metrics that are not shares from 0 to 1: tokens, dollars, milliseconds
    judge: str = ""  # name and id of the judge
    prompts_digest: str = ""  # over the texts of the prompts
    app: str = ""  # the user's app that was evaluated; empty for a configuration
    started_at: str = ""
    seconds: float = 0.0
    prices: str = ""  # which ones the dollars are by: sources, date and digest
    format: int = FORMAT

    @property
    def flat(self) -> dict[str, Any]:
        """Every field of the configuration by its dotted path, as it was when it was evaluated."""
        return dict(_leaves(self.config))


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
