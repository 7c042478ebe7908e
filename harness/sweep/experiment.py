"""An experiment file: what to vary, on which questions, how long, and what to look for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from harness.metrics import DEFAULT, METRICS, metric_set
from harness.stats import MARGIN
from harness.sweep.space.knobs import Knob, knobs
from harness.sweep.space.ranges import ExperimentModel, Range, check_ranges
from serving.pipeline.config import RagConfig, read_yaml
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.cores import cores
from serving.pipeline.registry import explain, near

NUMBERS = ("cost.usd", "cost.input_tokens", "cost.output_tokens", "cost.pro_share", "cost.refused_share", "cost.truncated_share")
TIMES = ("latency_ms", "first_token_ms")  # metrics that are times
STAGES = ("total", "guard", "cache", "retrieve", "route", "answer")


class Constraint(ExperimentModel):
    """A number that a configuration must keep to be worth anything."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> "Constraint":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a constraint needs one of 'at_most' and 'at_least'")
        return self

    def violation(self, value: float) -> float:
        """How far a value is beyond the limit; 0 or less where it is kept."""
        return value - self.at_most if self.at_most is not None else (self.at_least or 0.0) - value


class Pruning(ExperimentModel):
    """When a trial is given up before its last case."""

    name: Literal["none", "sequential", "race"] = "sequential"
    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)  # how often one that is as good as what it is compared with may be dropped
    against: Literal["best", "base"] = "best"  # the finished trial with the highest mean so far, or trial 0
    startup: int = Field(default=20, ge=5)  # cases before the first look


class EngineChoice(ExperimentModel):
    """Where trials run."""

    name: Literal["local", "ray"] = "local"
    workers: int = Field(default=1, ge=0, le=256)  # 0: one per core
    address: str = ""  # of a Ray cluster; empty: one on this machine

    @property
    def worker_count(self) -> int:
        """Workers, and so trials at a time; by default one per core. An engine on a cluster of another size finds its own number."""
        return self.workers or cores()


class Experiment(ExperimentModel):
    """A question to the harness."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    about: str = ""
    base: dict[str, Any] = Field(default_factory=dict)  # the configuration to beat
    corpus: str = ""  # default: the one the golden set's card names
    golden: str
    space: dict[str, Range] = Field(min_length=1)
    objective: Annotated[tuple[str, ...], Field(min_length=1, max_length=4)] = ("quality",)  # the first one is proven on the holdout
    constraints: dict[str, Constraint] = Field(default_factory=dict)
    metrics: tuple[str, ...] = DEFAULT
    judge: str = ""
    trials: int = Field(default=20, ge=1, le=10_000)
    cases: int | None = Field(default=None, ge=1)  # of the tune split; default all
    block: int = Field(default=20, ge=1)  # cases between two looks at a trial
    finalists: int = Field(default=3, ge=1, le=20)
    timing_cases: int | None = Field(default=None, ge=0)  # timed of each finalist; 0: none; default 30 of local models, none of paid ones
    margin: float = Field(default=MARGIN, gt=0, allow_inf_nan=False)  # of the first objective: a difference within it does not matter
    cheaper_by: float = Field(default=0.1, gt=0, lt=1)  # share of price, or of measured time, that is worth replacing the incumbent for
    seed: int = 7
    sampler: Literal["mixed", "tpe", "random", "grid", "nsga2", "gp"] = "mixed"
    pruner: Pruning = Pruning()
    engine: EngineChoice = EngineChoice()
    concurrency: int = Field(default=4, ge=1, le=64)  # cases at a time, of each worker
    budget_usd: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)

    @field_validator("objective", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("metrics", mode="after")
    @classmethod
    def _expanded(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return metric_set(value)

    @property
    def goal(self) -> str:
        """The metric that is searched for first, and proven."""
        return self.objective[0]

    @property
    def decides_by_time(self) -> bool:
        """Whether an objective or a constraint is a time, so that no kept answer may stand for a computed one."""
        return any(name.startswith("ms.") or name.split(".")[0] in TIMES for name in (*self.objective, *self.constraints))

    @cached_property
    def config(self) -> RagConfig:
        """The configuration to beat, complete."""
        return RagConfig.parse(self.base, source=f"experiment {self.name!r}, base")

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """The space, checked against the configuration."""
        return knobs(self.space, self.config, f"experiment {self.name!r}")

    @property
    def digest(self) -> str:
        """Digest of everything in the file but its prose and where it runs."""
        return digest_of(self.model_dump(mode="json", exclude={"about", "engine"}))

    def apply(self, values: Mapping[str, Any]) -> RagConfig:
        """The base with a trial's values; those that count for nothing beside the others are left out."""
        plugins = self.config.plugins()
        counted = {knob.target: values[knob.path] for knob in self.knobs if knob.path in values and knob.counts(values, plugins)}
        return self.config.replace(counted)

    def direction(self, name: str) -> Literal["higher", "lower"]:
        """Which way an objective is better; coverage is better high, numbers of cost and time low."""
        if name.endswith(".coverage"):
            return "higher"
        base = name.partition("@")[0]
        if not METRICS.knows(base):
            return "lower"
        direction: Literal["higher", "lower"] = getattr(METRICS.load(base), "direction", "higher")
        return direction


