"""Finds the text of prompts in an answer: letter by letter, whatever case, spacing or simple encoding it is in."""

import base64
import binascii
import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 24  # letters in a row below which nothing is a recitation: about five words
TEXT_LIMIT: Final = 50_000  # characters of an answer that are looked at at a time
_NO_LETTER: Final = re.compile(r"[\W_\d]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,50000}")
_FENCE: Final = re.compile(
    r"<\s{0,3}/?\s{0,3}(?:passage\b[^>\n]{0,80}|question\s{0,3})>|\{\{\s{0,3}(?:passages|question|domain)\s{0,3}\}\}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Recitation:
    """The longest run of letters that a text shares with the prompts, and where it stands in the letters of the text."""

    letters: int
    text: str  # the run


def letters_of(text: str) -> str:
    """The letters alone, folded."""
    return _NO_LETTER.sub("", text.casefold())


def fences_in(text: str) -> list[str]:
    """Delimiters of the prompt: fences of passages and names of variables."""
    return [match.group() for match in _FENCE.finditer(text)]


class PromptText:
    """The letters of some prompts, ready to be looked for."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._letters = "\n".join(dict.fromkeys(filter(None, map(letters_of, texts))))
        self._places: dict[str, list[int]] = {}
        for place in range(len(self._letters) - SHORTEST + 1):
            self._places.setdefault(self._letters[place : place + SHORTEST], []).append(place)

    def longest(self, text: str, known: Sequence[str] = ()) -> Recitation:
        """The longest run that a text shares with the prompts and with nothing of what was known before, such as the question."""
        known_letters = [letters_of(one) for one in known]
        best = Recitation(0, "")
        for candidate in _readings(text):
            for run in self._runs(candidate):
                if len(run) > best.letters and not any(run in one for one in known_letters):
                    best = Recitation(len(run), run)
        return best

    def _runs(self, letters: str) -> Iterator[str]:
        """The runs that a text has in common with the prompts, each the longest from where it begins."""
        at = 0
        while at + SHORTEST <= len(letters):
            places = self._places.get(letters[at : at + SHORTEST])
            if places is None:
                at += 1
                continue
            end = max(self._end(letters, at, place) for place in places)
            yield letters[at:end]
            at = end - SHORTEST + 1  # another prompt may go on from the middle of this run

    def _end(self, letters: str, at: int, place: int) -> int:
        """How far the letters from one place are those from the other."""
        end, source = at + SHORTEST, place + SHORTEST
        while end < len(letters) and source < len(self._letters) and letters[end] == self._letters[source]:
            end, source = end + 1, source + 1
        return end


def _readings(text: str) -> Iterator[str]:
    """The letters of a text as it stands, backwards, by rot13, and of what is base64 in it."""
    letters = letters_of(text)
    yield letters
    yield letters[::-1]
    yield codecs.encode(letters, "rot13")
    for match in _BASE64.finditer(text):
        block = match.group()
        try:
            decoded = base64.b64decode(block[: len(block) // 4 * 4])
        except (binascii.Error, ValueError):
            continue
        yield letters_of(decoded.decode("utf-8", "ignore"))
