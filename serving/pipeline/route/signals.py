"""What a fitted router reads beside a question's vector: its words, its shape, and the shape of what was found; all between 0 and 1."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving.pipeline.fitted.logistic import Numbers
from serving.pipeline.index.base import Vectors
from serving.pipeline.route.features import HITS_COMPARED, domain_shares, features
from serving.pipeline.types import Hit

MOST_CHARACTERS = 20_000  # of a question: what comes after them is not read
LONG_TEXT = 2000  # characters from which a question counts as long
LONG_WORD = 12
MANY_LINES = 8
SIGNALS_VERSION = "1"  # raise it when a signal's value changes: coefficients are fitted to them


def signals(text: str, hits: Sequence[Hit]) -> Mapping[str, float]:
    """Every signal by name; the same on every machine."""
    read = text[:MOST_CHARACTERS]
    return {**features(read, hits), **text_shape(read), **retrieval_shape(hits)}


def text_shape(text: str) -> Mapping[str, float]:
    """How a question is written: its length, and its shares of digits, signs, capitals and lines."""
    length = max(1, len(text))
    words = text.split()
    return {
        "length": _share(math.log1p(len(text)), math.log1p(LONG_TEXT)),
        "word_length": _share(sum(map(len, words)) / max(1, len(words)), LONG_WORD),
        "digits": _share(sum(map(str.isdigit, text)), length),
        "signs": _share(sum(not (one.isalnum() or one.isspace()) for one in text), length),
        "capitals": _share(sum(map(str.isupper, text)), length),
        "lines": _share(text.count("\n"), MANY_LINES),
    }


def retrieval_shape(hits: Sequence[Hit]) -> Mapping[str, float]:
    """How sure the search was: the first hit's lead, how many searchers found the first ones, and whether one domain holds them."""
    first = hits[:HITS_COMPARED]
    scores = [max(hit.score, 0.0) for hit in first]
    lead = 1.0 - scores[1] / scores[0] if len(scores) > 1 and scores[0] > 0.0 else float(bool(scores))
    shares = domain_shares(first)
    documents = {hit.chunk.document_id for hit in first}
    return {
        "found": _share(len(first), HITS_COMPARED),
        "lead": _share(lead, 1.0),
        "agreement": _share(sum(len(hit.sources) > 1 for hit in first), max(1, len(first))),
        "one_domain": _share(max(shares.values(), default=0.0), 1.0),
        "documents": _share(len(documents), HITS_COMPARED),
    }


def row(vector: Vectors | None, width: int, found: Mapping[str, float]) -> Numbers:
    """A question as a linear model reads it: its vector (zeros where it has none), then its signals in their order."""
    head = np.zeros(width) if vector is None else np.asarray(vector, dtype=np.float64)
    return np.concatenate([head, np.array([found[name] for name in NAMES])])


def _share(amount: float, full: float) -> float:
    return round(min(max(amount / full, 0.0), 1.0), 6)


NAMES = tuple(signals("", ()))  # in their order
