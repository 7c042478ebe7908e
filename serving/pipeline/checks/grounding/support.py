"""Scores how well passages support a claim."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.evidence import LexicalEvidence, PassageSentence, compare_claim, parse_passages
from serving.pipeline.checks.grounding.model import claim_features, model_for
from serving.pipeline.checks.grounding.terms import folded, parse_terms

NEAREST: Final = 3  # sentences whose vectors together are compared with the claim's
_LONGEST: Final = 600  # characters of a text that are embedded
_MARKUP: Final = re.compile(r"[*_`#|>\s]+")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and the passages to compare it with."""

    text: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """The probability that the passages support a claim, and the evidence for and against."""

    probability: float
    grounded: bool
    verbatim: bool  # a passage contains the claim word for word
    lexical: LexicalEvidence
    similarity: float | None  # None: it took no part
    passage: int | None  # index of the passage with the nearest sentence
    sentence: str  # the nearest sentence

    @property
    def reason(self) -> str:
        """What is wrong with the claim, or nothing."""
        problems = [
            ("not in the passages", (*self.lexical.numbers, *self.lexical.names)),
            ("contradicted", self.lexical.denied),
            ("not with these words", self.lexical.misplaced),
        ]
        problems_text = "; ".join(f"{problem}: {', '.join(terms_concerned)}" for problem, terms_concerned in problems if terms_concerned)
        return "" if self.grounded else problems_text or f"{self.lexical.window:.0%} of its words are in the passages"


def support(claim: str, passages: Sequence[str], embedder: SentenceEmbedder) -> Support:
    """How well passages support one claim."""
    return support_all([Claim(claim, tuple(passages))], embedder)[0]


def support_all(claims: Sequence[Claim], embedder: SentenceEmbedder) -> list[Support]:
    """How well passages support several claims; all texts are embedded in one call."""
    model = model_for(embedder.model)
    parsed = [parse_passages(claim.passages) for claim in claims]
    evidence = [compare_claim(claim.text, sentences) for claim, sentences in zip(claims, parsed, strict=True)]
    quoted = [_is_quoted(claim) for claim in claims]
    needs_vectors = [
        model.needs_similarity and not quote and bool(lexical.ranking) for quote, lexical in zip(quoted, evidence, strict=True)
    ]
    texts = [
        _texts_to_embed(claim, *compared) if needed else []
        for claim, needed, compared in zip(claims, needs_vectors, zip(evidence, parsed, strict=True), strict=True)
    ]
    cosines = similarities(texts, embedder)
    return [
        _support(lexical, sentences, quote, similarity, embedder)
        for lexical, sentences, quote, similarity in zip(evidence, parsed, quoted, cosines, strict=True)
    ]


def similarities(texts: Sequence[Sequence[str]], embedder: SentenceEmbedder) -> list[float | None]:
    """For each list, the cosine of its first text with the others together; `None` for an empty list."""
    flat = list(dict.fromkeys(text for group in texts for text in group))
    row = {text: row_number for row_number, text in enumerate(flat)}
    vectors = embedder.vectors(flat)
    cosines: list[float | None] = []
    for group in texts:
        if len(group) < 2:
            cosines.append(None)
            continue
        others = vectors[[row[text] for text in group[1:]]].sum(axis=0)
        length = float(np.linalg.norm(others))
        cosines.append(float(vectors[row[group[0]]] @ others) / length if length else 0.0)
    return cosines


def _texts_to_embed(claim: Claim, lexical: LexicalEvidence, sentences: Sequence[PassageSentence]) -> list[str]:
    return [claim.text[:_LONGEST], *(sentences[index].text[:_LONGEST] for index in lexical.ranking[:NEAREST])]


def _support(
    lexical: LexicalEvidence, sentences: Sequence[PassageSentence], quoted: bool, similarity: float | None, embedder: SentenceEmbedder
) -> Support:
    model = model_for(embedder.model)
    probability = 1.0 if quoted else model.probability(claim_features(lexical, similarity or 0.0))
    nearest = sentences[lexical.nearest] if lexical.ranking else None
    return Support(
        probability=probability,
        grounded=probability >= model.threshold,
        verbatim=quoted,
        lexical=lexical,
        similarity=similarity,
        passage=nearest.passage if nearest else None,
        sentence=nearest.text if nearest else "",
    )


def _is_quoted(claim: Claim) -> bool:
    """Whether a passage holds the whole claim, word for word."""
    phrase = _without_markup(claim.text).strip(" .!?;:,\"'")
    return len(parse_terms(claim.text)) > 1 and any(_contains_phrase(phrase, _without_markup(passage)) for passage in claim.passages)


def _contains_phrase(phrase: str, text: str) -> bool:
    return re.search(rf"(?<![\w.,-]){re.escape(phrase)}(?![\w-]|[.,:]\d)", text) is not None


def _without_markup(text: str) -> str:
    """Folded, without marks of emphasis and tables, one space between words."""
    return _MARKUP.sub(" ", folded(text).casefold()).strip()
