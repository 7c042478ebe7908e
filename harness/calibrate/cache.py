"""Labelled pairs of questions for the semantic cache: fits its verifier on one part and scores the rest as the cache would."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.calibrate.cache_pairs import QuestionPair, golden_pairs, nearest_others, read_pairs
from harness.calibrate.cache_verifier import FitPair, fit_verifier
from harness.calibrate.groups import near_duplicate_pairs, near_duplicates
from harness.calibrate.labelled import ARTEFACT, LabelledDecision, LabelledDecisions, Wording
from harness.calibrate.source import Progress, SourceRequest
from harness.calibrate.split import fit_split
from harness.golden.load import load_golden
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
Score = Callable[[QuestionPair, float], float]


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """Pairs with the similarity of their vectors and what the guards say of them."""

    pairs: tuple[QuestionPair, ...]
    similarity: NDArray[np.float64]
    objections: tuple[str | None, ...]

    def fit_pairs(self, indexes: Sequence[int]) -> list[FitPair]:
        """Some of them as a verifier is fitted on them: those that a guard objects to are left out, as are texts too long to be read."""
        clear = [index for index in indexes if self.objections[index] is None and _readable(self.pairs[index])]
        return [
            FitPair(wording_of(self.pairs[at].question), wording_of(self.pairs[at].other), float(self.similarity[at]), self.pairs[at].same)
            for at in clear
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
        fit_share: float = Field(default=0.5, gt=0.0, lt=1.0, description="share of the pairs that the verifier is fitted on")
        embedder: Spec = Field(default=Spec(name="local:minilm"), description="the model whose vectors are compared")

    def __init__(self, params: Params, settings: HarnessSettings) -> None:
        self._params = params
        self._settings = settings

    async def decisions(self, request: SourceRequest) -> LabelledDecisions:
        """Every pair that nothing was fitted on, scored; pairs that share a question, or nearly one, are one group."""
        return await asyncio.to_thread(self._decisions, request)

    def _decisions(self, request: SourceRequest) -> LabelledDecisions:
        compared = self._compared(request)
        pairs = compared.pairs
        _refuse_one_label(pairs, verified=request.fitted is not None)
        groups = near_duplicate_pairs([(pair.question, pair.other) for pair in pairs], [pair.group for pair in pairs])
        fit, rest = self._split(pairs, groups, request)
        verifier, fitted = self._verifier(compared, fit, request)
        scores = [self._score(compared, index, verifier) for index in rest]
        examples = [
            LabelledDecision(
                id=pairs[index].id,
                score=score,
                loss=0.0 if pairs[index].same else 1.0,
                benefit=1.0 if pairs[index].same else 0.0,
                group=groups[index],
                at=pairs[index].at,
                family=pairs[index].family,
            )
            for index, score in zip(rest, scores, strict=True)
        ]
        cosine = self._params.scorer == "cosine"
        return LabelledDecisions(
            stage="cache",
            examples=tuple(examples),
            scorer=f"{COSINE_SCORER if cosine else VERIFIER_SCORER} on {self._params.embedder.name}",
            data={path.name: sha256_file(path) for path in request.files},
            kind="per_action",
            wording=Wording(
                "look-ups", "answers given again", "given for another question", "questions asked before that are answered again"
            ),
            fitted=fitted,
            fit_count=len(fit),
            config={
                "cache.lookup.name": "semantic",
                "cache.lookup.scorer": self._params.scorer,
                "cache.lookup.threshold": None,
                "cache.lookup.calibrated": ARTEFACT,
            },
            baselines={
                "cosine": [float(compared.similarity[index]) for index in rest],
                "cosine behind the guards": [_behind_guards(compared, index, float(compared.similarity[index])) for index in rest],
            },
            notes=_notes(compared, rest),
        )

    def _compared(self, request: SourceRequest) -> ComparedPairs:
        """The pairs of files and golden set with their similarities."""
        pairs = read_pairs(request.files)
        if self._params.golden:
            pairs += golden_pairs(load_golden(self._settings.datasets, self._params.golden).cases)
        if not pairs:
            raise DataError("No pairs. Name a file of pairs, or a golden set: --set golden=techcorp/v1")
        embeddings = NamedEmbeddings(self._params.embedder.name, connect_embeddings(self._params.embedder, self._settings))
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.question, pair.other)))
        vectors = _vectors(texts, embeddings, request.progress)
        if self._params.nearest:
            same = [pair for pair in pairs if pair.same]
            place = {text: index for index, text in enumerate(texts)}
            names = near_duplicates(texts, _joined_texts(texts, same, place))
            pairs += nearest_others(texts, names, vectors, nearest=self._params.nearest)
        rows = dict(zip(texts, vectors, strict=True))
        similarity = np.array([float(rows[pair.question] @ rows[pair.other]) for pair in pairs])
        return ComparedPairs(tuple(pairs), similarity, tuple(disagreement(pair.question, pair.other) for pair in pairs))

    def _split(self, pairs: Sequence[QuestionPair], groups: Sequence[str], request: SourceRequest) -> tuple[Sequence[int], Sequence[int]]:
        """The indexes of what is fitted on and of the rest."""
        if request.fitted is not None or self._params.scorer == "cosine" or self._params.verifier == "built-in":
            return (), range(len(pairs))
        split = fit_split(groups, [pair.at for pair in pairs], fit_share=self._params.fit_share)
        return split.fit, split.calibration

    def _verifier(self, compared: ComparedPairs, fit: Sequence[int], request: SourceRequest) -> tuple[Verifier | None, dict[str, Any]]:
        """The verifier that scores, and its numbers for the artefact."""
        if self._params.scorer == "cosine":
            return None, {}
        if not fit:
            verifier = verifier_of(request.fitted or {})
            return verifier, {} if verifier is built_in() else verifier.model_dump(mode="json")
        verifier = fit_verifier(compared.fit_pairs(fit))
        return verifier, verifier.model_dump(mode="json")

    def _score(self, compared: ComparedPairs, index: int, verifier: Verifier | None) -> float:
        """What the cache would hold against its threshold; 0 where a guard objects."""
        pair, similarity = compared.pairs[index], float(compared.similarity[index])
        return _behind_guards(
            compared, index, similarity if verifier is None else verifier.probability(pair.question, pair.other, similarity)
        )


def _behind_guards(compared: ComparedPairs, index: int, score: float) -> float:
    return 0.0 if compared.objections[index] else max(0.0, score)


def _readable(pair: QuestionPair) -> bool:
    return max(len(pair.question), len(pair.other)) <= LONGEST


def _vectors(texts: Sequence[str], embeddings: NamedEmbeddings, progress: Progress) -> NDArray[np.float32]:
    """A unit vector for each text."""
    parts: list[NDArray[np.float32]] = []
    for begin in range(0, len(texts), EVERY):
        progress("questions embedded", begin, len(texts))
        parts.append(np.asarray(embeddings.vectors(texts[begin : begin + EVERY]), dtype=np.float32))
    return np.concatenate(parts)


def _joined_texts(texts: Sequence[str], same: Sequence[QuestionPair], place: dict[str, int]) -> list[str]:
    """A group's name for each text: texts that are said to be the same question share it."""
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for pair in same:
        parent[root(place[pair.question])] = root(place[pair.other])
    return [f"t{root(index)}" for index in range(len(texts))]


def _refuse_one_label(pairs: Sequence[QuestionPair], *, verified: bool) -> None:
    labels = Counter(pair.same for pair in pairs)
    if len(labels) == 1 and not verified:
        missing = (
            "that are not the same question (label 0); add them, or --set nearest=3" if pairs[0].same else "of the same question (label 1)"
        )
        raise DataError(f"All {len(pairs)} pairs have one label. Pairs are needed {missing}.")


def _notes(compared: ComparedPairs, rest: Sequence[int]) -> tuple[str, ...]:
    """What the guards did to the pairs that are scored."""
    counts = Counter((compared.pairs[index].same, compared.objections[index] is not None) for index in rest)
    same, other = (counts[label, True] + counts[label, False] for label in (True, False))
    return (
        f"the guards object to {counts[False, True]:,} of {other:,} pairs that are not the same question, "
        f"and to {counts[True, True]:,} of {same:,} that are",
    )
