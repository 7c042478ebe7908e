"""Normalises a text as answers are compared, and maps each character to its span in the original."""

import unicodedata
from dataclasses import dataclass

from serving.pipeline.text.answer_words import CITATION
from serving.pipeline.text.folding import caseless, plain_dashes


@dataclass(frozen=True, slots=True)
class OffsetText:
    """A normalised text, and for each of its characters the span of the original."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original for a non-empty span of the normalised text."""
        return self.spans[start][0], self.spans[end - 1][1]


def normalize_with_offsets(text: str) -> OffsetText:
    """`normalized(text)` with the offsets of its characters."""
    characters: list[str] = []
    spans: list[tuple[int, int]] = []
    for letter, span in _letters(text):
        for character in plain_dashes(caseless(letter)):
            if not character.isspace() or (characters and characters[-1] != " "):
                characters.append(" " if character.isspace() else character)
                spans.append(span)
    size = len(characters) - (characters[-1:] == [" "])
    return OffsetText("".join(characters[:size]), tuple(spans[:size]))


def _letters(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Each character with its combining marks and its span; citations are left out."""
    letters: list[tuple[str, tuple[int, int]]] = []
    citations = {position for match in CITATION.finditer(text) for position in range(*match.span())}
    for position, character in enumerate(text):
        if position in citations:
            continue
        if letters and unicodedata.combining(character):
            letter, (start, _) = letters.pop()
            letters.append((letter + character, (start, position + 1)))
        else:
            letters.append((character, (position, position + 1)))
    return letters
