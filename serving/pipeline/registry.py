"""Plug-in tables: a kind of part, its names, and where each lives, as plain strings."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.errors import ConfigError

T = TypeVar("T")


class Params(BaseModel):
    """What a plug-in can be set to; each plug-in subclasses it as its `Params`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@runtime_checkable
class PlugIn(Protocol):
    """What every class in a table has: a `Params` model, and a `version` raised whenever its output changes."""

    Params: type[Params]
    version: str


class Spec(BaseModel):
    """A plug-in by name with its parameters, as it stands in a config: `{name: recursive, size: 800}`."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    name: str

    @property
    def params(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.__pydantic_extra__ or {})


def near(word: str, known: list[str]) -> str:
    """' Did you mean …?' for a word that resembles a known one, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


class Registry(Generic[T]):
    """One table per kind. A new plug-in is a file and one line of the table."""

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def names(self) -> list[str]:
        """Every known name, in the order of the table."""
        return list(self._table)

    def load(self, name: str) -> type[PlugIn]:
        """The class behind a name, or behind its `provider:*` or `*`; its module is imported now."""
        target = self._table.get(name) or self._table.get(self._pattern(name))
        if target is None:
            known = self.names()
            raise ConfigError(f"No {self.kind} {name!r}.{near(name, known)} Known: {', '.join(known)}.")
        module, _, attribute = target.partition(":")
        return cast(type[PlugIn], getattr(importlib.import_module(module), attribute))

    def _pattern(self, name: str) -> str:
        """The table line that could serve a name not listed itself; a provider with listed names has only those."""
        provider, colon, _ = name.partition(":")
        if not colon or any(line.startswith(f"{provider}:") for line in self._table):
            return f"{provider}:*"
        return "*"

    def params(self, spec: Spec) -> Params:
        """The parameters of a spec, checked and with every default filled in."""
        model = self.load(spec.name).Params
        try:
            return model.model_validate(spec.params)
        except ValidationError as error:
            raise ConfigError(explain(error, f"{self.kind} {spec.name!r}", list(model.model_fields))) from None

    def complete(self, spec: Spec) -> Spec:
        """The spec with every default filled in."""
        return Spec.model_validate({"name": spec.name, **self.params(spec).model_dump(mode="json")})

    def version(self, spec: Spec) -> str:
        """Version of the code (or model) behind a spec; part of every digest it takes part in."""
        return self.load(spec.name).version

    def build(self, spec: Spec, /, **parts: Any) -> T:
        """The plug-in, made of its parameters and the named parts it needs."""
        return cast(T, self.load(spec.name)(self.params(spec), **parts))  # type: ignore[call-arg]


def explain(error: ValidationError, where: str, known: list[str]) -> str:
    """One line for the first thing wrong, with the near match where a key is unknown."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"{where}: unknown key {path!r}.{near(key, known)} Known: {', '.join(known)}.{more}"
    shown = "" if first["type"] == "missing" else f", not {first['input']!r}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {path or 'value'}: {message}{shown}.{more}"
