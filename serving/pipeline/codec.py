"""Converts values to plain data for files and the wire, and back."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


class Codec(Generic[T]):
    """Turns values of one type into JSON-like data and back."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def dump(self, value: T, *, sparse: bool = False) -> Any:
        """The value as dicts, lists, strings and numbers; a sparse one leaves out what has its default."""
        return self._adapter.dump_python(value, mode="json", fallback=_read_only, warnings=False, exclude_defaults=sparse)

    def value(self, plain: Any) -> T:
        """The value that plain data describes."""
        return self._adapter.validate_python(plain)

    def parse(self, json: str) -> T:
        """The value of a JSON text."""
        return self._adapter.validate_json(json)


def _read_only(value: object) -> dict[Any, Any]:
    """A read-only mapping as a dict: pydantic knows dicts only."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no plain form")
