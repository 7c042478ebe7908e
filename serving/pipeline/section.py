"""The base class of configuration sections: fields, plug-ins, and plug-ins under names of the user."""

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
class PluginTable:
    """Names the table of the plug-ins of a `Spec` field, as "module:NAME"."""

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
        named = {name: data[name] for name in cls.by_name() if isinstance(data.get(name), Mapping)}
        for name, entries in named.items():
            if isinstance(entries.get("name"), str):
                raise PydanticCustomError("by_name", f"{name} takes plug-ins under names of yours: {{mine: {{name: {entries['name']}}}}}")
        return {**data, **{name: {**cls.model_fields[name].default, **entries} for name, entries in named.items()}}

    @classmethod
    def by_name(cls) -> dict[str, PluginTable]:
        """The fields that hold plug-ins by name, and the table of each."""
        arguments = {name: get_args(field.annotation)[1:] for name, field in cls.model_fields.items()}
        metadata_by_name = {
            name: [item for annotation in annotations for item in getattr(annotation, "__metadata__", ())]
            for name, annotations in arguments.items()
        }
        return {name: table for name, metadata in metadata_by_name.items() for table in metadata if isinstance(table, PluginTable)}

    def plugins(self, prefix: str = "") -> dict[str, tuple[Spec, Registry[Any]]]:
        """Every plug-in below this section by its dotted path."""
        plugins: dict[str, tuple[Spec, Registry[Any]]] = {}
        tables = self.by_name()
        for name, field in type(self).model_fields.items():
            value, path = getattr(self, name), f"{prefix}{name}"
            if isinstance(value, Section):
                plugins |= value.plugins(f"{path}.")
            elif isinstance(value, Spec):
                [table] = [part for part in field.metadata if isinstance(part, PluginTable)]
                plugins[path] = (value, table.registry())
            elif name in tables:
                plugins |= {f"{path}.{entry}": (spec, tables[name].registry()) for entry, spec in value.items()}
        return plugins

    def takes_entries(self, path: str) -> bool:
        """Whether a dotted path is that of plug-ins by name, so that an entry may be added there."""
        head, _, rest = path.partition(".")
        section = getattr(self, head, None)
        return section.takes_entries(rest) if rest and isinstance(section, Section) else not rest and head in self.by_name()
