"""Fits the verifier of the semantic cache with scikit-learn and writes it down as plain numbers."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from serving.pipeline.checks.equivalence.features import FEATURES, WordRarity, features_of
from serving.pipeline.checks.equivalence.names import learned_names
from serving.pipeline.checks.equivalence.verifier import Verifier
from serving.pipeline.checks.equivalence.wording import Wording
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.trees import LEAF, BoostedTrees

LEAST_OF_EACH: Final = 20  # pairs of each label that a fit takes
DIGITS: Final = 7  # of a number in the artefact
_MOST_LEAVES: Final = 10
_LEARNING_RATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class FitPair:
    """Two questions, the similarity of their vectors, and whether they are the same."""

    question: Wording
    other: Wording
    similarity: float
    same: bool


def fit_verifier(pairs: Sequence[FitPair], *, rarity: WordRarity | None = None, features: Sequence[str] = FEATURES) -> Verifier:
    """Boosted trees over pairs to which no guard objects; a greater similarity never lowers the probability.

    How rare a word is comes from these questions where it is not given. Features that are not named are not looked at.
    """
    labels = [int(pair.same) for pair in pairs]
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=2)
    if counts.min() < LEAST_OF_EACH:
        raise DataError(
            f"A verifier is fitted on at least {LEAST_OF_EACH} pairs of the same question and {LEAST_OF_EACH} others; "
            f"these are {counts[1]} and {counts[0]} to which no guard objects. Give more, or use the built-in one: --set verifier=built-in"
        )
    questions = _each(side for pair in pairs for side in (pair.question, pair.other))
    weighing = rarity or WordRarity.of(questions)
    names = learned_names(question.tokens for question in questions)
    rows = np.array([features_of(pair.question, pair.other, pair.similarity, weighing) for pair in pairs])
    rows[:, [name not in features for name in FEATURES]] = 0.0
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=int(np.clip(len(labels) // 25, 40, 300)),
        learning_rate=_LEARNING_RATE,
        max_leaf_nodes=_MOST_LEAVES,
        min_samples_leaf=max(5, min(20, len(labels) // 100)),
        l2_regularization=5.0,
        monotonic_cst=[int(name == "similarity") for name in FEATURES],
        early_stopping=False,
        random_state=0,
    )
    model.fit(rows, np.asarray(labels, dtype=int))
    return Verifier(names=tuple(sorted(names)), rarity=weighing.known, rarity_unknown=weighing.unknown, trees=plain_trees(model, FEATURES))


def plain_trees(model: Any, features: Sequence[str]) -> BoostedTrees:
    """The trees of a fitted `HistGradientBoostingClassifier` of two classes."""
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    roots: list[int] = []
    for (tree,) in model._predictors:
        roots.append(len(feature))
        waiting = deque([(0, len(feature))])  # a node there and its place here
        _grow(feature, threshold, left, 1)
        while waiting:
            node, place = waiting.popleft()
            numbers = tree.nodes[node]
            if numbers["is_leaf"]:
                threshold[place], left[place] = round(float(numbers["value"]), DIGITS), place
                continue
            children = len(feature)
            _grow(feature, threshold, left, 2)
            feature[place], threshold[place], left[place] = (
                int(numbers["feature_idx"]),
                round(float(numbers["num_threshold"]), DIGITS),
                children,
            )
            waiting += [(int(numbers["left"]), children), (int(numbers["right"]), children + 1)]
    return BoostedTrees(
        features=tuple(features),
        roots=tuple(roots),
        feature=tuple(feature),
        threshold=tuple(threshold),
        left=tuple(left),
        base=round(float(model._baseline_prediction.item()), DIGITS),
    )


def _grow(feature: list[int], threshold: list[float], left: list[int], count: int) -> None:
    feature += [LEAF] * count
    threshold += [0.0] * count
    left += [0] * count


def _each(questions: Iterable[Wording]) -> list[Wording]:
    """Each question once."""
    return list({question.text: question for question in questions}.values())
