"""Labelled pairs of questions for the semantic cache: fits its verifier on one part and scores the rest as the cache would."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.calibrate.cache_pairs import ODD, QuestionPair, golden_pairs, nearest_others, read_pairs
from harness.calibrate.cache_verifier import FitPair, fit_verifier
from harness.calibrate.groups import near_duplicate_pairs
from harness.calibrate.labelled import ARTEFACT, DecisionTerms, LabelledDecision, LabelledDecisions
from harness.calibrate.source import SourceRequest
from harness.calibrate.split import fit_split
from harness.golden.load import load_golden
from harness.progress import TaskProgress
from harness.settings import HarnessSettings
from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.verifier import COSINE_SCORER, VERIFIER_SCORER, Verifier, built_in, verifier_of
from serving.pipeline.checks.equivalence.wording import LONGEST, wording_of
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec

EVERY: Final = 256  # texts embedded between two words of progress


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """Pairs with the similarity of their vectors and what the guards say of them."""

    pairs: tuple[QuestionPair, ...]
    similarity: NDArray[np.float64]
    objections: tuple[str | None, ...]

    def fit_pairs(self) -> list[FitPair]:
        """As a verifier is fitted on them: those that a guard objects to are left out, as are texts too long to be read."""
        return [
            FitPair(wording_of(pair.question), wording_of(pair.other), similarity, pair.same)
            for pair, similarity, objection in zip(self.pairs, self.similarity.tolist(), self.objections, strict=True)
            if objection is None and _readable(pair)
        ]


class CacheSource:
    """Pairs in JSONL and those of a golden set; a risk per action is of the answers given again, one per decision of all look-ups."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which pairs are added to those of the files, and what scores."""

        golden: str = Field(default="", description="a golden set whose paraphrases, rewordings and hard negatives are added")
        nearest: int = Field(default=0, ge=0, le=20, description="so many most similar other questions of each are added as not the same")
        scorer: Literal["verifier", "cosine"] = Field(default="verifier", description="what scores a pair that no guard objects to")
        verifier: Literal["fitted", "built-in"] = Field(
            default="fitted", description="fitted on a part of these pairs, or the one that ships"
        )
        fit_share: float = Field(default=0.3, gt=0.0, lt=1.0, description="share of the pairs that the verifier is fitted on")
        embedder: Spec = Field(default=Spec(name="local:minilm"), description="the model whose vectors are compared")

    def __init__(self, params: Params, settings: HarnessSettings) -> None:
        self._params = params
        self._settings = settings

    async def decisions(self, request: SourceRequest) -> LabelledDecisions:
        """Every pair that nothing was fitted on, scored; pairs that share a question, or nearly one, are one group."""
        return await asyncio.to_thread(self._decisions, request)

    def _decisions(self, request: SourceRequest) -> LabelledDecisions:
        pairs = self._pairs(request)
        _refuse_one_label(pairs, nearest=self._params.nearest, verified=request.fitted is not None)
        groups = near_duplicate_pairs([(pair.question, pair.other) for pair in pairs], [pair.group for pair in pairs])
        embeddings = NamedEmbeddings(self._params.embedder.name, connect_embeddings(self._params.embedder, self._settings))
        vectors = _vectors([text for pair in pairs for text in (pair.question, pair.other)], embeddings, request.progress)
        sides = self._split(pairs, groups, request)
        fit, rest = (
            _compared([replace(pairs[index], group=groups[index]) for index in side], vectors, self._params.nearest) for side in sides
        )
        verifier, fitted = self._verifier(fit, request)
        scores = [_score(rest, index, verifier) for index in range(len(rest.pairs))]
        examples = [
            LabelledDecision(
                id=pair.id,
                score=score,
                loss=0.0 if pair.same else 1.0,
                benefit=1.0 if pair.same else 0.0,
                group=pair.group,
                at=pair.at,
                family=pair.family,
            )
            for pair, score in zip(rest.pairs, scores, strict=True)
        ]
        cosine = self._params.scorer == "cosine"
        return LabelledDecisions(
            stage="cache",
            examples=tuple(examples),
            scorer=f"{COSINE_SCORER if cosine else VERIFIER_SCORER} on {self._params.embedder.name}",
            data={path.name: sha256_file(path) for path in request.files},
            kind="per_action",
            wording=DecisionTerms(
                "look-ups", "answers given again", "given for another question", "questions asked before that are answered again"
            ),
            fitted=fitted,
            fit_count=len(fit.pairs),
            config={
                "cache.lookup.name": "semantic",
                "cache.lookup.scorer": self._params.scorer,
                "cache.lookup.threshold": None,
                "cache.lookup.calibrated": ARTEFACT,
            },
            baselines={
                "cosine": rest.similarity.tolist(),
                "cosine behind the guards": [_score(rest, index, None) for index in range(len(rest.pairs))],
            },
            notes=_notes(rest),
        )

    def _pairs(self, request: SourceRequest) -> list[QuestionPair]:
        """The pairs of files and golden set."""
        pairs = read_pairs(request.files)
        if self._params.golden:
            pairs += golden_pairs(load_golden(self._settings.datasets, self._params.golden).cases)
        if not pairs:
            raise DataError("No pairs. Name a file of pairs, or a golden set: --set golden=techcorp/v1")
        return pairs

    def _split(self, pairs: Sequence[QuestionPair], groups: Sequence[str], request: SourceRequest) -> tuple[Sequence[int], Sequence[int]]:
        """The indexes of what is fitted on and of what is scored; odd questions are fitted on only."""
        fit: Sequence[int] = ()
        scored: Sequence[int] = range(len(pairs))
        if request.fitted is None and self._params.scorer == "verifier" and self._params.verifier == "fitted":
            split = fit_split(groups, [pair.at for pair in pairs], fit_share=self._params.fit_share)
            fit, scored = split.fit, split.calibration
        return fit, [index for index in scored if pairs[index].family != ODD]

    def _verifier(self, fit: ComparedPairs, request: SourceRequest) -> tuple[Verifier | None, dict[str, Any]]:
        """The verifier that scores, and its numbers for the artefact."""
        if self._params.scorer == "cosine":
            return None, {}
        if not fit.pairs:
            verifier = verifier_of(request.fitted or {})
            return verifier, {} if verifier is built_in() else verifier.model_dump(mode="json")
        verifier = fit_verifier(fit.fit_pairs())
        return verifier, verifier.model_dump(mode="json")


