"""Routers that were fitted to what each tier made of earlier questions: by words, by similar questions, by a linear model, by all three."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field, ValidationError

from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.calibrated import fitted_content
from serving.pipeline.index.base import Vectors
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.registry import explain
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.route.gain import FittedGain, RoutedQuestion
from serving.pipeline.route.signals import signals
from serving.pipeline.route.tiers import Step, TierParams, climb, dear_domain, per_step
from serving.pipeline.types import Hit, Query, Route

FIT = "Fit one with `touchstone calibrate router`"


Gain = Annotated[float, Field(ge=-1.0, le=1.0)]


class FittedParams(TierParams):
    """The artefact, and where its threshold is."""

    calibrated: Artefact | tuple[Artefact, ...] | None = Field(
        default=None, description="what `touchstone calibrate router` made; with more than two tiers, one for each step"
    )
    threshold: Gain | tuple[Gain, ...] | None = Field(
        default=None, description="expected gain in quality above which the dearer tier answers; null: the calibrated one"
    )


@dataclass(frozen=True, slots=True)
class FittedStep:
    """One step up as an artefact holds it."""

    gain: FittedGain
    threshold: float | None  # the calibrated one; None: the artefact has none


class FittedRouter:
    """Takes the step to a dearer tier where it is expected to gain more than the threshold."""

    version: ClassVar[str] = "1"
    kind: ClassVar[str]
    Params: ClassVar[type[FittedParams]] = FittedParams

    def __init__(self, params: FittedParams, parts: Parts) -> None:
        self._params = params
        digests = (params.calibrated,) if isinstance(params.calibrated, str) else params.calibrated or ()
        count = len(params.tiers) - 1
        if len(digests) != count:
            raise ConfigError(
                f"route.router.calibrated: {len(digests)} artefacts for {len(params.tiers)} tiers; the router {self.kind!r} needs "
                f"one for each step. {FIT}, or set route.router.name to another."
            )
        self._steps = [read_step(parts.artefacts.read(digest), f"artefact {digest}", self.kind) for digest in digests]
        self._thresholds = [
            step.threshold if given is None else given
            for step, given in zip(self._steps, per_step(params.threshold, count, "route.router.threshold"), strict=True)
        ]
        if None in self._thresholds:
            raise ConfigError(f"route.router.threshold: the artefact has no calibrated one. Set it, such as 0.05. {FIT} for one.")
        for step in self._steps:
            if step.gain.embedder and step.gain.embedder != parts.embedder:
                raise ConfigError(
                    f"route.router.calibrated: fitted to vectors of {step.gain.embedder!r}, and index.embedder.name is "
                    f"{parts.embedder!r}. {FIT} for this one."
                )
        self._question = parts.question if any(step.gain.embedder for step in self._steps) else None

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The tier, with what was expected of the step that decided."""
        params = self._params
        if (dear := dear_domain(params, hits)) is not None:
            return dear
        text = search_text(query)
        vector = await self._question.vector(text) if self._question else None
        self._check_width(vector)
        asked = RoutedQuestion(text, vector, signals(text, hits))
        found = [Step(step.gain.gain(asked), threshold) for step, threshold in zip(self._steps, self._thresholds, strict=True)]
        taken = climb(params.tiers, found)
        place = min(taken, len(found) - 1)
        step, comparison = found[place], "≤" if taken == place else ">"
        reason = f"{params.tiers[place + 1]} is expected to gain {step.score:+.3f} {comparison} {step.threshold:.3f}: "
        return Route(params.tiers[taken], reason + self._steps[place].gain.model.why(asked), step.score, asked.signals)

    def _check_width(self, vector: Vectors | None) -> None:
        widths = {step.gain.model.width for step in self._steps if step.gain.embedder}
        if vector is not None and widths != {len(vector)}:
            raise ConfigError(
                f"route.router.calibrated: fitted to vectors of {' and '.join(map(str, sorted(widths)))} numbers, and index.embedder gives "
                f"{len(vector)}. {FIT} for this one."
            )


def read_step(data: bytes, where: str, kind: str = "") -> FittedStep:
    """A step from an artefact: of a calibration, or of a model that was fitted without one."""
    content, threshold = fitted_content(data, where, "router")
    try:
        gain = FittedGain.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{explain(error, where, list(FittedGain.model_fields))} {FIT}.") from None
    if kind and gain.model.kind != kind:
        raise ConfigError(f"route.router.calibrated: {where} is of the router {gain.model.kind!r}, not {kind!r}. Name that router instead.")
    return FittedStep(gain, None if threshold is None else -threshold)  # calibrated is the cheap tier's score: it acts from there on


class LogisticRouter(FittedRouter):
    """By a linear model over the question's vector, its words' kinds and the shape of what was found."""

    kind = "logistic"


class TfIdfRouter(FittedRouter):
    """By the question's words."""

    kind = "tfidf"


class NeighboursRouter(FittedRouter):
    """By what similar questions gained."""

    kind = "knn"


class StackedRouter(FittedRouter):
    """By a weighted sum of the other three."""

    kind = "stacked"
