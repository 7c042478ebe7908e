"""An experiment file: what to vary, on which questions, how long, and what to maximise."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.metrics import DEFAULT, metric
from serving.pipeline.config import RagConfig, read_yaml
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Registry, Spec, explain, near


class Strict(BaseModel):
    """A part of an experiment file."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class IntRange(Strict):
    """Whole numbers from low to high, both included."""

    bounds: tuple[int, int] = Field(alias="int")
    step: int = Field(default=1, ge=1)
    log: bool = False

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


class FloatRange(Strict):
    """Numbers from low to high, both included."""

    bounds: tuple[float, float] = Field(alias="float")
    step: Annotated[float, Field(gt=0)] | None = None
    log: bool = False

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


class Choice(Strict):
    """One of some values."""

    choice: tuple[bool | int | float | str, ...] = Field(min_length=1)

    def ends(self) -> list[Any]:
        """Values to try the schema with."""
        return list(self.choice)


Range = IntRange | FloatRange | Choice


class Experiment(Strict):
    """A question to the harness."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    about: str = ""
    base: dict[str, Any] = Field(default_factory=dict)  # the configuration to beat
    corpus: str = ""  # default: the one the golden set's card names
    golden: str
    space: dict[str, Range] = Field(min_length=1)
    objective: str = "quality"
    metrics: tuple[str, ...] = DEFAULT
    trials: int = Field(default=20, ge=1, le=10_000)
    cases: int | None = Field(default=None, ge=1)  # of the tune split; default all
    finalists: int = Field(default=3, ge=1, le=20)
    seed: int = 7
    sampler: Literal["tpe", "random"] = "tpe"
    concurrency: int = Field(default=4, ge=1, le=64)

    @property
    def config(self) -> RagConfig:
        """The configuration to beat, complete."""
        return RagConfig.parse(self.base, source=f"experiment {self.name!r}, base")

    @property
    def digest(self) -> str:
        """Digest of everything in the file but its prose."""
        return digest_of(self.model_dump(mode="json", exclude={"about"}))

    def apply(self, values: Mapping[str, Any]) -> RagConfig:
        """The base with a trial's values; a parameter that the trial's choice of plug-in does not have is left out."""
        return self.config.replace({path: value for path, value in values.items() if self._applies(path, values)})

    def _applies(self, path: str, values: Mapping[str, Any]) -> bool:
        parent, _, key = path.rpartition(".")
        if key == "name" or parent not in self._plugins:
            return True
        spec, table = self._plugins[parent]
        return key in table.load(str(values.get(f"{parent}.name", spec.name))).Params.model_fields

    @cached_property
    def _plugins(self) -> dict[str, tuple[Spec, Registry[Any]]]:
        return self.config.plugins()


def load_experiment(path: Path) -> Experiment:
    """Read an experiment and try every end of its space against the config's schema, before anything runs."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: an experiment is a mapping with at least name, golden and space.")
    _check_ranges(data.get("space"), path)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, str(path), list(Experiment.model_fields))) from None
    if experiment.objective not in experiment.metrics:
        known = ", ".join(experiment.metrics)
        raise ConfigError(f"{path}: objective {experiment.objective!r} is not among the metrics: {known}.")
    for name in experiment.metrics:
        metric(name)
    config = experiment.config
    for dotted, values in experiment.space.items():
        _check_path(experiment, config, dotted, values, path)
    return experiment


_RANGES: dict[str, type[Strict]] = {"int": IntRange, "float": FloatRange, "choice": Choice}


def _check_ranges(space: object, path: Path) -> None:
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


def _check_path(experiment: Experiment, config: RagConfig, dotted: str, values: Range, path: Path) -> None:
    if dotted not in config.flat() and not _belongs_to_a_choice(experiment, dotted):
        raise ConfigError(f"{path}: space: no config field {dotted!r}.{near(dotted, list(config.flat()))}")
    for value in values.ends():
        if dotted in config.flat():
            try:
                experiment.apply({dotted: value})
            except ConfigError as error:
                raise ConfigError(f"{path}: space of {dotted!r}: {value!r} does not fit: {error}") from None


def _belongs_to_a_choice(experiment: Experiment, dotted: str) -> bool:
    """Whether a path is a parameter of a plug-in that another line of the space may choose."""
    parent = dotted.rsplit(".", 1)[0]
    return f"{parent}.name" in experiment.space
