"""Compares the words of a claim with those of passages."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from serving.pipeline.checks.grounding.opposites import opposites_of
from serving.pipeline.checks.grounding.terms import Term, folded, parse_terms
from serving.pipeline.text.sentences import sentences
from serving.pipeline.text.stems import stem

WINDOW: Final = 12  # sentences in a row that may support one claim together
_YEAR: Final = re.compile(r"1\d\d\d|20\d\d")
_NAMED: Final = re.compile(r"\b[A-Z][\w'-]{0,30}(?:\s{1,4}(?:of\s{1,4}|and\s{1,4}|for\s{1,4}|the\s{1,4})?[A-Z][\w'-]{0,30}){1,5}")


@dataclass(frozen=True, slots=True)
class PassageSentence:
    """One sentence of the passages."""

    text: str
    passage: int  # which of the passages it stands in
    terms: tuple[Term, ...]
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LexicalEvidence:
    """The lexical comparison of a claim: how much of it the passages contain, what is missing, what they contradict."""

    best: float  # share of the claim's terms in the one sentence nearest to it
    window: float  # … in the best run of sentences
    whole: float  # … anywhere
    numbers: tuple[str, ...]  # of the claim, in no passage
    names: tuple[str, ...]  # names and codes of the claim, in no passage
    misplaced: tuple[str, ...]  # numbers that the passages contain only beside other words than the claim
    denied: tuple[str, ...]  # terms that are negated in the claim or in the nearest sentence alone
    nearest: int  # index of the nearest sentence
    ranking: tuple[int, ...]  # sentences that share a term, the nearest first


@lru_cache(maxsize=256)
def parse_passages(passages: tuple[str, ...]) -> tuple[PassageSentence, ...]:
    """The parsed sentences of the passages, cached."""
    return tuple(_sentence(text[start:end], number) for number, text in enumerate(passages) for start, end in sentences(text))


def _sentence(text: str, passage: int) -> PassageSentence:
    sentence_terms = parse_terms(text)
    stems = frozenset(term.stem for term in sentence_terms) | initials(text)
    return PassageSentence(text, passage, sentence_terms, stems, frozenset(number_neighbours(sentence_terms)))


def initials(text: str) -> frozenset[str]:
    """The short forms that the names of a text could have: dpo for Data Protection Officer."""
    short_forms: set[str] = set()
    for match in _NAMED.finditer(text[:2000]):
        capitals = [word[0].casefold() for word in match.group().split() if word[0].isupper()]
        short_forms |= {"".join(capitals[start:end]) for start in range(len(capitals)) for end in range(start + 2, len(capitals) + 1)}
    return frozenset(short_forms)


def number_neighbours(claim_terms: Sequence[Term]) -> Iterable[tuple[str, str]]:
    """Every number with each term at most two places from it; units and months may stand elsewhere, as in a table's header."""
    for position, term in enumerate(claim_terms):
        if term.stem[:1].isdigit():
            for other in (*claim_terms[max(0, position - 2) : position], *claim_terms[position + 1 : position + 3]):
                yield term.stem, other.stem


def resembles(name: str, other: str) -> bool:
    """Whether two names may be forms of one: Libya and Libyan, Nazi and Nazism."""
    shared = next(
        (position for position, (first, second) in enumerate(zip(name, other, strict=False)) if first != second), min(len(name), len(other))
    )
    return shared >= 5 or (shared >= 4 and shared == min(len(name), len(other)) and abs(len(name) - len(other)) <= 2)


def compare_claim(text: str, sentences: Sequence[PassageSentence]) -> LexicalEvidence:
    """Compare a claim with sentences."""
    claim = parse_terms(text)
    bits = {name: 1 << bit for bit, name in enumerate(dict.fromkeys(term.stem for term in claim))}
    masks = [_mask(bits, sentence.stems) for sentence in sentences]
    anywhere = 0
    for mask in masks:
        anywhere |= mask
    size = max(1, len(bits))
    ranking = sorted(
        (index for index, mask in enumerate(masks) if mask),
        key=lambda index: (-masks[index].bit_count(), len(sentences[index].stems), index),
    )
    window = 0
    for index in range(len(masks)):
        run = 0
        for mask in masks[index : index + WINDOW]:
            run |= mask
        window = max(window, run.bit_count())
    pairs = {pair for sentence in sentences for pair in sentence.pairs}
    missing = {name for name, bit in bits.items() if not bit & anywhere}
    near = ranking[0] if ranking else 0
    return LexicalEvidence(
        best=masks[near].bit_count() / size if masks else 0.0,
        window=window / size,
        whole=anywhere.bit_count() / size,
        numbers=_missing_of_kind(claim, missing, "number"),
        names=_missing_names(text, claim, missing, frozenset().union(*(sentence.stems for sentence in sentences))),
        misplaced=_misplaced_numbers(claim, missing, pairs),
        denied=_contradicted(claim, sentences[near]) if ranking else (),
        nearest=near,
        ranking=tuple(ranking),
    )


def _mask(bits: dict[str, int], stems: frozenset[str]) -> int:
    return sum(bit for name, bit in bits.items() if name in stems)


def _missing_of_kind(claim: Sequence[Term], missing: set[str], *kinds: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.stem for term in claim if term.kind in kinds and term.stem in missing))


def _missing_names(text: str, claim: Sequence[Term], missing: set[str], stems: frozenset[str]) -> tuple[str, ...]:
    """Codes and names that the passages do not contain in any form."""
    short = {stem(word) for run in _NAMED.findall(text[:2000]) if initials(run) & stems for word in folded(run).casefold().split()}
    names = (name for name in _missing_of_kind(claim, missing, "name") if name not in short)
    open_names = [name for name in names if not any(resembles(name, other) for other in stems)]
    return (*_missing_of_kind(claim, missing, "code"), *open_names)


def _misplaced_numbers(claim: Sequence[Term], missing: set[str], pairs: set[tuple[str, str]]) -> tuple[str, ...]:
    """Numbers that occur only beside other words than in the claim: "30 weeks", where the passages have 30 days and 6 weeks."""
    confirmed: dict[str, bool] = {}
    for position, term in enumerate(claim):
        if not term.stem[:1].isdigit() or term.stem in missing:
            continue
        unit = claim[position + 1 : position + 2]
        neighbours = (
            unit if unit and unit[0].kind == "word" and not _YEAR.fullmatch(term.stem) else (*claim[max(0, position - 2) : position], *unit)
        )
        known = [other.stem for other in neighbours if other.stem not in missing]
        if known:
            confirmed[term.stem] = confirmed.get(term.stem, False) or any((term.stem, other) in pairs for other in known)
    return tuple(number for number, ok in confirmed.items() if not ok)


def _contradicted(claim: Sequence[Term], sentence: PassageSentence) -> tuple[str, ...]:
    claimed = {term.stem: term.denied for term in claim if term.kind == "word"}
    written: dict[str, set[bool]] = {}
    for term in sentence.terms:
        written.setdefault(term.stem, set()).add(term.denied)
    flipped = [name for name, denied in claimed.items() if name in written and denied not in written[name]]
    return (*flipped, *opposites_of(frozenset(claimed), frozenset(written)))
