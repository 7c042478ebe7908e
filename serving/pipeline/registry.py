"""Plug-in tables: one for each kind of part, from a name to the import path of its class."""

import difflib
import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Generic, Protocol, TypeVar, cast, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import get_protocol_members

from serving.pipeline import packages
from serving.pipeline.errors import ConfigError

T = TypeVar("T")


class Params(BaseModel):
    """The parameters of a plug-in; each plug-in subclasses it as its `Params`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@runtime_checkable
class PlugIn(Protocol):
    """The members of every class in a table: a `Params` model, and a `version` that is raised with every change of its output."""

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
    """One table per kind. A new plug-in is a file and one line of the table, an entry point of another package, or `module:Class`.

    `group` is the kind's group of entry points, `protocol` what a class from outside must have, `adapters` the LangChain
    base classes with our adapter for each, `providers` the prefixes before a colon that are no modules.
    """

    def __init__(
        self,
        kind: str,
        table: Mapping[str, str],
        *,
        group: str = "",
        protocol: Any = None,
        adapters: Mapping[str, str] | None = None,
        providers: Collection[str] = (),
    ) -> None:
        self.kind = kind
        self.group = f"touchstone.{group}" if group else ""
        self._table = dict(table)
        self._protocol = protocol
        self._adapters = dict(adapters or {})
        self._providers = frozenset(providers)
        self._outside: dict[str, type[PlugIn]] = {}  # classes of other packages, by the name that was asked for

    def own_names(self) -> list[str]:
        """Every name of the table itself, in its order."""
        return list(self._table)

    def names(self) -> list[str]:
        """Every known name: those of the table in its order, then those that other packages offer."""
        return [*self._table, *self._entry_points()]

    def knows(self, name: str) -> bool:
        """Whether a name is known, or is the import path of a class."""
        return name in self._table or name in self._entry_points() or self._is_import_path(name)

    def load(self, name: str) -> type[PlugIn]:
        """The class behind a name, behind its `provider:*` or `*`, or at its import path; its module is imported now."""
        entry_points = self._entry_points()
        if name not in self._table and (name in entry_points or self._is_import_path(name)):
            if name not in self._outside:
                self._outside[name] = self._load_outside(name, entry_points[name].value if name in entry_points else name)
            return self._outside[name]
        target = self._table.get(name) or self._table.get(self._pattern(name))
        if target is None:
            known = self.names()
            raise ConfigError(f"No {self.kind} {name!r}.{near(name, known)} Known: {', '.join(known)}.")
        module, _, attribute = target.partition(":")
        return cast(type[PlugIn], getattr(importlib.import_module(module), attribute))

    def origin(self, name: str) -> str:
        """The distribution (or the digest of the source file) that a class from outside comes from; empty for our own."""
        loaded, point = self.load(name), self._entry_points().get(name)
        if name not in self._outside:
            return ""
        return packages.origin(getattr(loaded, "wrapped", loaded), packages.package_of(point) if point else "")

    def _entry_points(self) -> Mapping[str, EntryPoint]:
        """The entry points of other packages; none may have a name of the table."""
        entry_points = packages.entry_points_by_name(self.group) if self.group else {}
        if clashes := sorted(set(entry_points) & set(self._table)):
            package = packages.package_of(entry_points[clashes[0]])
            raise ConfigError(f"{package} offers the {self.kind} {clashes[0]!r}, a name of our own. Rename it there, or uninstall it.")
        return entry_points

    def _is_import_path(self, name: str) -> bool:
        """Whether a name is "module:Class"; where names are also "provider:model", only a class name after a module's name."""
        if self._protocol is None or not packages.is_import_path(name):  # without a protocol a class cannot be checked
            return False
        module, _, attribute = name.partition(":")
        if module in self._providers or any(line.startswith(f"{module}:") for line in self._table):
            return False
        if "*" not in self._table:
            return attribute[0].isupper() or "." in module
        return attribute[0].isupper() and ("." in module or packages.can_import(module))

    def _load_outside(self, name: str, target: str) -> type[PlugIn]:
        """The class at an import path, wrapped by an adapter if it is LangChain's; a `ConfigError` names what it lacks."""
        where = f"{self.kind} {name!r}"
        loaded = packages.import_object(target, where)
        if not isinstance(loaded, type):
            raise ConfigError(f"{where}: a class is needed, not {type(loaded).__name__} {target.partition(':')[2]!r}.")
        loaded = self._adapted(loaded)
        missing = list(_missing_members(loaded, self._protocol))
        if missing:
            bases = [base.partition(":")[2] for base in self._adapters]
            needed = f"Params, version and {_signatures(self._protocol)}" + "".join(f", or is a LangChain {base}" for base in bases)
            raise ConfigError(f"{where}: {loaded.__name__} lacks {', '.join(missing)}. Every {self.kind} has {needed}.")
        return cast(type[PlugIn], loaded)

    def _adapted(self, outside: type) -> type:
        bases = {f"{base.__module__}:{base.__qualname__}" for base in outside.__mro__}  # by name: nothing of LangChain is imported for it
        for base, adapter in self._adapters.items():
            if base in bases and not hasattr(outside, "Params"):
                return type(
                    outside.__name__, (packages.import_object(adapter, self.kind),), {"wrapped": outside, "__doc__": outside.__doc__}
                )
        return outside

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
        """Version of the code (or model) behind a spec, from outside with its origin; part of every digest it takes part in."""
        return f"{self.load(spec.name).version} {self.origin(spec.name)}".rstrip()

    def build(self, spec: Spec, /, **parts: Any) -> T:
        """The plug-in, made of its parameters and the named parts it needs."""
        kind: Any = self.load(spec.name)
        if spec.name not in self._outside:
            return cast(T, kind(self.params(spec), **parts))
        params, where = self.params(spec), f"{self.kind} {spec.name!r}"
        try:
            plugin = kind(params, **parts)
        except TypeError as error:
            arguments = ", ".join(["params", *parts])
            raise ConfigError(f"{where}: {kind.__name__} cannot be made: {error}. Its constructor is given {arguments}.") from error
        missing = min(
            ([name for name in get_protocol_members(protocol) if not hasattr(plugin, name)] for protocol in _protocols(self._protocol)),
            key=len,
        )
        if missing:
            raise ConfigError(f"{where}: {kind.__name__} has no {', '.join(sorted(missing))}, which every {self.kind} has.")
        return cast(T, plugin)


