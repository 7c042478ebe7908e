"""Questions that are too similar: by their words within a set, by their meaning between its splits."""

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

SIMILAR_SHARE = 0.9  # of the words of two questions: long ones that differ in one word or two
SAME_MEANING_COSINE = 0.95  # cosine of MiniLM; different questions of techcorp/v1 reach .76
BLOCK = 1000  # rows compared at a time

Token = tuple[str, int]  # a word and which of its occurrences in the question it is


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """Two cases and how similar their questions are."""

    first: Case
    second: Case
    similarity: float  # 1: the same


def related(first: Case, second: Case) -> bool:
    """Whether two cases are of one group, and so in one split."""
    return bool(first.group) and first.group == second.group


def same_words(cases: Sequence[Case]) -> Iterator[SimilarPair]:
    """Questions with the same words in the same order, each with the first of them."""
    first: dict[tuple[str, ...], Case] = {}
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for case in cases:
        text = question_words(case)
        if text in first and not (case.group and case.group in groups[text]):
            yield SimilarPair(first[text], case, 1.0)
        first.setdefault(text, case)
        groups[text].add(case.group)


def question_words(case: Case) -> tuple[str, ...]:
    """The words of the question and of those before it, case-folded; the questions themselves where they have none."""
    said = " / ".join([*(turn.question for turn in case.history), case.question])  # a follow-up is told by what it follows
    return tuple(words(said)) or (said,)


def similar_words(cases: Sequence[Case], share: float = SIMILAR_SHARE) -> Iterator[SimilarPair]:
    """Questions that share most words and every number, in any order, each with the first similar one.

    Exact without comparing every pair: questions that share that much have one of their rarest words in common, so only
    questions with a rare word in common are compared. One pair for each, since thousands of one form would make millions of pairs.
    """
    cases = list({question_words(case): case for case in reversed(cases)}.values())[::-1]  # the first of those with the same words
    texts = [question_words(case) for case in cases]
    tokens = [_tokens(text) for text in texts]
    counts = Counter(token for question in tokens for token in question)
    by_rare_word: dict[tuple[Token, tuple[str, ...]], list[int]] = defaultdict(list)
    for index, question in enumerate(tokens):
        numbers = tuple(sorted(word for word in texts[index] if any(letter.isdigit() for letter in word)))
        rarest = sorted(question, key=lambda token: (counts[token], token))
        candidates = [by_rare_word[token, numbers] for token in rarest[: len(rarest) - math.ceil(share * len(rarest) - 1e-9) + 1]]
        for other, _ in groupby(merge(*candidates)):  # in the order of the set, each once
            if related(cases[other], cases[index]):
                continue
            common = len(question & tokens[other])
            similarity = common / (len(question) + len(tokens[other]) - common)
            if similarity >= share:
                yield SimilarPair(cases[other], cases[index], similarity)
                break
        for indexes in candidates:
            indexes.append(index)


def _tokens(text: Sequence[str]) -> frozenset[Token]:
    counts: Counter[str] = Counter()
    tokens: list[Token] = []
    for word in text:
        counts[word] += 1
        tokens.append((word, counts[word]))
    return frozenset(tokens)


def split_leaks(golden: GoldenSet, vectors: Vectors, alike: float = SAME_MEANING_COSINE) -> list[SimilarPair]:
    """Questions of the holdout that the tune split asks too, each with the most similar one, the most similar first.

    `vectors` are the questions', in the set's order.
    """
    cases = golden.cases
    in_holdout = np.array([golden.split_of(case) == "holdout" for case in cases])
    tune_rows, holdout_rows = np.flatnonzero(~in_holdout), np.flatnonzero(in_holdout)
    pairs: list[SimilarPair] = []
    for begin in range(0, len(holdout_rows), BLOCK):
        block = holdout_rows[begin : begin + BLOCK]
        similarity = vectors[tune_rows] @ vectors[block].T
        for column in np.flatnonzero((similarity >= alike).any(axis=0)):
            second = cases[block[column]]
            rows = np.flatnonzero(similarity[:, column] >= alike)
            for row in rows[np.argsort(-similarity[rows, column], kind="stable")]:
                first = cases[tune_rows[row]]
                if not related(first, second):
                    pairs.append(SimilarPair(first, second, min(1.0, float(similarity[row, column]))))
                    break
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first.id, pair.second.id))
