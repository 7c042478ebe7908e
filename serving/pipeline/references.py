"""Parameters of plug-ins that refer to something outside: a tier of `answer.models`, an artefact, a prompt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, StringConstraints

Kind = Literal["tier", "artefact", "prompt"]


@dataclass(frozen=True, slots=True)
class NameOf:
    """Marks a parameter whose value names something else in the configuration or beside it."""

    kind: Kind


Tier = Annotated[str, NameOf("tier")]  # a key of answer.models
Artefact = Annotated[str, NameOf("artefact"), StringConstraints(pattern=r"^[0-9a-f]{16}$")]  # the digest of a file

PromptId = Annotated[str, NameOf("prompt"), StringConstraints(pattern=r"^[a-z_]+/[a-z0-9_-]+/v[1-9][0-9]*$")]  # rewrite/follow-up/v1


@dataclass(frozen=True, slots=True)
class NamedValue:
    """One name in one parameter."""

    path: str  # the parameter, and the place in it where it names several: `tiers.0`
    value: str


def named_values(params: BaseModel, kind: Kind) -> tuple[NamedValue, ...]:
    """Every tier, artefact or prompt that a plug-in's parameters name, alone or in a list, a tuple or a mapping's values."""
    return tuple(named for name in fields_naming(type(params), kind) for named in _values(name, getattr(params, name)))


def fields_naming(params: type[BaseModel], kind: Kind) -> tuple[str, ...]:
    """The parameters of a plug-in that name tiers, artefacts or prompts."""
    reference = NameOf(kind)
    return tuple(
        name for name, field in params.model_fields.items() if reference in field.metadata or _has_reference(field.annotation, reference)
    )


def _has_reference(annotation: Any, reference: NameOf) -> bool:
    return reference in getattr(annotation, "__metadata__", ()) or any(_has_reference(part, reference) for part in get_args(annotation))


def _values(path: str, value: Any) -> Iterator[NamedValue]:
    if isinstance(value, str):
        yield NamedValue(path, value)
    elif value is not None:
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _values(f"{path}.{key}", item)
