"""What a space can reach: the ends of every field, and the dearest and cheapest of what they are made of."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.sweep.experiment import Experiment
from harness.sweep.space.knobs import Knob
from serving.pipeline.config import PromptChoice, RagConfig
from serving.pipeline.errors import ConfigError, PromptError
from serving.pipeline.models.connect import LOCAL
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.references import fields_naming, named_values
from serving.pipeline.registry import Registry, Spec


@dataclass(frozen=True)
class SpaceBounds:
    """What the base, the champion and the space may hold, field by field: nothing is left out that only a combination of knobs reaches."""

    experiment: Experiment
    firsts: tuple[RagConfig, ...]

    def values(self, path: str) -> list[Any]:
        """What a field may be: as the base and the champion have it, and at the ends of its knobs, whatever these wait for."""
        own = [flat[path] for config in self.firsts if path in (flat := config.flat())]
        return [*own, *(value for knob in self._turning(path) for value in knob.range.ends())]

    def specs(self, plugin: str) -> tuple[Spec, ...]:
        """The plug-ins that may stand at a path, the base's first, with the ends of their parameters in every combination."""
        known = [plugins[plugin] for config in self.firsts if plugin in (plugins := config.plugins())]
        base, table = known[0]
        found = [spec for spec, _ in known]
        for name in dict.fromkeys(self.values(f"{plugin}.name")):
            own = table.complete(base if base.name == name else Spec(name=name)).params
            turning = {key: [one for one in self._turning(f"{plugin}.{key}") if one.of in ("", name)] for key in own}
            found += _corners(table, name, {key: _choices(own[key], knobs) for key, knobs in turning.items()})
        return tuple({spec.model_dump_json(): spec for spec in found}.values())

    @cached_property
    def chats(self) -> tuple[Spec, ...]:
        """Every chat model that may answer."""
        tiers = dict.fromkeys(tier for name in self.values("route.router.name") for tier in self._tiers(name))
        return tuple(spec for tier in tiers for spec in self.specs(f"answer.models.{tier}"))

    def _tiers(self, router: str) -> list[str]:
        """The tiers that a router may choose: those its parameters may name, every one where they name none."""
        base, table = self.firsts[0].plugins()["route.router"]
        own = table.params(base if base.name == router else Spec(name=router))
        fields = fields_naming(type(own), "tier")
        if not fields:
            return [tier for config in self.firsts for tier in config.answer.models]
        return [one.value for one in named_values(own, "tier")] + [tier for name in fields for tier in self.values(f"route.router.{name}")]

    @cached_property
    def embedders(self) -> tuple[Spec, ...]:
        """Every embedding model that may be asked."""
        return self.specs("index.embedder")

    @cached_property
    def chunkers(self) -> tuple[Spec, ...]:
        """Every way of cutting the documents."""
        return self.specs("index.chunker")

    @cached_property
    def rerankers(self) -> tuple[Spec, ...]:
        """Every reranker."""
        return self.specs("retrieve.reranker")

    @property
    def max_tokens(self) -> tuple[int, int]:
        """Of an answer: least and most."""
        values = self.values("answer.max_tokens")
        return min(values), max(values)

    @property
    def context_tokens(self) -> int:
        """Of the passages in a prompt, at most."""
        return int(max(self.values("answer.context_tokens")))

    @property
    def hits(self) -> int:
        """Passages that a question may find, at most."""
        return int(max(self.values("retrieve.top_k")) * (1 + 2 * max(self.values("retrieve.neighbours"))))

    def prompts(self, library: PromptLibrary) -> list[str]:
        """The text of every prompt that may be used; one that a trial would miss is missed here."""
        base = self.firsts[0].answer.prompt
        turning = {part: self._turning(f"answer.prompt.{part}") for part in PromptChoice.model_fields}
        parts = [itertools.chain(*_choices(getattr(base, part), knobs)) for part, knobs in turning.items()]
        given = any(knob.range.when for knobs in turning.values() for knob in knobs)  # then some combinations are never tried
        found = [text for config in self.firsts for text in library.texts(config.answer.prompt).values()]
        for point in itertools.product(*parts):
            try:
                found += library.texts(PromptChoice.model_validate(dict(zip(turning, point, strict=True)))).values()
            except PromptError:
                if not given:
                    raise
        return found

    @cached_property
    def indexes(self) -> int:
        """How many different indexes a search may come to, at most."""
        turned = [knob for knob in self.experiment.knobs if knob.target.startswith("index.")]
        count = math.prod((len(knob.range.values()) or self.experiment.trials) + bool(knob.range.when) for knob in turned)
        flat = [config.flat() for config in self.firsts]
        outside = sum(not all(knob.range.holds(values.get(knob.target)) for knob in turned) for values in flat)
        return min(count + outside, max(self.experiment.trials, len(self.firsts)))

    def passages(self) -> tuple[float, float] | None:
        """How much shorter or longer than the base's the passages may be, as factors; `None` where chunkers are compared."""
        sizes = [_size(spec) for spec in self.chunkers]
        if len({spec.name for spec in self.chunkers}) > 1 or None in sizes:
            return None
        volumes = [self.values("retrieve.top_k"), [1 + 2 * each for each in self.values("retrieve.neighbours")], sizes]
        own = math.prod(volume[0] for volume in volumes)
        return math.prod(map(min, volumes)) / own, math.prod(map(max, volumes)) / own

    def _turning(self, path: str) -> list[Knob]:
        return [knob for knob in self.experiment.knobs if knob.target == path]


