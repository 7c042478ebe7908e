"""Whether a cached answer and a fresh one agree."""

from typing import Final

from serving.pipeline.checks.grounding.terms import Term, parse_terms
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Answer

ALIKE: Final = 0.6  # of the answers' vectors, from which other sources may say the same
APART: Final = 0.3  # below it they say different things whatever they cite


def disagreement_of(cached: Answer, fresh: Answer, similarity: float | None = None) -> str:
    """Why they disagree; empty where they do not. `similarity` is that of the two texts' vectors.

    They do where only one refuses, where each has numbers or codes that the other lacks and half of them at most are common, where one
    denies what the other says, or where they cite no document in common (or none at all) and are not alike either. One that only says
    more agrees.
    """
    if cached.refused != fresh.refused:
        return "one of them refuses"
    if cached.refused or cached.text == fresh.text:
        return ""
    one, two = parse_terms(without_citations(cached.text)), parse_terms(without_citations(fresh.text))
    figures, others = _figures(one), _figures(two)
    if figures - others and others - figures and len(figures & others) <= min(len(figures), len(others)) / 2:
        return "other numbers or codes"
    if _denied(one) & _asserted(two) or _denied(two) & _asserted(one):
        return "one denies what the other says"
    if similarity is not None and similarity < APART:
        return "other words"
    sources = {citation.span.document_id for citation in cached.citations} & {citation.span.document_id for citation in fresh.citations}
    if not sources and (similarity is None or similarity < ALIKE):
        return "other sources and other words"
    return ""


def _figures(terms: tuple[Term, ...]) -> set[str]:
    return {term.stem for term in terms if term.kind in ("number", "code")}


def _asserted(terms: tuple[Term, ...]) -> set[str]:
    return {term.stem for term in terms if not term.denied} - {term.stem for term in terms if term.denied}


def _denied(terms: tuple[Term, ...]) -> set[str]:
    return {term.stem for term in terms if term.denied} - {term.stem for term in terms if not term.denied}
