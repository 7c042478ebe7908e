"""What may vary, and between what."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import explain


class ExperimentModel(BaseModel):
    """A part of an experiment file."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


Value = bool | int | float | str
Conditions = dict[str, Value | tuple[Value, ...]]


class IntRange(ExperimentModel):
    """Whole numbers from low to high, both included."""

    bounds: tuple[int, int] = Field(alias="int")
    step: int = Field(default=1, ge=1)
    log: bool = False
    when: Conditions = Field(default_factory=dict)  # only where other fields of the space have these values

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        if self.bounds[0] > self.bounds[1]:
            raise ValueError(f"the range {list(self.bounds)} is empty")
        if self.log and (self.step != 1 or self.bounds[0] < 1):
            raise ValueError("a logarithmic range starts at 1 or above and has no step")
        return self

    def ends(self) -> list[Any]:
        """Values to try the schema with."""
        return list(self.bounds)

    def values(self) -> Sequence[Any]:
        """Every value, where they can be counted; not as a list: there may be millions."""
        return range(self.bounds[0], self.bounds[1] + 1, self.step)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range and on its steps."""
        low, high = self.bounds
        return isinstance(value, int) and low <= value <= high and (value - low) % self.step == 0


class FloatRange(ExperimentModel):
    """Numbers from low to high, both included."""

    bounds: tuple[float, float] = Field(alias="float")
    step: Annotated[float, Field(gt=0)] | None = None
    log: bool = False
    when: Conditions = Field(default_factory=dict)  # only where other fields of the space have these values

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        if self.bounds[0] > self.bounds[1]:
            raise ValueError(f"the range {list(self.bounds)} is empty")
        if self.log and (self.step is not None or self.bounds[0] <= 0):
            raise ValueError("a logarithmic range starts above 0 and has no step")
        return self

    def ends(self) -> list[Any]:
        """Values to try the schema with."""
        return list(self.bounds)

    def values(self) -> list[Any]:
        """Every value, where a step makes them countable; else none."""
        if self.step is None:
            return []
        low, high = self.bounds
        return [round(low + number * self.step, 9) for number in range(int((high - low) / self.step + 1e-9) + 1)]

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range and on its steps."""
        low, high = self.bounds
        if not isinstance(value, int | float) or not low <= value <= high:
            return False
        steps = (value - low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9


class Choice(ExperimentModel):
    """One of some values."""

    choice: tuple[Value, ...] = Field(min_length=1)
    when: Conditions = Field(default_factory=dict)  # only where other fields of the space have these values

    def ends(self) -> list[Any]:
        """Values to try the schema with."""
        return list(self.choice)

    def values(self) -> list[Any]:
        """Every value."""
        return list(self.choice)

    def holds(self, value: Any) -> bool:
        """Whether a value is among them."""
        return value in self.choice


Range = IntRange | FloatRange | Choice


def draw_value(of: Range, chance: random.Random, *, but: Any = None) -> Any:
    """A value of a range at random, another than this one where there is another."""
    if isinstance(of, Choice):
        others = [value for value in of.choice if value != but]
        return chance.choice(others) if others else but
    for _ in range(100):  # a range of one number has no other
        value = _draw_number(of, chance)
        if value != but:
            return value
    return but


def _draw_number(of: IntRange | FloatRange, chance: random.Random) -> int | float:
    low, high = of.bounds
    if of.step is not None and not of.log:
        value = low + chance.randrange(math.floor((high - low) / of.step + 1e-9) + 1) * of.step
        return value if isinstance(of, IntRange) else round(value, 9)
    if not of.log:
        return round(chance.uniform(low, high), 9)
    value = math.exp(chance.uniform(math.log(low), math.log(high)))
    return min(high, max(low, round(value))) if isinstance(of, IntRange) else min(high, max(low, round(value, 9)))


_RANGES: dict[str, type[ExperimentModel]] = {"int": IntRange, "float": FloatRange, "choice": Choice}


def check_ranges(space: object, path: Path) -> None:
    """Say which kind of range is wrong: pydantic would report the failure of all three."""
    if not isinstance(space, dict):
        return
    for dotted, values in space.items():
        named = [kind for kind in _RANGES if isinstance(values, dict) and kind in values]
        if len(named) != 1:
            forms = "int: [low, high], float: [low, high] or choice: [...]"
            raise ConfigError(f"{path}: space of {dotted!r} needs {forms}, not {values!r}.")
        model = _RANGES[named[0]]
        try:
            model.model_validate(values)
        except ValidationError as error:
            known = [field.alias or name for name, field in model.model_fields.items()]
            raise ConfigError(explain(error, f"{path}: space of {dotted!r}", known)) from None
