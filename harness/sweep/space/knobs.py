"""A space checked against the configuration it varies: each of its lines becomes a knob that knows when it counts."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.sweep.space.ranges import Range
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Registry, Spec, near

Plugins = Mapping[str, tuple[Spec, Registry[Any]]]


@dataclass(frozen=True, slots=True)
class Knob:
    """One line of a space."""

    path: str  # as the file writes it
    target: str  # the configuration's own path
    range: Range
    plugin: str = ""  # where it is a parameter of a plug-in: that plug-in's path
    of: str = ""  # and the only plug-in it belongs to, where the file names one: retrieve.reranker.maxsim.weight

    def counts(self, values: Mapping[str, Any], plugins: Plugins) -> bool:
        """Whether it changes anything, given the values chosen so far."""
        for path, wanted in self.range.when.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            if values.get(path) not in allowed:
                return False
        if not self.plugin:
            return True
        spec, table = plugins[self.plugin]
        chosen = str(values.get(f"{self.plugin}.name", spec.name))
        return chosen == self.of if self.of else self.target.rpartition(".")[2] in table.load(chosen).Params.model_fields

    def name(self, values: Mapping[str, Any], plugins: Plugins) -> str:
        """Its name in the study: with the plug-in's own, so that two plug-ins' ranges never meet."""
        if not self.plugin or self.of:
            return self.path
        chosen = values.get(f"{self.plugin}.name", plugins[self.plugin][0].name)
        return f"{self.plugin}.{chosen}.{self.target.rpartition('.')[2]}"


def knobs(space: Mapping[str, Range], config: RagConfig, source: str) -> tuple[Knob, ...]:
    """The knobs of a space, names of plug-ins first; a path or a condition that fits nothing is a `ConfigError`."""
    plugins = config.plugins()
    found = [_knob(path, space, config, plugins, source) for path in space]
    for knob in found:
        _check_conditions(knob, space, source)
        _check_ends(knob, space, config, plugins, source)
    return tuple(sorted(found, key=lambda knob: (not knob.path.endswith(".name"), bool(knob.range.when))))


def _knob(path: str, space: Mapping[str, Range], config: RagConfig, plugins: Plugins, source: str) -> Knob:
    parent, _, key = path.rpartition(".")
    if parent in plugins and key != "name" and _owners(parent, key, space, plugins):
        return Knob(path, path, space[path], parent)
    for plugin, (_, table) in plugins.items():
        named = parent.removeprefix(f"{plugin}.")
        if named != parent and table.knows(named):
            known = list(table.load(named).Params.model_fields)
            if key not in known:
                raise ConfigError(f"{source}: space: {named!r} has no parameter {key!r}.{near(key, known)} It has: {', '.join(known)}.")
            return Knob(path, f"{plugin}.{key}", space[path], plugin, named)
    if path not in config.flat():
        raise ConfigError(f"{source}: space: no config field {path!r}.{near(path, list(config.flat()))}")
    return Knob(path, path, space[path])


def _owners(plugin: str, key: str, space: Mapping[str, Range], plugins: Plugins) -> list[str]:
    """Of the plug-ins that may stand there, those that have this parameter."""
    spec, table = plugins[plugin]
    choices = space[f"{plugin}.name"].ends() if f"{plugin}.name" in space else []
    names = [str(name) for name in dict.fromkeys([spec.name, *choices])]
    return [name for name in names if key in table.load(name).Params.model_fields]


def _check_conditions(knob: Knob, space: Mapping[str, Range], source: str) -> None:
    for path, wanted in knob.range.when.items():
        if path not in space:
            raise ConfigError(
                f"{source}: space of {knob.path!r}: 'when' names {path!r}, which is not in the space.{near(path, list(space))}"
            )
        for value in wanted if isinstance(wanted, tuple) else (wanted,):
            if not space[path].holds(value):
                raise ConfigError(f"{source}: space of {knob.path!r}: 'when' waits for {path} = {value!r}, which the space never gives.")


def _check_ends(knob: Knob, space: Mapping[str, Range], config: RagConfig, plugins: Plugins, source: str) -> None:
    """Try the ends of a range with the schema they must fit; with some end of its neighbours, where these vary as well."""
    for value in knob.range.ends():
        try:
            if knob.plugin:
                _check_parameter(knob, value, space, plugins)
            else:
                config.replace({knob.target: value})
        except ConfigError as error:
            raise ConfigError(f"{source}: space of {knob.path!r}: {value!r} does not fit: {error}") from None


def _check_parameter(knob: Knob, value: Any, space: Mapping[str, Range], plugins: Plugins) -> None:
    spec, table = plugins[knob.plugin]
    key = knob.target.rpartition(".")[2]
    for name in [knob.of] if knob.of else _owners(knob.plugin, key, space, plugins):
        given = {**(spec.params if name == spec.name else {}), key: value}
        others = {
            other: space[path].ends()
            for other in table.load(name).Params.model_fields
            for path in (f"{knob.plugin}.{other}", f"{knob.plugin}.{name}.{other}")
            if other != key and path in space
        }
        wrong: ConfigError | None = None
        for ends in itertools.islice(itertools.product(*others.values()), 64):
            try:
                table.params(Spec.model_validate({"name": name, **given, **dict(zip(others, ends, strict=True))}))
            except ConfigError as error:
                wrong = error
            else:
                wrong = None
                break
        if wrong:
            raise wrong
