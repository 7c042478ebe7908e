"""How surely a text gives orders to the model that reads it: the most certain of its sentences."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.injection.features import TextContext, order_features, place_features
from serving.pipeline.checks.injection.model import OrderModel, model_for, needs_vectors, probability
from serving.pipeline.checks.injection.patterns import matching_kinds
from serving.pipeline.checks.injection.sentences import Sentence, split
from serving.pipeline.index.base import Vectors

CANDIDATES: Final = 6  # sentences of a text whose vectors are made
MOST_ORDERS: Final = 8  # that are cut out of one passage; one with more is not read at all
CUT: Final = "[…]"
LEAST_STORED: Final = 0.0001
WORTH_A_VECTOR: Final = -3.0  # log-odds by words alone, below which no vector is made
DIRECT_KINDS: Final = frozenset({"override", "role", "secrecy"})  # patterns that mean an order in a question, too
CUES: Final = (
    *("first_generate", "first_alter", "first_act", "first_override", "first_question", "first_modal", "asks", "has_yours", "has_model"),
    *("speaker", "has_override", "has_instruction"),
)  # a sentence with none of them is no request


@dataclass(frozen=True, slots=True)
class SuspectSentence:
    """A sentence that asks something of somebody, with its features."""

    sentence: Sentence
    features: dict[str, float]


def candidates(text: str, *, planted: bool, sentences: Iterable[Sentence] | None = None) -> Iterator[SuspectSentence]:
    """The sentences of a text that may be orders; `planted`: with what tells how they fit their surroundings."""
    around = TextContext.of(text) if planted else None
    for sentence in sentences if sentences is not None else distinct(text):
        features = order_features(sentence.plain)
        if any(features[cue] for cue in CUES):
            yield SuspectSentence(sentence, features | (place_features(sentence.plain, around, features) if around else {}))


def distinct(text: str) -> list[Sentence]:
    """The sentences of a text, each once."""
    return list({sentence.plain: sentence for sentence in reversed(list(split(text)))}.values())[::-1]


class InjectionDetector:
    """Scores questions and passages; from 0.5 on they count as orders. Takes time in proportion to the text."""

    def __init__(self, embedder: SentenceEmbedder | None = None, model: OrderModel | None = None) -> None:
        self._embedder = embedder if embedder is not None and needs_vectors(embedder.model) else None
        self._model = model or model_for(self._embedder.model if self._embedder else "")

    def in_question(self, text: str) -> Detection | None:
        """The most certain order of a question: one against the instructions that the model already has."""
        return self._best(text, False, None, DIRECT_KINDS.__contains__)

    def in_passage(self, text: str, vector: Vectors | None = None) -> Detection | None:
        """The most certain order of a passage: any sentence that speaks to the model; `vector` is that of the passage."""
        return self._best(text, True, vector, lambda kind: True)

    def without_orders(self, text: str, threshold: float) -> str:
        """A passage with a mark in place of each order; empty where orders cannot be separated from the text, or are too many."""
        cut = text
        for _ in range(MOST_ORDERS):
            found = self.in_passage(cut)
            if found is None or found.score < threshold:
                return cut if cut != text else ""
            cut = f"{cut[: found.start]}{CUT}{cut[found.end :]}"
        return ""

    def _best(self, text: str, planted: bool, vector: Vectors | None, counts: Callable[[str], bool]) -> Detection | None:
        sentences = distinct(text)
        scores = dict(self._by_model(text, list(candidates(text, planted=planted, sentences=sentences)), planted, vector))
        found = []
        for sentence in sentences:
            kinds = [kind for kind in matching_kinds(sentence.plain) if counts(kind)]
            score = max(scores.get(sentence, 0.0), 1 - 0.5 ** len(kinds))
            if score:
                name = kinds[0] if kinds else "model"
                found.append(Detection(name, text[sentence.start : sentence.end], sentence.start, sentence.end, score))
        return max(found, key=lambda one: (one.score, -one.start), default=None)

    def _by_model(self, text: str, found: Sequence[SuspectSentence], planted: bool, vector: Vectors | None) -> list[tuple[Sentence, float]]:
        """Each candidate with its probability; only those that words make likely are looked at with their vectors."""
        logits = [self._by_words(one, planted) for one in found]
        likely = sorted((place for place, logit in enumerate(logits) if logit >= WORTH_A_VECTOR), key=lambda place: -logits[place])
        if likely and self._embedder is not None:
            chosen = [found[place] for place in likely[:CANDIDATES]]
            scored = self._with_vectors(text, chosen, self._embedder, planted, vector)
            if scored:
                return scored
        return [(one.sentence, probability(logit)) for one, logit in zip(found, logits, strict=True)]

    def _by_words(self, one: SuspectSentence, planted: bool) -> float:
        direct = self._model.direct_words.logit(one.features)
        return max(direct, self._model.planted_words.logit(one.features)) if planted else direct

    def _with_vectors(
        self, text: str, chosen: Sequence[SuspectSentence], embedder: SentenceEmbedder, planted: bool, vector: Vectors | None
    ) -> list[tuple[Sentence, float]]:
        """The candidates with their probabilities; none where the vectors are not of the model that the heads were fitted with."""
        texts = [one.sentence.plain for one in chosen]
        whole = planted and vector is None
        vectors = embedder.vectors([*texts, text] if whole else texts)
        around = vectors[-1] if whole else vector
        direct, among = self._model.direct, self._model.planted
        if direct.vector is None or vectors.shape[1] != len(direct.vector) or (around is not None and around.shape != direct.vector.shape):
            return []
        scored = []
        for one, own in zip(chosen, vectors[: len(chosen)], strict=True):
            logit = direct.logit(one.features, own)
            if planted and around is not None:
                logit = max(logit, among.logit(one.features | closeness(one.features, float(np.dot(own, around))), own))
            scored.append((one.sentence, probability(logit)))
        return scored


def closeness(features: dict[str, float], similarity: float) -> dict[str, float]:
    """How near a sentence is to the whole text in meaning, above all one that asks for something."""
    asks = max(features["asks"], features["first_question"])
    return {
        "near": 2 * similarity,
        "near_request": 2 * similarity * features["request"],
        "near_question": 2 * similarity * asks,
        "near_answer": 2 * similarity * features["yours_answer"],
    }


def stored_score(found: Detection | None) -> float:
    """A score as the index stores it, never 0: 0 means that a passage was not scored."""
    return max(LEAST_STORED, round(found.score, 4) if found else 0.0)
