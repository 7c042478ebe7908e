"""What a section of the configuration is: fields, plug-ins, and plug-ins by a name of the user's."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WrapSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serving.pipeline.registry import Registry, Spec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class From:
    """Says which table the plug-ins of a `Spec` field come from, as "module:NAME"."""

    table: str

    def registry(self) -> Registry[Any]:
        """The table itself."""
        module, _, name = self.table.partition(":")
        registry: Registry[Any] = getattr(importlib.import_module(module), name)
        return registry


class Entries(Mapping[str, T]):
    """A read-only mapping in the order of its names, whatever order it was written in."""

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = dict(sorted(entries.items()))

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(tuple(self._entries))

    def __repr__(self) -> str:
        return repr(self._entries)


def _as_dict(entries: Mapping[str, T], handler: SerializerFunctionWrapHandler) -> Any:
    return handler(dict(entries))


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
# Plug-ins by a name of the user's, read-only and in the order of their names; what a file gives is laid over the default entries.
ByName = Annotated[Mapping[Name, T], AfterValidator(Entries), WrapSerializer(_as_dict)]


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {name: data[name] for name in cls.by_name() if isinstance(data.get(name), Mapping)}
        for name, own in given.items():
            if isinstance(own.get("name"), str):
                raise PydanticCustomError("by_name", f"{name} takes plug-ins under names of yours: {{mine: {{name: {own['name']}}}}}")
        return {**data, **{name: {**cls.model_fields[name].default, **own} for name, own in given.items()}}

    @classmethod
    def by_name(cls) -> dict[str, From]:
        """The fields that hold plug-ins by name, and the table of each."""
        inner = {name: get_args(field.annotation)[1:] for name, field in cls.model_fields.items()}
        sources = {name: [one for kind in kinds for one in getattr(kind, "__metadata__", ())] for name, kinds in inner.items()}
        return {name: found for name, parts in sources.items() for found in parts if isinstance(found, From)}

    def plugins(self, prefix: str = "") -> dict[str, tuple[Spec, Registry[Any]]]:
        """Every plug-in below this section by its dotted path."""
        found: dict[str, tuple[Spec, Registry[Any]]] = {}
        tables = self.by_name()
        for name, field in type(self).model_fields.items():
            value, path = getattr(self, name), f"{prefix}{name}"
            if isinstance(value, Section):
                found |= value.plugins(f"{path}.")
            elif isinstance(value, Spec):
                [source] = [part for part in field.metadata if isinstance(part, From)]
                found[path] = (value, source.registry())
            elif name in tables:
                found |= {f"{path}.{entry}": (spec, tables[name].registry()) for entry, spec in value.items()}
        return found

    def takes_entries(self, path: str) -> bool:
        """Whether a dotted path is that of plug-ins by name, so that an entry may be added there."""
        head, _, rest = path.partition(".")
        below = getattr(self, head, None)
        return below.takes_entries(rest) if rest and isinstance(below, Section) else not rest and head in self.by_name()
