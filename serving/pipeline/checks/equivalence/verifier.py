"""The verifier of the grey zone: how probable it is that one question may take the other's answer."""

import json
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError, model_validator

from serving.pipeline.checks.equivalence.features import FEATURES, WordRarity, features_of
from serving.pipeline.checks.equivalence.guards import VERSION as GUARDS_VERSION
from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.names import named_apart
from serving.pipeline.checks.equivalence.wording import LONGEST, Wording, wording_of
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.calibrated import FittedModel
from serving.pipeline.fitted.trees import BoostedTrees
from serving.pipeline.registry import explain

BUILT_IN: Final = Path(__file__).with_name("verifier.json")  # made by bench/cache_pairs.py --fit
CODE: Final = "1"  # raise it when the parsing of questions or the features change
VERIFIER_SCORER: Final = f"verifier {GUARDS_VERSION}.{CODE}"  # names of scores, for what is calibrated on them
COSINE_SCORER: Final = f"cosine behind guards {GUARDS_VERSION}"


class Verifier(FittedModel):
    """A fitted model over the features of two questions; the guards come first."""

    guards: str = GUARDS_VERSION  # the guards and features that it was fitted with
    code: str = CODE
    names: tuple[str, ...] = ()  # words that the questions it was fitted on write as names, for those that write them small
    rarity: Mapping[str, float] = {}  # of words, by their stems
    rarity_unknown: float = 1.0  # of any other word
    trees: BoostedTrees

    @model_validator(mode="after")
    def _is_of_this_code(self) -> Self:
        if (self.guards, self.code, self.trees.features) != (GUARDS_VERSION, CODE, FEATURES):
            raise ValueError("it was fitted with other guards or features; fit it again: touchstone calibrate cache")
        return self

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _rarity(self) -> WordRarity:
        return WordRarity(self.rarity, self.rarity_unknown)

    @property
    def name(self) -> str:
        """Name, version and a digest of its numbers."""
        return f"{VERIFIER_SCORER}-{digest_of(self.model_dump(mode='json'))[:8]}"

    def probability(self, question: str, other: str, similarity: float) -> float:
        """How probable it is that the other's answer may be reused, whatever the guards say; for the same text 1."""
        if question == other:
            return 1.0
        if max(len(question), len(other)) > LONGEST:
            return 0.0
        return self.of_wordings(wording_of(question), wording_of(other), similarity)

    def of_wordings(self, one: Wording, other: Wording, similarity: float) -> float:
        """The same of two parsed questions; 0 where one has no capitals and they name others of the names that it knows."""
        small = one.text.islower() or other.text.islower()  # where there are capitals, they tell
        if small and self._names and named_apart(one.names, other.names, self._names):
            return 0.0
        return self.trees.probability(features_of(one, other, similarity, self._rarity))

    def score(self, question: str, other: str, similarity: float, names: frozenset[str] = frozenset()) -> float:
        """The same, and 0 where a guard objects: what a threshold is calibrated on."""
        return 0.0 if disagreement(question, other, names) else self.probability(question, other, similarity)


@cache
def built_in() -> Verifier:
    """The verifier that ships, fitted with all-MiniLM-L6-v2."""
    return Verifier.model_validate(json.loads(BUILT_IN.read_text(encoding="utf-8")))


def verifier_of(fitted: Mapping[str, Any]) -> Verifier:
    """The verifier of a calibrated threshold: the one that was fitted with it, or the built-in one where none was."""
    if not fitted:
        return built_in()
    try:
        return Verifier.model_validate(fitted)
    except ValidationError as error:
        raise DataError(explain(error, "the fitted verifier", list(Verifier.model_fields))) from None


def verify(question: str, other: str, similarity: float) -> float:
    """The probability by the built-in verifier."""
    return built_in().probability(question, other, similarity)