def load_experiment(path: Path) -> Experiment:
    """Read an experiment and try every end of its space against the config's schema, before anything runs."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: an experiment is a mapping with at least name, golden and space.")
    check_ranges(data.get("space"), path)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, str(path), list(Experiment.model_fields))) from None
    for name in experiment.objective:
        _check_number(name, "objective", experiment, path)
    for name in experiment.constraints:
        _check_number(name, "constraint", experiment, path)
    if experiment.goal not in experiment.metrics:
        raise ConfigError(f"{path}: the first objective {experiment.goal!r} must be a metric: it is what the holdout proves.")
    _check_margin(experiment, path)
    _check_race(experiment, path)
    if experiment.sampler == "grid" and (free := [knob.path for knob in experiment.knobs if not knob.range.values()]):
        raise ConfigError(f"{path}: sampler 'grid' needs a step for {', '.join(free)}.")
    knobs(experiment.space, experiment.config, str(path))
    return experiment


def _check_margin(experiment: Experiment, path: Path) -> None:
    """Refuse a margin that says nothing about the goal."""
    ends = getattr(METRICS.load(experiment.goal.partition("@")[0]), "range", (0.0, 1.0))
    if ends == (0.0, 1.0) and experiment.margin >= 1.0:
        raise ConfigError(f"{path}: margin {experiment.margin:g} is no difference of {experiment.goal}, which lies between 0 and 1.")
    if ends != (0.0, 1.0) and "margin" not in experiment.model_fields_set:
        what = f"{experiment.goal} is no score between 0 and 1, so no margin is usual for it"
        raise ConfigError(f"{path}: {what}. Say what difference of it does not matter, as margin: 5")


def _check_race(experiment: Experiment, path: Path) -> None:
    """Refuse a race by a metric without bounds: the best that the remaining cases could score would be unknown."""
    ends = getattr(METRICS.load(experiment.goal.partition("@")[0]), "range", (0.0, 1.0))
    if experiment.pruner.name == "race" and ends != (0.0, 1.0):
        raise ConfigError(f"{path}: pruner 'race' needs scores between 0 and 1, and {experiment.goal} has others. Take 'sequential'.")


def _check_number(name: str, role: str, experiment: Experiment, path: Path) -> None:
    times = [f"ms.{stage}.{share}" for stage in STAGES for share in ("p50", "p95", "p99")]
    coverage = [f"{metric}.coverage" for metric in experiment.metrics]
    shares = [f"cost.tier_share.{tier}" for tier in experiment.config.answer.models]
    known = [*experiment.metrics, *NUMBERS, *shares, *times, *coverage]
    if name not in known:
        short = ", ".join([*experiment.metrics, "cost.usd", "ms.total.p95"])
        raise ConfigError(f"{path}: {role} {name!r} is not among the metrics.{near(name, known)} Known: {short}, …")
