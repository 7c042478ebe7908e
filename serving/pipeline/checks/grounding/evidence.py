"""The words of passages held against the words of a claim."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from serving.pipeline.checks.grounding.opposites import opposed
from serving.pipeline.checks.grounding.terms import Term, folded, terms
from serving.pipeline.text.sentences import sentences
from serving.pipeline.text.stems import stem

WINDOW: Final = 12  # sentences in a row that may support one claim together
_YEAR: Final = re.compile(r"1\d\d\d|20\d\d")
_NAMED: Final = re.compile(r"\b[A-Z][\w'-]*(?:\s+(?:of\s+|and\s+|for\s+|the\s+)?[A-Z][\w'-]*){1,5}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the passages."""

    text: str
    passage: int  # which of the passages it stands in
    terms: tuple[Term, ...]
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Lexical:
    """What the words say: how much of a claim is written, what of it is not, what is denied."""

    best: float  # share of the claim's terms in the one sentence nearest to it
    window: float  # … in the best run of sentences
    whole: float  # … anywhere
    numbers: tuple[str, ...]  # of the claim, written nowhere
    names: tuple[str, ...]  # names and codes of the claim, written nowhere
    astray: tuple[str, ...]  # numbers that are written, but beside nothing they stand beside in the claim
    denied: tuple[str, ...]  # terms that claim and nearest sentence take in opposite senses
    nearest: int  # index of the nearest sentence
    ranking: tuple[int, ...]  # sentences that share a term, the nearest first


@lru_cache(maxsize=256)
def read(passages: tuple[str, ...]) -> tuple[Sentence, ...]:
    """The sentences of the passages, read once."""
    return tuple(_sentence(text[start:end], number) for number, text in enumerate(passages) for start, end in sentences(text))


def _sentence(text: str, passage: int) -> Sentence:
    found = terms(text)
    stems = frozenset(term.stem for term in found) | initials(text)
    return Sentence(text, passage, found, stems, frozenset(neighbours(found)))


def initials(text: str) -> frozenset[str]:
    """The short forms that the names of a text could have: dpo for Data Protection Officer."""
    found: set[str] = set()
    for match in _NAMED.finditer(text[:2000]):
        capitals = [word[0].casefold() for word in match.group().split() if word[0].isupper()]
        found |= {"".join(capitals[start:end]) for start in range(len(capitals)) for end in range(start + 2, len(capitals) + 1)}
    return frozenset(found)


def neighbours(found: Sequence[Term]) -> Iterable[tuple[str, str]]:
    """Every number with each term at most two places from it; units and months may stand elsewhere, as in a table's header."""
    for at, term in enumerate(found):
        if term.stem[:1].isdigit():
            for other in (*found[max(0, at - 2) : at], *found[at + 1 : at + 3]):
                yield term.stem, other.stem


def resembles(name: str, other: str) -> bool:
    """Whether two names may be forms of one: Libya and Libyan, Nazi and Nazism."""
    shared = next((at for at, (one, two) in enumerate(zip(name, other, strict=False)) if one != two), min(len(name), len(other)))
    return shared >= 5 or (shared >= 4 and shared == min(len(name), len(other)) and abs(len(name) - len(other)) <= 2)


def weigh_claim(text: str, written: Sequence[Sentence]) -> Lexical:
    """Hold a claim against sentences."""
    claim = terms(text)
    bit = {name: 1 << place for place, name in enumerate(dict.fromkeys(term.stem for term in claim))}
    masks = [_mask(bit, sentence.stems) for sentence in written]
    whole = 0
    for mask in masks:
        whole |= mask
    size = max(1, len(bit))
    ranking = sorted((at for at, mask in enumerate(masks) if mask), key=lambda at: (-masks[at].bit_count(), len(written[at].stems), at))
    window = 0
    for at in range(len(masks)):
        here = 0
        for mask in masks[at : at + WINDOW]:
            here |= mask
        window = max(window, here.bit_count())
    pairs = {pair for sentence in written for pair in sentence.pairs}
    missing = {name for name, place in bit.items() if not place & whole}
    near = ranking[0] if ranking else 0
    return Lexical(
        best=masks[near].bit_count() / size if masks else 0.0,
        window=window / size,
        whole=whole.bit_count() / size,
        numbers=_of_kind(claim, missing, "number"),
        names=_names(text, claim, missing, frozenset().union(*(sentence.stems for sentence in written))),
        astray=_astray(claim, missing, pairs),
        denied=_denied(claim, written[near]) if ranking else (),
        nearest=near,
        ranking=tuple(ranking),
    )


def _mask(bit: dict[str, int], stems: frozenset[str]) -> int:
    return sum(place for name, place in bit.items() if name in stems)


def _of_kind(claim: Sequence[Term], missing: set[str], *kinds: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.stem for term in claim if term.kind in kinds and term.stem in missing))


def _names(text: str, claim: Sequence[Term], missing: set[str], stems: frozenset[str]) -> tuple[str, ...]:
    """Codes written nowhere, and names of which no form and no short form is written."""
    short = {stem(word) for run in _NAMED.findall(text[:2000]) if initials(run) & stems for word in folded(run).casefold().split()}
    names = (name for name in _of_kind(claim, missing, "name") if name not in short)
    open_names = [name for name in names if not any(resembles(name, other) for other in stems)]
    return (*_of_kind(claim, missing, "code"), *open_names)


def _astray(claim: Sequence[Term], missing: set[str], written: set[tuple[str, str]]) -> tuple[str, ...]:
    """Numbers that stand beside other words than in the claim: "30 weeks", where there are 30 days and 6 weeks."""
    found: dict[str, bool] = {}
    for at, term in enumerate(claim):
        if not term.stem[:1].isdigit() or term.stem in missing:
            continue
        unit = claim[at + 1 : at + 2]
        others = unit if unit and unit[0].kind == "word" and not _YEAR.fullmatch(term.stem) else (*claim[max(0, at - 2) : at], *unit)
        known = [other.stem for other in others if other.stem not in missing]
        if known:
            found[term.stem] = found.get(term.stem, False) or any((term.stem, other) in written for other in known)
    return tuple(number for number, beside in found.items() if not beside)


def _denied(claim: Sequence[Term], near: Sentence) -> tuple[str, ...]:
    said = {term.stem: term.denied for term in claim if term.kind == "word"}
    written: dict[str, set[bool]] = {}
    for term in near.terms:
        written.setdefault(term.stem, set()).add(term.denied)
    flipped = [name for name, denied in said.items() if name in written and denied not in written[name]]
    return (*flipped, *opposed(frozenset(said), frozenset(written)))
