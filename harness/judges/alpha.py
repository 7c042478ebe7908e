"""Krippendorff's alpha: agreement of any number of raters beyond chance, with ratings missing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: Sequence[Sequence[int | None]], level: Level) -> float | None:
    """Alpha of raters (rows) over units (columns), whose values are whole numbers from 0; `None` where all paired ratings are the same.

    A unit that fewer than two raters rated pairs with nothing and is left out.
    """
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    paired = [unit for unit in units if len(unit) >= 2]
    size = max((value for unit in paired for value in unit), default=0) + 1
    coincidences = np.zeros((size, size))
    for unit in paired:
        counts = np.bincount(unit, minlength=size)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = coincidences.sum(axis=1)
    distances = _squared_distances(totals, level)
    expected = float(totals @ distances @ totals)
    if expected == 0:
        return None
    observed = float((coincidences * distances).sum())
    return 1 - (float(totals.sum()) - 1) * observed / expected


def _squared_distances(totals: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """How far each value is from each other one; ordinal ones by how many ratings lie between them."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    places = np.cumsum(totals) - totals / 2 if level == "ordinal" else np.arange(len(totals), dtype=np.float64)
    return np.square(places[:, None] - places[None, :])
