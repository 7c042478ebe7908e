"""Commands that are imported when they are used, so that `touchstone ask` does not import what a sweep needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class CommandLocation:
    """The module and attribute of a command's function, or of a group's `typer.Typer`."""

    module: str
    attribute: str
    group_help: str = ""  # for a group: what it is for

    def load(self, name: str) -> Any:
        """The command or group under a name, its module imported."""
        found = getattr(import_module(self.module), self.attribute)
        holder = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name, help=self.group_help)
        else:
            holder.command(name)(found)
        holder.callback()(lambda: None)  # keeps a single command the member of a group
        return get_group(holder).commands[name]


class LazyCommands(dict[str, Any]):
    """Commands by name; each is loaded when it is looked up."""

    def __init__(self, places: Mapping[str, CommandLocation]) -> None:
        super().__init__()
        self._places = places

    def __getitem__(self, name: str) -> Any:
        if name not in self._places:
            raise KeyError(name)
        if not super().__contains__(name):
            self[name] = self._places[name].load(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The command of a name, or the default."""
        return self[name] if name in self._places else default

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> Any:
        """The names, in the order of the table."""
        return self._places.keys()


def group_of(places: Mapping[str, CommandLocation]) -> type[TyperGroup]:
    """A group whose commands are those of a table."""

    class _Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**(attributes | {"commands": LazyCommands(places)}))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(places)

    return _Group