def hosted(spec: Spec) -> bool:
    """Whether a model is somebody else's, and paid for."""
    return not spec.name.startswith(LOCAL)


def _choices(own: Any, knobs: Sequence[Knob]) -> list[Sequence[Any]]:
    """What a trial may have in a field: what each of its knobs gives, and its own value where none of them always turns it."""
    turned = [knob.range.values() or knob.range.ends() for knob in knobs]
    return turned if any(not knob.range.when for knob in knobs) else [[own], *turned]


def _corners(table: Registry[Any], name: str, fields: Mapping[str, Sequence[Sequence[Any]]]) -> Iterator[Spec]:
    """A plug-in with its parameters at their ends; where these do not go together, with each in turn at the nearest value that does."""
    for point in itertools.product(*map(_extremes, fields.values())):
        values = dict(zip(fields, point, strict=True))
        if (spec := _fitting(table, name, values)) is not None:
            yield spec
            continue
        for key, value in values.items():
            near = (_fitting(table, name, values | {key: one}) for one in _nearest(fields[key], value))
            yield from itertools.islice((spec for spec in near if spec is not None), 1)


def _extremes(choices: Sequence[Sequence[Any]]) -> Iterable[Any]:
    ends = _ends(choices)
    return dict.fromkeys((min(ends), max(ends))) if _numeric(ends) else ends


def _nearest(choices: Sequence[Sequence[Any]], end: Any) -> Iterator[Any]:
    """The numbers of a field from its least or its most on; none where they are no numbers."""
    if not _numeric(_ends(choices)):
        return iter(())

    def far(value: Any) -> Any:
        return abs(value - end)

    way = 1 if end <= min(_ends(choices)) else -1
    return heapq.merge(*(values[::way] if isinstance(values, range) else sorted(values, key=far) for values in choices), key=far)


def _ends(choices: Sequence[Sequence[Any]]) -> list[Any]:
    """The values of a field; of a range only both ends, since it may have millions."""
    return [value for values in choices for value in ((values[0], values[-1]) if isinstance(values, range) else values)]


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _fitting(table: Registry[Any], name: str, values: Mapping[str, Any]) -> Spec | None:
    """The plug-in with these parameters; `None` where they do not go together."""
    try:
        return table.complete(Spec.model_validate({"name": name, **values}))
    except ConfigError:
        return None


def _size(spec: Spec) -> float | None:
    """How long a chunk may be, where the chunker says it."""
    size = spec.params.get("size")
    return float(size) if isinstance(size, int | float) else None
