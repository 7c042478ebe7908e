"""How well passages support a claim."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.evidence import Lexical, Sentence, read, weigh_claim
from serving.pipeline.checks.grounding.model import claim_features, fitted
from serving.pipeline.checks.grounding.terms import folded, terms

NEAREST: Final = 3  # sentences whose vectors together are compared with the claim's
_LONGEST: Final = 600  # characters of a text that are embedded
_MARKUP: Final = re.compile(r"[*_`#|>\s]+")


@dataclass(frozen=True, slots=True)
class Claim:
    """Something said, and the passages it is held against."""

    text: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """How probable it is that the passages support a claim, and what speaks for and against it."""

    probability: float
    grounded: bool
    verbatim: bool  # the claim stands in a passage word for word
    lexical: Lexical
    similarity: float | None  # None: it took no part
    passage: int | None  # where the nearest sentence stands
    sentence: str  # the nearest sentence

    @property
    def reason(self) -> str:
        """What is wrong with the claim, or nothing."""
        found = [
            ("not in the passages", (*self.lexical.numbers, *self.lexical.names)),
            ("contradicted", self.lexical.denied),
            ("not with these words", self.lexical.astray),
        ]
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in found if names)
        return "" if self.grounded else told or f"{self.lexical.window:.0%} of its words are in the passages"


def support(claim: str, passages: Sequence[str], embedder: SentenceEmbedder) -> Support:
    """How well passages support one claim."""
    return support_all([Claim(claim, tuple(passages))], embedder)[0]


def support_all(claims: Sequence[Claim], embedder: SentenceEmbedder) -> list[Support]:
    """The same for several claims; all that must be embedded is embedded in one call."""
    model = fitted(embedder.model)
    written = [read(claim.passages) for claim in claims]
    found = [weigh_claim(claim.text, sentences) for claim, sentences in zip(claims, written, strict=True)]
    quoted = [_quoted(claim) for claim in claims]
    ask = [model.needs_similarity and not quote and bool(lexical.ranking) for quote, lexical in zip(quoted, found, strict=True)]
    texts = [_texts(claim, *at) if wanted else [] for claim, wanted, at in zip(claims, ask, zip(found, written, strict=True), strict=True)]
    similar = similarities(texts, embedder)
    return [
        _support(lexical, sentences, quote, similarity, embedder)
        for lexical, sentences, quote, similarity in zip(found, written, quoted, similar, strict=True)
    ]


def similarities(texts: Sequence[Sequence[str]], embedder: SentenceEmbedder) -> list[float | None]:
    """For each list, the cosine of its first text with the others together; `None` for an empty list."""
    flat = list(dict.fromkeys(text for group in texts for text in group))
    place = {text: at for at, text in enumerate(flat)}
    vectors = embedder.vectors(flat)
    found: list[float | None] = []
    for group in texts:
        if len(group) < 2:
            found.append(None)
            continue
        others = vectors[[place[text] for text in group[1:]]].sum(axis=0)
        length = float(np.linalg.norm(others))
        found.append(float(vectors[place[group[0]]] @ others) / length if length else 0.0)
    return found


def _texts(claim: Claim, lexical: Lexical, written: Sequence[Sentence]) -> list[str]:
    return [claim.text[:_LONGEST], *(written[at].text[:_LONGEST] for at in lexical.ranking[:NEAREST])]


def _support(lexical: Lexical, written: Sequence[Sentence], quoted: bool, similarity: float | None, embedder: SentenceEmbedder) -> Support:
    model = fitted(embedder.model)
    probability = 1.0 if quoted else model.probability(claim_features(lexical, similarity or 0.0))
    near = written[lexical.nearest] if lexical.ranking else None
    return Support(
        probability=probability,
        grounded=probability >= model.threshold,
        verbatim=quoted,
        lexical=lexical,
        similarity=similarity,
        passage=near.passage if near else None,
        sentence=near.text if near else "",
    )


def _quoted(claim: Claim) -> bool:
    """Whether a passage holds the whole claim, word for word."""
    said = _bare(claim.text).strip(" .!?;:,\"'")
    return len(terms(claim.text)) > 1 and any(_stands(said, _bare(passage)) for passage in claim.passages)


def _stands(said: str, text: str) -> bool:
    return re.search(rf"(?<![\w.,-]){re.escape(said)}(?![\w-]|[.,:]\d)", text) is not None


def _bare(text: str) -> str:
    """Folded, without marks of emphasis and tables, one space between words."""
    return _MARKUP.sub(" ", folded(text).casefold()).strip()
