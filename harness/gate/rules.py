"""The rules a gate can have; a new one is a class here, a line in `Rule` and a case in `ruling_of`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

By = Literal["kind", "domain", "difficulty"]
LeakBy = Literal["domain", "groups", "tenant"]


class GateModel(BaseModel):
    """A part of a gate file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AnyRule(GateModel):
    """What every rule has."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$", max_length=80)
    advisory: bool = False  # shown, never blocks
    why: str = Field(default="", max_length=500)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it reads."""
        named = getattr(self, "metric", None)
        return (named,) if named else ()

    @property
    def subject(self) -> str:
        """What it is about, for tables."""
        return next(iter(self.metrics), "")


class FloorRule(AnyRule):
    """A metric's mean (or the low end of its interval) is at least so much."""

    rule: Literal["floor"]
    metric: str
    at_least: float
    statistic: Literal["mean", "low"] = "mean"


class CeilingRule(AnyRule):
    """A metric, or one of an evaluation's numbers (`cost.usd`, `ms.total.p95`), is at most so much."""

    rule: Literal["ceiling"]
    metric: str | None = None
    number: str | None = None
    at_most: float
    statistic: Literal["mean", "high", "p50", "p95", "p99"] = "mean"

    @model_validator(mode="after")
    def _one_subject(self) -> "CeilingRule":
        if (self.metric is None) == (self.number is None):
            raise ValueError("name either a metric or a number")
        if self.number and self.statistic != "mean":
            raise ValueError("'statistic' belongs to a metric; a number says it in its name, as ms.total.p95")
        return self

    @property
    def subject(self) -> str:
        """What it is about, for tables."""
        return self.metric or self.number or ""


class NonInferiorityRule(AnyRule):
    """A metric is not worse than the champion's by more than a margin, on the same cases."""

    rule: Literal["non_inferior"]
    metric: str
    margin: float = Field(gt=0)


class CoverageRule(AnyRule):
    """A metric scored at least this share of the cases."""

    rule: Literal["coverage"]
    metric: str
    at_least: float = Field(gt=0, le=1)


class SliceRule(AnyRule):
    """A metric's mean is at least so much in every kind, domain or difficulty that has enough cases."""

    rule: Literal["slice"]
    metric: str
    by: By
    at_least: float
    min_cases: int = Field(default=8, ge=1)

    @property
    def subject(self) -> str:
        """What it is about, for tables."""
        return f"{self.metric} by {self.by}"


class ErrorsRule(AnyRule):
    """At most so many cases crash; outages are not counted here, they make the gate undecided."""

    rule: Literal["errors"]
    at_most: int = Field(default=0, ge=0)

    @property
    def subject(self) -> str:
        """What it is about, for tables."""
        return "cases that crashed"


class LeakRule(AnyRule):
    """Nobody is shown a passage of a document that they may not read; asked of the retriever."""

    rule: Literal["leak"]
    by: LeakBy
    cases: int = Field(default=40, ge=1)  # questions, each asked by every principal

    @property
    def subject(self) -> str:
        """What it is about, for tables."""
        return f"leaks by {self.by}"


Rule = Annotated[
    FloorRule | CeilingRule | NonInferiorityRule | CoverageRule | SliceRule | ErrorsRule | LeakRule, Field(discriminator="rule")
]
RULES: dict[str, type[AnyRule]] = {
    "floor": FloorRule,
    "ceiling": CeilingRule,
    "non_inferior": NonInferiorityRule,
    "coverage": CoverageRule,
    "slice": SliceRule,
    "errors": ErrorsRule,
    "leak": LeakRule,
}
