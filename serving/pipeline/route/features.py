"""Cheap features of a question's complexity: each between 0 and 1, from its words and hits."""

import re
from collections.abc import Mapping, Sequence

from serving.pipeline.text.words import WHOLE_WORD
from serving.pipeline.types import Hit

MANY_WORDS = 30  # words from which a question counts as long
MANY_CLAUSES = 4
MANY_CODES = 3
HITS_COMPARED = 5  # first hits whose scores are compared

CODE = re.compile(r"\b(?=[\w-]{0,30}\d)[\w-]{1,60}\b")
YEAR = re.compile(r"\b(?:19|20)\d\d\b")
CLAUSE = re.compile(r"[,;:]\s|\b(?:because|while|if|although|given|assuming|provided)\b|(?<=\w\s)(?:which|that|when|where)\b")
ASKING = r"(?:what|which|who|whom|whose|when|where|why|how|is|are|does|do|can|could|should|must|may|will)"
PART = re.compile(rf"\?\s*(?=\w)|;\s*(?=\w)|\b(?:and|or)\s+(?:also\s+)?(?={ASKING}\b)|,\s*(?={ASKING}\b)|\bas well as\b|\band also\b")
COMPARISON = re.compile(
    r"\b(?:compar\w*|versus|vs|differ\w*|between|than|better|worse|cheaper|faster|more|less|larger|smaller|higher|lower|longer|shorter|"
    r"same|similar|instead|rather|both|either|advantages?|disadvantages?|trade-?offs?)\b"
)
AGGREGATION = re.compile(
    r"\b(?:all|every|each|list|total|sum|average|mean|median|count|overall|together|most|least|any|summari[sz]e|summary|overview|"
    r"how many|which \w+s|in total|across)\b"
)
TEMPORAL = re.compile(
    r"\b(?:current|currently|latest|newest|previous|previously|former|superseded|since|until|before|after|during|still|now|no longer|"
    r"as of|last|next|change[sd]?|history|effective|version|valid|expire[sd]?|deadline)\b"
)
NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|except|excluding|unless|besides|cannot|\w+n['’]t)\b")
REASONING = re.compile(r"\b(?:why|explain|reason\w*|cause[sd]?|impl(?:y|ies)|consequences?|affect\w*|happens?|depend\w*|justif\w*)\b")


def features(text: str, hits: Sequence[Hit]) -> Mapping[str, float]:
    """Every feature by name; deterministic on every machine."""
    lower = text.casefold()
    return {
        "words": _share(len(WHOLE_WORD.findall(lower)), MANY_WORDS),
        "clauses": _share(len(CLAUSE.findall(lower)), MANY_CLAUSES),
        "multi_part": _share(count_questions(text) - 1, 2),
        "comparison": _share(len(set(COMPARISON.findall(lower))), 2),
        "aggregation": _share(len(set(AGGREGATION.findall(lower))), 2),
        "temporal": _share(len(set(TEMPORAL.findall(lower)) | set(YEAR.findall(lower))), 2),
        "negation": _share(len(NEGATION.findall(lower)), 2),
        "reasoning": _share(len(set(REASONING.findall(lower))), 2),
        "codes": _share(len(CODE.findall(YEAR.sub("", lower))), MANY_CODES),
        "flatness": flatness(hits),
    }


def count_questions(text: str) -> int:
    """How many questions are asked in one; at least one."""
    return 1 + len(PART.findall(text.casefold().strip().rstrip("?!. ")))


def flatness(hits: Sequence[Hit]) -> float:
    """1 when the first hits scored the same, so that none stands out as the answer; 0 when the first stands alone."""
    scores = [max(hit.score, 0.0) for hit in hits[:HITS_COMPARED]]
    if len(scores) < 2 or scores[0] <= 0.0:
        return 0.0
    return _share(sum(scores[1:]) / (len(scores) - 1), scores[0])


def domain_shares(hits: Sequence[Hit]) -> Mapping[str, float]:
    """The share of each domain in the hits' scores; hits without any score count equally."""
    weights = [max(hit.score, 0.0) for hit in hits]
    if not any(weights):
        weights = [1.0] * len(hits)
    shares: dict[str, float] = {}
    for hit, weight in zip(hits, weights, strict=True):
        shares[hit.chunk.domain] = shares.get(hit.chunk.domain, 0.0) + weight / sum(weights)
    return dict(sorted(shares.items()))


def _share(amount: float, full: float) -> float:
    return round(min(max(amount / full, 0.0), 1.0), 6)
