"""Cases that are not independent: one value for each cluster of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def cluster_sums(values: Numbers, clusters: Sequence[str] | None) -> Numbers:
    """The sum of each cluster's values, clusters in the order of their first case; without clusters the values themselves."""
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters were named for {len(values)} values.")
    places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.bincount([places[name] for name in clusters], weights=values, minlength=len(places)).astype(np.float64)


def cluster_sizes(count: int, clusters: Sequence[str] | None) -> Numbers:
    """How many values each cluster has, in the same order."""
    return cluster_sums(np.ones(count), clusters)


def pseudo_values(values: Numbers, clusters: Sequence[str] | None) -> Numbers:
    """A value for each cluster, with the mean of all values and the spread that its mean has between such samples of clusters."""
    if clusters is None or len(set(clusters)) == len(values):
        return values
    mean = float(values.mean())
    pulls = cluster_sums(values - mean, clusters)  # what each cluster adds to the mean's error
    return mean + pulls * (len(pulls) / len(values))