def _compared(pairs: Sequence[QuestionPair], vectors: Mapping[str, NDArray[np.float32]], nearest: int) -> ComparedPairs:
    """Pairs of one side with their similarities; `nearest` others of that side are added to each question that is asked again."""
    pairs = list(pairs)
    if nearest and pairs:
        asked = {pair.question: pair.group for pair in pairs if pair.same}
        rows = np.stack([vectors[text] for text in asked])
        pairs += nearest_others(list(asked), list(asked.values()), rows, nearest=nearest)
    similarity = np.array([float(vectors[pair.question] @ vectors[pair.other]) for pair in pairs])
    return ComparedPairs(tuple(pairs), similarity, tuple(disagreement(pair.question, pair.other) for pair in pairs))


def _score(compared: ComparedPairs, index: int, verifier: Verifier | None) -> float:
    """The score that the cache compares with its threshold; 0 where a guard objects."""
    if compared.objections[index] is not None:
        return 0.0
    pair, similarity = compared.pairs[index], float(compared.similarity[index])
    return max(0.0, similarity) if verifier is None else verifier.probability(pair.question, pair.other, similarity)


def _readable(pair: QuestionPair) -> bool:
    return max(len(pair.question), len(pair.other)) <= LONGEST


def _vectors(texts: Sequence[str], embeddings: NamedEmbeddings, progress: TaskProgress) -> dict[str, NDArray[np.float32]]:
    """A unit vector for each text."""
    unique = list(dict.fromkeys(texts))
    vectors: dict[str, NDArray[np.float32]] = {}
    for begin in range(0, len(unique), EVERY):
        progress("questions embedded", begin, len(unique))
        part = unique[begin : begin + EVERY]
        vectors |= dict(zip(part, np.asarray(embeddings.vectors(part), dtype=np.float32), strict=True))
    return vectors


def _refuse_one_label(pairs: Sequence[QuestionPair], *, nearest: int, verified: bool) -> None:
    labels = {pair.same for pair in pairs}
    if len(labels) == 1 and not verified and not (nearest and pairs[0].same):
        others = "that are not the same question (label 0); add them, or --set nearest=3"
        raise DataError(f"All {len(pairs)} pairs have one label. Pairs are needed {others if pairs[0].same else 'that are (label 1)'}.")


def _notes(compared: ComparedPairs) -> tuple[str, ...]:
    """What the guards did to the pairs that are scored."""
    counts = Counter((pair.same, objection is not None) for pair, objection in zip(compared.pairs, compared.objections, strict=True))
    same, other = (counts[label, True] + counts[label, False] for label in (True, False))
    return (
        f"the guards object to {counts[False, True]:,} of {other:,} pairs that are not the same question, "
        f"and to {counts[True, True]:,} of {same:,} that are",
    )
