"""Questions as the models of a router read them, with what each of two tiers made of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from harness.calibrate.route.outcomes import Outcomes
from harness.stats.clusters import Numbers
from serving.pipeline.index.base import Vectors
from serving.pipeline.route.gain import RoutedQuestion
from serving.pipeline.route.signals import NAMES, signals

Indexes = npt.NDArray[np.int64]
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Training:
    """The questions with their vectors and signals, the quality of both tiers' answers, and the group of each question."""

    texts: tuple[str, ...]
    vectors: Vectors
    signals: Numbers  # a row for each question, in the order of `NAMES`
    cheap: Numbers
    dear: Numbers
    groups: tuple[str, ...]
    embedder: str

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def gains(self) -> Numbers:
        """What the dear tier is better by."""
        return self.dear - self.cheap

    def take(self, indexes: Sequence[int] | Indexes) -> "Training":
        """Some of them."""
        places = np.asarray(indexes, dtype=np.int64)
        return Training(
            tuple(self.texts[place] for place in places),
            self.vectors[places],
            self.signals[places],
            self.cheap[places],
            self.dear[places],
            tuple(self.groups[place] for place in places),
            self.embedder,
        )

    def asked(self) -> Iterator[RoutedQuestion]:
        """Each question as a router reads it."""
        for text, vector, found in zip(self.texts, self.vectors, self.signals, strict=True):
            yield RoutedQuestion(text, vector if vector.any() else None, dict(zip(NAMES, found.tolist(), strict=True)))

    def folds(self, count: int = FOLDS) -> list[tuple[Indexes, Indexes]]:
        """Which questions are fitted on and which are scored, fold by fold; groups stay whole."""
        digests = [blake2b(f"fold {group}".encode(), digest_size=6).digest() for group in self.groups]
        place = np.array([int.from_bytes(digest, "big") % count for digest in digests])
        parts = [(np.flatnonzero(place != fold), np.flatnonzero(place == fold)) for fold in range(count)]
        return [(fitted, scored) for fitted, scored in parts if len(fitted) and len(scored)]


def training_of(outcomes: Outcomes, embedder: str, embed: Callable[[Sequence[str]], Vectors]) -> Training:
    """The outcomes with their vectors and signals."""
    rows = outcomes.rows
    texts = tuple(row.question.strip() for row in rows)
    found = [signals(text, row.hits) for text, row in zip(texts, rows, strict=True)]
    return Training(
        texts,
        embed(texts),
        np.array([[one[name] for name in NAMES] for one in found]),
        np.array([row.cheap for row in rows]),
        np.array([row.dear for row in rows]),
        tuple(row.group or f"\0{place}" for place, row in enumerate(rows)),
        embedder,
    )
