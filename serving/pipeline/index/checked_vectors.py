"""Checks the vectors that a store keeps or searches by."""

import numpy as np

from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import Vectors


def checked_vectors(vectors: Vectors, dimensions: int) -> Vectors:
    """The rows as float32, or a `StoreError` if one has no direction: LanceDB would silently find nothing for it."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimensions:
        raise StoreError(f"Vectors of {dimensions} numbers are needed, not an array of shape {rows.shape}: was the index built otherwise?")
    if not np.isfinite(rows).all() or not rows.any(axis=1).all():
        raise StoreError("A vector of zeros or with a number that is not finite has no direction to compare.")
    return rows
