"""A calibrated threshold with its proof: the artefact that `touchstone calibrate` writes and a stage reads."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.pipeline.artefacts import Artefacts
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.registry import explain

CalibratedStage = Literal["router", "domains", "cache", "guard"]
RiskKind = Literal["per_decision", "per_action"]


class FittedModel(BaseModel):
    """Something that was fitted, as it stands in an artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ThresholdProof(FittedModel):
    """What was proven of a threshold, and on how much."""

    kind: RiskKind  # what the risk is of: all decisions, or those that act
    level: float  # the risk stays below it …
    confidence: float = Field(gt=0.0, lt=1.0)  # … with this confidence
    low: float  # the least and the greatest loss of one action
    high: float
    risk: float  # as seen on the labels
    bound: float  # its upper bound at the error that this threshold was tested with
    tested_at: float  # that error
    action_rate: float  # the share of the labelled decisions that act
    benefit: float  # per decision
    oracle_share: float | None  # of the benefit that one who knew every label would have
    decisions: int
    groups: int  # what counts once: a decision, or all paraphrases of one
    actions: int
    deciding: int = 0  # of a risk per decision: the groups that it is of; a guard's are the harmless texts


class CalibratedThreshold(FittedModel):
    """The content of the artefact: a stage acts when its score is at least the threshold."""

    format: Literal["calibrated-threshold/1"] = "calibrated-threshold/1"
    stage: CalibratedStage
    scorer: str  # name and version of what gives the score
    threshold: float
    proof: ThresholdProof
    data: dict[str, str]  # SHA-256 of every file of labels, by name
    labelled_until: str = ""  # the newest time of a label, where they have times
    fitted: dict[str, Any] = Field(default_factory=dict)  # coefficients that the score needs, as the scorer writes them
    date: str


def read_calibrated(artefacts: Artefacts, digest: str, stage: CalibratedStage, scorer: str = "") -> CalibratedThreshold:
    """The artefact with this digest; a `DataError` where it is of another stage, or of another scorer than the one named."""
    return parse_calibrated(artefacts.read(digest), f"artefact {digest}", stage, scorer)


def threshold_of(
    threshold: float | None, calibrated: str | None, artefacts: Artefacts, stage: CalibratedStage, scorer: str, where: str
) -> float:
    """The threshold of a part's parameters: the one that is written there, or where that is `null` the artefact's."""
    if threshold is not None:
        return threshold
    if calibrated is None:
        raise ConfigError(f"{where}: a threshold is needed, or the artefact of one. Make one: touchstone calibrate {stage}")
    return read_calibrated(artefacts, calibrated, stage, scorer).threshold


def fitted_content(data: bytes, where: str, stage: CalibratedStage) -> tuple[Any, float | None]:
    """The coefficients of an artefact with its threshold, or of one that holds nothing else and has none."""
    try:
        content = json.loads(data)
    except ValueError:
        raise DataError(f"{where} is not JSON. Run: touchstone calibrate {stage}") from None
    if not isinstance(content, dict) or "format" not in content:
        return content, None
    calibrated = parse_calibrated(data, where, stage)
    return calibrated.fitted, calibrated.threshold


def parse_calibrated(data: bytes, where: str, stage: str = "", scorer: str = "") -> CalibratedThreshold:
    """The same from bytes."""
    try:
        calibrated = CalibratedThreshold.model_validate_json(data)
    except ValidationError as error:
        raise DataError(explain(error, where, list(CalibratedThreshold.model_fields))) from None
    if stage and calibrated.stage != stage:
        raise DataError(f"{where} was calibrated for the {calibrated.stage}, not for the {stage}. Run: touchstone calibrate {stage}")
    if scorer and calibrated.scorer != scorer:
        again = f"Run again: touchstone calibrate {calibrated.stage}"
        raise DataError(f"{where} was calibrated with the scores of {calibrated.scorer!r}; this one is {scorer!r}. {again}")
    return calibrated
