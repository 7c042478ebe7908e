"""Snippets: the part of a passage that supports the answer, or that matches the question."""

from typing import Final

from serving.pipeline.answer.cite import marker_spans
from serving.pipeline.text.sentences import sentences
from serving.pipeline.text.stopwords import STOP_WORDS
from serving.pipeline.text.words import WORD

LONGEST: Final = 240  # characters
CLAIM: Final = 400  # characters before a marker in which its claim stands


def snippet(text: str, wanted: frozenset[str], most: int = LONGEST) -> str:
    """An exact slice of a text: the sentence with most of some words, and what follows it as far as there is room."""
    if len(text) <= most:
        return text
    spans = list(sentences(text)) or [(0, len(text))]
    best = max(range(len(spans)), key=lambda place: len(wanted & content_words(text[slice(*spans[place])])))
    start, end = spans[best]
    if end - start > most:
        return _window(text, start, end, wanted, most)
    for _, next_end in spans[best + 1 :]:
        if next_end - start > most:
            break
        end = next_end
    return text[start:end]


def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry meaning."""
    return frozenset(word for word in WORD.findall(text.casefold()) if word not in STOP_WORDS)


def claims_by_marker(answer: str) -> dict[int, frozenset[str]]:
    """The words of the sentences that cite each passage."""
    claims: dict[int, frozenset[str]] = {}
    for bracket in marker_spans(answer):
        before = answer[max(0, bracket.start - CLAIM) : bracket.start]
        spans = list(sentences(before))
        words = content_words(before[slice(*spans[-1])]) if spans else frozenset[str]()
        for number in bracket.numbers:
            claims[number] = claims.get(number, frozenset()) | words
    return claims


def _window(text: str, start: int, end: int, wanted: frozenset[str], most: int) -> str:
    """A part of a long sentence or table row, cut between words, in which the first wanted word stands."""
    found = next((match.start() for match in WORD.finditer(text, start, end) if match[0].casefold() in wanted), start)
    first = max(start, found - most // 3)
    first = text.find(" ", first, end) + 1 if first > start and text.find(" ", first, min(end, first + 40)) >= 0 else first
    last = min(end, first + most)
    cut = text.rfind(" ", first + most // 2, last) if last < end else -1
    return text[first : cut if cut > 0 else last]
