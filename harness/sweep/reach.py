"""What a space can reach: the configurations at its ends, and the dearest and cheapest of what they are made of."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.sweep.experiment import Experiment
from harness.sweep.knobs import Knob
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.connect import LOCAL
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec


@dataclass(frozen=True)
class Reach:
    """The base and the champion, and the base with each knob turned to each of its ends."""

    experiment: Experiment
    firsts: tuple[RagConfig, ...]

    @cached_property
    def ends(self) -> tuple[RagConfig, ...]:
        """Every configuration that has an end of one knob."""
        found = {config.digest(): config for config in [*self.firsts, *self._turned()]}
        return tuple(found.values())

    @cached_property
    def chats(self) -> tuple[Spec, ...]:
        """Every chat model that may answer."""
        return _different(spec for config in self.ends for spec in answering(config).values())

    @cached_property
    def embedders(self) -> tuple[Spec, ...]:
        """Every embedding model that may be asked."""
        return _different(config.index.embedder for config in self.ends)

    @cached_property
    def rerankers(self) -> tuple[Spec, ...]:
        """Every reranker."""
        return _different(config.retrieve.reranker for config in self.ends)

    @property
    def max_tokens(self) -> tuple[int, int]:
        """Of an answer: least and most."""
        values = [config.answer.max_tokens for config in self.ends]
        return min(values), max(values)

    @property
    def context_tokens(self) -> int:
        """Of the passages in a prompt, at most."""
        return max(config.answer.context_tokens for config in self.ends)

    def prompts(self, library: PromptLibrary) -> list[str]:
        """The text of every prompt that may be used."""
        return [text for config in self.ends for text in library.texts(config.answer.prompt).values()]

    @cached_property
    def indexes(self) -> int:
        """How many different indexes a search may come to, at most."""
        count = 1
        for knob in self.experiment.knobs:
            if knob.target.startswith("index."):
                count *= len(knob.range.values()) or self.experiment.trials
        return min(count, self.experiment.trials) + len(self.firsts) - 1

    def passages(self) -> tuple[float, float] | None:
        """How much shorter or longer than the base's the passages may be, as factors; `None` where chunkers are compared."""
        base, found = self.firsts[0], self.ends
        sizes = [_size(config) for config in found]
        if any(config.index.chunker.name != base.index.chunker.name for config in found) or None in sizes:
            return None
        volumes = [[config.retrieve.top_k for config in found], [1 + 2 * config.retrieve.neighbours for config in found], sizes]
        own = base.retrieve.top_k * (1 + 2 * base.retrieve.neighbours) * (_size(base) or 1.0)
        return math.prod(map(min, volumes)) / own, math.prod(map(max, volumes)) / own  # type: ignore[arg-type]  # no size is None

    def _turned(self) -> Iterator[RagConfig]:
        for knob in self.experiment.knobs:
            for value in knob.range.ends():
                with contextlib.suppress(ConfigError):  # an end that does not go with the base's other values
                    yield self.experiment.apply({**_conditions(knob), knob.path: value})


def _conditions(knob: Knob) -> dict[str, Any]:
    """What must be chosen for a knob to count."""
    wanted = {path: value[0] if isinstance(value, tuple) else value for path, value in knob.range.when.items()}
    return wanted | ({f"{knob.plugin}.name": knob.of} if knob.of else {})


def answering(config: RagConfig) -> dict[str, Spec]:
    """The chat models that a configuration's router may choose, by tier."""
    models = {"lite": config.answer.models.lite, "pro": config.answer.models.pro}
    router = config.route.router
    return {str(router.params["tier"]): models[router.params["tier"]]} if router.name == "always" else models


def hosted(spec: Spec) -> bool:
    """Whether a model is somebody else's, and paid for."""
    return not spec.name.startswith(LOCAL)


def _size(config: RagConfig) -> float | None:
    """How long a chunk may be, where the chunker says it."""
    size = config.index.chunker.params.get("size")
    return float(size) if isinstance(size, int | float) else None


def _different(specs: Iterable[Spec]) -> tuple[Spec, ...]:
    return tuple({spec.model_dump_json(): spec for spec in specs}.values())
