"""Boosted trees as plain numbers: every tree is a row of splits, all trees are walked together."""

from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from serving.pipeline.fitted.calibrated import FittedModel

LEAF = -1  # in place of a feature


class BoostedTrees(FittedModel):
    """A sum of regression trees over a row of features, as log odds.

    The nodes of all trees stand in one list. A node with a feature sends a row to `left` where its value is at most the threshold
    and to the node after it otherwise; a leaf has a value.
    """

    features: tuple[str, ...]  # the names, in the order of a row
    roots: tuple[int, ...]  # the first node of each tree
    feature: tuple[int, ...]  # of each node; `LEAF` for a leaf
    threshold: tuple[float, ...]  # of each node; the value of a leaf
    left: tuple[int, ...]  # the node for small values; the next one is for large ones; a leaf stays where it is
    base: float  # log odds before any tree

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        count = len(self.feature)
        if not self.features or not (len(self.threshold) == len(self.left) == count):
            raise ValueError("feature, threshold and left have an entry for every node, and there are features")
        if not all(0 <= root < count for root in self.roots):
            raise ValueError("roots are numbers of nodes")
        for node, (feature, left) in enumerate(zip(self.feature, self.left, strict=True)):
            if feature == LEAF:
                continue
            if not 0 <= feature < len(self.features) or not node < left < count - 1:
                raise ValueError(f"node {node} reads a feature that is not there, or leads backwards or nowhere")
        return self

    @property
    def depth(self) -> int:
        """The most splits between a root and a leaf."""
        depths = [0] * len(self.feature)
        for node in range(len(self.feature) - 1, -1, -1):
            if self.feature[node] != LEAF:
                depths[node] = 1 + max(depths[self.left[node]], depths[self.left[node] + 1])
        return max((depths[root] for root in self.roots), default=0)

    def log_odds(self, row: NDArray[np.float64]) -> float:
        """The score of one row of features."""
        arrays = self._arrays
        nodes = arrays.roots
        for _ in range(arrays.depth):
            feature = arrays.feature[nodes]
            nodes = np.where(feature == LEAF, nodes, arrays.left[nodes] + (row[feature] > arrays.threshold[nodes]))
        return self.base + float(arrays.threshold[nodes].sum())

    def probability(self, row: NDArray[np.float64]) -> float:
        """The same as a probability."""
        return float(0.5 * (1.0 + np.tanh(0.5 * self.log_odds(row))))

    @cached_property
    def _arrays(self) -> "_Arrays":
        return _Arrays(self)


class _Arrays:
    """The numbers as arrays."""

    def __init__(self, trees: BoostedTrees) -> None:
        self.roots = np.array(trees.roots, dtype=np.intp)
        self.feature = np.array(trees.feature, dtype=np.intp)
        self.threshold = np.array(trees.threshold, dtype=np.float64)
        self.left = np.array(trees.left, dtype=np.intp)
        self.depth = trees.depth
