"""Questions that are too much alike: by their words within a set, by their meaning between its splits."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby

import numpy as np

from harness.golden.case import Case
from harness.golden.sets import GoldenSet
from serving.pipeline.index.base import Vectors
from serving.pipeline.text.answer_words import words

SHARED_WORDS = 0.9  # of all words that either question has: two long questions that differ in one word, or a word more
SAME_MEANING = 0.95  # cosine of MiniLM; different questions of techcorp/v1 reach .76
BLOCK = 1000  # rows compared at a time

Token = tuple[str, int]  # a word and which of its occurrences in the question it is


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two cases and how alike they are, 1 being the same."""

    first: Case
    second: Case
    alike: float


def related(first: Case, second: Case) -> bool:
    """Whether two cases are known to ask the same, and so never part."""
    return bool(first.group) and first.group == second.group


def same_words(cases: Sequence[Case]) -> Iterator[AlikePair]:
    """Questions of the same words in the same order: each with the first that asks so."""
    first: dict[tuple[str, ...], Case] = {}
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for case in cases:
        text = asked(case)
        if text in first and not (case.group and case.group in groups[text]):
            yield AlikePair(first[text], case, 1.0)
        first.setdefault(text, case)
        groups[text].add(case.group)


def asked(case: Case) -> tuple[str, ...]:
    """The question as its words, folded; as it stands where it has none."""
    return tuple(words(case.question)) or (case.question,)


def similar_words(cases: Sequence[Case], share: float = SHARED_WORDS) -> Iterator[AlikePair]:
    """Questions that share most words and every number, though not all in order: each with the first that is so much like it.

    Exact, and without comparing every pair: two sets that share so much have one of their rarest words in common, so only
    those questions are compared that meet in one. One pair for each, since thousands of one form would make millions of pairs.
    """
    cases = list({asked(case): case for case in reversed(cases)}.values())[::-1]  # the first of those that ask the same word for word
    texts = [asked(case) for case in cases]
    tokens = [_tokens(text) for text in texts]
    counts = Counter(token for one in tokens for token in one)
    meeting: dict[tuple[Token, tuple[str, ...]], list[int]] = defaultdict(list)
    for index, one in enumerate(tokens):
        numbers = tuple(sorted(word for word in texts[index] if any(letter.isdigit() for letter in word)))
        rarest = sorted(one, key=lambda token: (counts[token], token))
        met = [meeting[token, numbers] for token in rarest[: len(rarest) - math.ceil(share * len(rarest) - 1e-9) + 1]]
        for other, _ in groupby(merge(*met)):  # in the order of the set, each once
            if related(cases[other], cases[index]):
                continue
            common = len(one & tokens[other])
            alike = common / (len(one) + len(tokens[other]) - common)
            if alike >= share:
                yield AlikePair(cases[other], cases[index], alike)
                break
        for places in met:
            places.append(index)


def _tokens(text: Sequence[str]) -> frozenset[Token]:
    seen: Counter[str] = Counter()
    found: list[Token] = []
    for word in text:
        seen[word] += 1
        found.append((word, seen[word]))
    return frozenset(found)


def leaks(golden: GoldenSet, vectors: Vectors, alike: float = SAME_MEANING) -> list[AlikePair]:
    """Questions of the holdout that the tune split asks too, each with the one most like it, most alike first.

    `vectors` are the questions', in the set's order.
    """
    cases = golden.cases
    held = np.array([golden.split_of(case) == "holdout" for case in cases])
    tune_rows, held_rows = np.flatnonzero(~held), np.flatnonzero(held)
    found: list[AlikePair] = []
    for begin in range(0, len(held_rows), BLOCK):
        block = held_rows[begin : begin + BLOCK]
        similarity = vectors[tune_rows] @ vectors[block].T
        for column in np.flatnonzero((similarity >= alike).any(axis=0)):
            second = cases[block[column]]
            rows = np.flatnonzero(similarity[:, column] >= alike)
            for row in rows[np.argsort(-similarity[rows, column], kind="stable")]:
                first = cases[tune_rows[row]]
                if not related(first, second):
                    found.append(AlikePair(first, second, min(1.0, float(similarity[row, column]))))
                    break
    return sorted(found, key=lambda pair: (-pair.alike, pair.first.id, pair.second.id))