def _missing_members(candidate: type, protocol: Any) -> Iterator[str]:
    """The members that a class from outside lacks; a kind with several protocols needs one of them."""
    params = getattr(candidate, "Params", None)
    if not (isinstance(params, type) and issubclass(params, Params)):
        yield "Params (a subclass of serving.pipeline.registry.Params)"
    version = getattr(candidate, "version", None)
    if not (isinstance(version, str) and version):
        yield "version (a text)"
    missing = [[name for name in _methods_of(kind) if not callable(getattr(candidate, name, None))] for kind in _protocols(protocol)]
    if all(missing):
        yield from min(missing, key=len, default=[])


def _signatures(protocol: Any) -> str:
    """The methods of a kind with their arguments: "split(document)"."""
    signatures = []
    for kind in _protocols(protocol):
        arguments = {name: list(inspect.signature(getattr(kind, name)).parameters)[1:] for name in _methods_of(kind)}
        signatures.append(", ".join(f"{name}({', '.join(names)})" for name, names in arguments.items()))
    return " or ".join(signatures)


def _protocols(protocol: Any) -> tuple[type, ...]:
    return get_args(protocol) or ((protocol,) if protocol else ())


def _methods_of(protocol: type) -> list[str]:
    return [name for name in sorted(get_protocol_members(protocol)) if inspect.isfunction(getattr(protocol, name, None))]


def explain(error: ValidationError, where: str, known: list[str]) -> str:
    """One line for the first thing wrong, with the near match where a key is unknown."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"{where}: unknown key {path!r}.{near(key, known)} Known: {', '.join(known)}.{more}"
    if first["type"] == "value_error":  # a rule of ours, whose words name the values
        value = "" if isinstance(first["input"], Mapping) else f", not {first['input']!r}"
        return f"{where}: {path and f'{path}: '}{first['ctx']['error']}{value}.{more}"
    if first["type"] in ("too_short", "too_long"):
        counts = first["ctx"]
        bound = f"at least {counts['min_length']}" if "min_length" in counts else f"at most {counts['max_length']}"
        return f"{where}: {path or 'value'}: {bound} must be in it, not {counts['actual_length']}.{more}"
    shown = "" if first["type"] == "missing" else f", not {first['input']!r}"
    return f"{where}: {path or 'value'}: {complaint(first)}{shown}.{more}"


def complaint(found: Mapping[str, Any]) -> str:
    """What pydantic found, in the words of a file and not of Python."""
    if found["type"] in ("dict_type", "model_type"):
        return "a mapping, `name: value`, is expected"
    return str(found["msg"][0].lower() + found["msg"][1:])
