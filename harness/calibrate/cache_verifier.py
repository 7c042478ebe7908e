"""Fits the verifier of the semantic cache with scikit-learn and writes it down as plain numbers."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.checks.equivalence.features import FEATURES
from serving.pipeline.checks.equivalence.verifier import Verifier
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.trees import LEAF, BoostedTrees

LEAST_OF_EACH: Final = 20  # pairs of each label that a fit takes
DIGITS: Final = 7  # of a number in the artefact
_RISES: Final = ("similarity", "shared_least", "shared_most", "shared_all", "pairs", "trigrams", "asked_alike")  # never speak against reuse
_FALLS: Final = ("left_least", "left_most", "left_letters", "unlike")  # never speak for it
_MOST_LEAVES: Final = 8
_LEARNING_RATE: Final = 0.06


def fit_verifier(
    rows: NDArray[np.float64], labels: Sequence[int], *, weights: Sequence[float] | None = None, rounds: int | None = None
) -> Verifier:
    """Boosted trees over rows of features; more likeness never lowers the probability, so odd pairs are not trusted by accident."""
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=2)
    if counts.min() < LEAST_OF_EACH:
        raise DataError(
            f"A verifier is fitted on at least {LEAST_OF_EACH} pairs that are the same question and {LEAST_OF_EACH} that are not; "
            f"these are {counts[1]} and {counts[0]}. Give more pairs, or use the built-in one: --set verifier=built-in"
        )
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=rounds or int(np.clip(len(labels) // 15, 40, 300)),
        learning_rate=_LEARNING_RATE,
        max_leaf_nodes=_MOST_LEAVES,
        min_samples_leaf=max(5, min(40, len(labels) // 100)),
        l2_regularization=1.0,
        monotonic_cst=[(name in _RISES) - (name in _FALLS) for name in FEATURES],
        early_stopping=False,
        random_state=0,
    )
    model.fit(rows, np.asarray(labels, dtype=int), sample_weight=weights)
    return Verifier(trees=plain_trees(model, FEATURES))


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
