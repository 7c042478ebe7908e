"""Labelled decisions: what a threshold is calibrated on, and the risk that it must keep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.calibrated import CalibratedStage, RiskKind

ARTEFACT = "<artefact>"  # in `LabelledDecisions.config`: where the artefact's digest goes
THRESHOLD = "<threshold>"  # where the number goes, for a part that reads no artefact


@dataclass(frozen=True, slots=True)
class LabelledDecision:
    """One labelled example of a stage that acts when its score reaches the threshold; what does not act loses and gains nothing."""

    id: str
    score: float
    loss: float  # when it acts
    benefit: float  # when it acts
    group: str = ""  # paraphrases and near-duplicates share it and count once; empty: on its own
    at: str = ""  # when, in ISO 8601
    counts: bool = True  # for a risk per decision: an attack that a guard flags is no decision that could go wrong
    family: str = ""  # a part that is reported beside the whole


@dataclass(frozen=True, slots=True)
class RiskLimit:
    """The risk that a threshold must keep, and with which confidence.

    `per_decision`: the mean loss over all decisions, those that do not act losing nothing. `per_action`: over those that act.
    Of either each group has one mean, by its members that take part, and counts once.
    """

    kind: RiskKind
    level: float
    confidence: float = 0.95
    low: float = 0.0  # the least and the greatest loss of one action
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= 0.0 < self.high):
            raise ConfigError(f"Losses range from 0 or below to above 0, not from {self.low!r} to {self.high!r}.")
        if not 0.0 < self.level < self.high:
            never = " No number of labels proves a risk of 0." if self.level == 0.0 else ""
            raise ConfigError(f"A risk level is above 0 and below {self.high:g}, such as 0.01, not {self.level!r}.{never}")
        if not 0.5 <= self.confidence < 1.0:
            raise ConfigError(f"A confidence is from 0.5 to below 1, such as 0.95, not {self.confidence!r}.")

    @property
    def error(self) -> float:
        """How often the promise may be broken."""
        return round(1.0 - self.confidence, 12)


@dataclass(frozen=True, slots=True)
class DecisionTerms:
    """How a stage calls what it decides, in reports: "1 % of the reused answers are false"."""

    decision: str = "decisions"
    action: str = "actions"
    loss: str = "loss"
    benefit: str = "benefit"


@dataclass(frozen=True, slots=True)
class LabelledDecisions:
    """What a source has for the engine: examples that nothing was fitted on, and what the artefact and the report need beside them."""

    stage: CalibratedStage
    examples: tuple[LabelledDecision, ...]
    scorer: str  # name and version of what gave the scores
    data: Mapping[str, str]  # SHA-256 of every file, by name
    low: float = 0.0  # the range of a loss
    high: float = 1.0
    kind: RiskKind = "per_action"  # the risk that is meant where none is named
    wording: DecisionTerms = DecisionTerms()
    fitted: Mapping[str, Any] = field(default_factory=dict)  # coefficients, for the artefact
    fit_count: int = 0  # examples that were used up by fitting
    config: Mapping[str, Any] = field(default_factory=dict)  # values by dotted path that use the artefact, whose digest is ARTEFACT
    baselines: Mapping[str, Sequence[float]] = field(default_factory=dict)  # other scores of the same examples, to compare with
    notes: tuple[str, ...] = ()

    def limit(self, level: float, confidence: float = 0.95, kind: RiskKind | None = None) -> RiskLimit:
        """A limit over this source's range of losses."""
        return RiskLimit(kind or self.kind, level, confidence, self.low, self.high)


def check_decisions(examples: Sequence[LabelledDecision], limit: RiskLimit) -> None:
    """A `DataError` for the first example that cannot be one."""
    seen: set[str] = set()
    for one in examples:
        if one.id in seen:
            raise DataError(f"The id {one.id!r} stands twice, and would count twice.")
        seen.add(one.id)
        for name in ("score", "loss", "benefit"):
            value = getattr(one, name)
            if not math.isfinite(value):
                raise DataError(f"The {name} of {one.id!r} is {value!r}; a number is needed. Leave the example out, or mend it.")
        if not limit.low <= one.loss <= limit.high:
            raise DataError(f"The loss of {one.id!r} is {one.loss!r}; losses range from {limit.low:g} to {limit.high:g}.")
        if one.at:
            instant(one.at, one.id)


def instant(at: str, ident: str) -> float:
    """A time as seconds; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise DataError(f"The time of {ident!r} is {at!r}; write it as 2026-11-29 or 2026-11-29T08:00:00Z.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
