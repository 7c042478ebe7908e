"""A text as answers are compared, with the way back to its own characters."""

import unicodedata
from dataclasses import dataclass

from serving.pipeline.text.answer_words import CITATION
from serving.pipeline.text.folding import caseless, plain_dashes


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A folded text, and for each of its characters the range of the original that it comes from."""

    text: str
    places: tuple[tuple[int, int], ...]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original behind a range of the folded text that is not empty."""
        return self.places[start][0], self.places[end - 1][1]


def placed(text: str) -> PlacedText:
    """`normal(text)`, character by character."""
    folded: list[str] = []
    places: list[tuple[int, int]] = []
    for letter, place in _letters(text):
        for character in plain_dashes(caseless(letter)):
            if not character.isspace() or (folded and folded[-1] != " "):
                folded.append(" " if character.isspace() else character)
                places.append(place)
    size = len(folded) - (folded[-1:] == [" "])
    return PlacedText("".join(folded[:size]), tuple(places[:size]))


def _letters(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Each character together with the marks written onto it, and where they stand; citations are left out."""
    found: list[tuple[str, tuple[int, int]]] = []
    citations = {place for match in CITATION.finditer(text) for place in range(*match.span())}
    for place, character in enumerate(text):
        if place in citations:
            continue
        if found and unicodedata.combining(character):
            letter, (start, _) = found.pop()
            found.append((letter + character, (start, place + 1)))
        else:
            found.append((character, (place, place + 1)))
    return found
