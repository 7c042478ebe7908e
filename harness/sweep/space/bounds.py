"""What a space may ask of models: by name field by field, and as a sample of its configurations."""

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.sweep.experiment import Experiment
from harness.sweep.space.suggest import draw
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, UserError
from serving.pipeline.models.connect import LOCAL
from serving.pipeline.references import fields_naming, named_values
from serving.pipeline.registry import Spec

DRAWN = 60  # configurations drawn at random
DRAWS = 10  # for one that holds a given value: other values may leave its knob without effect, or not go together with it


@dataclass(frozen=True, slots=True)
class SpaceModels:
    """The names of every model that the starting points and the space may ask, whatever `when` says."""

    chats: tuple[str, ...]
    embedders: tuple[str, ...]
    rerankers: tuple[str, ...]

    @classmethod
    def of(cls, experiment: Experiment, starts: Sequence[RagConfig]) -> "SpaceModels":
        """Taken field by field, so that no combination of knobs reaches another name."""

        def values(path: str) -> list[Any]:
            own = [flat[path] for config in starts if path in (flat := config.flat())]
            ends = [end for knob in experiment.knobs if knob.target == path for end in knob.range.ends()]
            return list(dict.fromkeys([*own, *ends]))

        def tiers(router: str) -> list[str]:
            """Those that a router's parameters may name; all, where they name none."""
            own, table = starts[0].plugins()["route.router"]
            params = table.params(own if own.name == router else Spec(name=router))
            fields = fields_naming(type(params), "tier")
            named = [one.value for one in named_values(params, "tier")] + [end for name in fields for end in values(f"route.router.{name}")]
            return named or [tier for config in starts for tier in answer_models(config)]

        asked = dict.fromkeys(tier for router in values("route.router.name") for tier in tiers(router))
        chats = dict.fromkeys(name for tier in asked for name in values(f"answer.models.{tier}.name"))
        return cls(tuple(chats), tuple(values("index.embedder.name")), tuple(values("retrieve.reranker.name")))


def sample(experiment: Experiment, starts: Sequence[RagConfig]) -> list[RagConfig]:
    """The starting points, a configuration for each end of each knob, and others drawn at random; the same ones in every process."""
    chance = random.Random(experiment.seed)  # noqa: S311 — an order, not a secret
    ends = [{knob.path: end} for knob in experiment.knobs for end in knob.range.ends()]
    found = [_holding(given, experiment, chance) for given in [*ends, *[{}] * DRAWN]]
    return [*starts, *(config for config in found if config is not None)]


def dearest(configs: Sequence[RagConfig], experiment: Experiment, usd: Callable[[RagConfig], float]) -> RagConfig:
    """The dearest of some configurations, each of its knobs then turned to whichever end costs more."""
    best = max(configs, key=usd)
    for knob in experiment.knobs:
        for end in knob.range.ends():
            with contextlib.suppress(UserError):  # values that do not go together, a prompt that no trial asks for
                best = max(best, best.replace({knob.target: end}), key=usd)
    return best


def _holding(given: dict[str, Any], experiment: Experiment, chance: random.Random) -> RagConfig | None:
    for _ in range(DRAWS):
        values = draw(experiment, chance, given)
        if given.keys() <= values.keys():
            with contextlib.suppress(ConfigError):
                return experiment.apply(values)
    return None


def answer_models(config: RagConfig) -> dict[str, Spec]:
    """The chat models of a configuration by tier; `config.tiers()` are those that its router may choose."""
    return dict(config.answer.models)


def hosted(name: str) -> bool:
    """Whether a model of this name is somebody else's, and paid for."""
    return not name.startswith(LOCAL)
