"""Classifies the domain of a question by an artefact: for its prompt family, and for where it is looked for."""

from pydantic import Field, ValidationError

from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.calibrated import fitted_content
from serving.pipeline.fitted.domains import DomainGuess, DomainModel
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import explain
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.types import Query

FIT = "Fit one with `touchstone calibrate domains`"


class ClassifierParams(PlugInParams):
    """Which classifier, and how sure it must be."""

    classifier: Artefact | None = Field(default=None, description="what `touchstone calibrate domains` made")
    confidence: float | None = Field(
        default=None, ge=0.0, le=1.0, description="chance that the domain must have to be acted on; null: the calibrated one"
    )


class DomainClassifier:
    """The domain of a question, where one is likely enough."""

    def __init__(self, params: ClassifierParams, parts: Parts, where: str) -> None:
        if params.classifier is None:
            raise ConfigError(f"{where}.classifier: no artefact is named. {FIT}, or set {where}.name to another.")
        data, name = parts.artefacts.read(params.classifier), f"artefact {params.classifier}"
        fitted, threshold = fitted_content(data, name, "domains")
        if threshold is None and params.confidence is None:
            raise ConfigError(f"{where}.confidence: the artefact has no calibrated one. Set it, such as 0.9. {FIT} for one.")
        try:
            self._model = DomainModel.model_validate(fitted)
        except ValidationError as error:
            raise DataError(f"{explain(error, name, list(DomainModel.model_fields))} {FIT}.") from None
        if self._model.embedder and self._model.embedder != parts.embedder:
            raise ConfigError(
                f"{where}.classifier: fitted to vectors of {self._model.embedder!r}, and index.embedder.name is {parts.embedder!r}. "
                f"{FIT} for this one."
            )
        self._confidence = threshold if params.confidence is None else params.confidence
        self._question = parts.question

    async def guess(self, query: Query) -> DomainGuess | None:
        """The likeliest domain; None where it is less likely than it must be."""
        text = search_text(query)
        vector = await self._question.vector(text) if self._model.embedder else None
        meaning = self._model.meaning
        if vector is not None and meaning is not None and meaning.width != len(vector):
            raise ConfigError(
                f"The classifier was fitted to vectors of {meaning.width} numbers, and index.embedder gives {len(vector)}. "
                f"{FIT} for this one."
            )
        guess = self._model.guess(text, vector)
        return guess if guess.confidence >= (self._confidence or 0.0) else None
