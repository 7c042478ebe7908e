"""Agreement of two raters beyond chance: confusion matrix, Cohen's kappa, Krippendorff's alpha, numbers per class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judges.alpha import krippendorff_alpha
from harness.stats.intervals import RESAMPLES, SEED, Interval

Counts = NDArray[np.int64]  # rows: the humans' labels; columns: the judge's


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """Precision, recall and F1 of one label; `None` where they are undefined."""

    label: str
    precision: float | None  # of what the judge gave this label
    recall: float | None  # of what the humans gave it
    f1: float | None
    count: int  # how often the humans gave it


def confusion(truth: Sequence[str], judged: Sequence[str], labels: Sequence[str]) -> Counts:
    """The confusion matrix: how often the judge gave each label for each of the humans'."""
    index_of = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for true_label, judged_label in zip(truth, judged, strict=True):
        counts[index_of[true_label], index_of[judged_label]] += 1
    return counts


def kappa(counts: Counts) -> float | None:
    """Cohen's kappa; `None` where both gave one and the same label throughout."""
    value = float(_kappas(counts[None, :, :].astype(np.float64))[0])
    return None if math.isnan(value) else value


def kappa_interval(counts: Counts) -> Interval:
    """Kappa with its 95 % bootstrap interval; samples in which kappa is undefined are left out."""
    total, value = int(counts.sum()), kappa(counts)
    if value is None:
        return Interval(None, None, None, total)
    samples = np.random.default_rng(SEED).multinomial(total, counts.ravel() / total, size=RESAMPLES)
    values = _kappas(samples.reshape(-1, *counts.shape).astype(np.float64))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high), total)


def _kappas(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa of each table, NaN where it is undefined."""
    total = np.maximum(tables.sum(axis=(1, 2)), 1)
    observed = np.trace(tables, axis1=1, axis2=2) / total
    chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1) / total**2
    defined = (chance < 1 - 1e-12) & (tables.sum(axis=(1, 2)) > 0)
    return np.where(defined, (observed - chance) / np.where(defined, 1 - chance, 1.0), np.nan)


def alpha(ratings: Sequence[Sequence[str | None]], labels: Sequence[str], *, ordered: bool) -> float | None:
    """Krippendorff's alpha of raters (rows) over cases (columns); `None` where all ratings are the same."""
    index_of = {label: index for index, label in enumerate(labels)}
    places = [[None if label is None else index_of[label] for label in row] for row in ratings]
    return krippendorff_alpha(places, "ordinal" if ordered else "nominal")


def per_class(counts: Counts, labels: Sequence[str]) -> tuple[ClassNumbers, ...]:
    """Precision, recall and F1 of each label."""
    return tuple(_class(counts, index, label) for index, label in enumerate(labels))


def _class(counts: Counts, index: int, label: str) -> ClassNumbers:
    agreed, judged, true = int(counts[index, index]), int(counts[:, index].sum()), int(counts[index, :].sum())
    f1 = 2 * agreed / (judged + true) if judged + true else None
    return ClassNumbers(label, agreed / judged if judged else None, agreed / true if true else None, f1, true)
