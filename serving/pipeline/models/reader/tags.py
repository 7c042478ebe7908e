"""Finds tagged parts of a prompt, in one pass however many tags are never closed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LONGEST_ATTRIBUTES: Final = 1000  # characters between a tag's name and its end


@dataclass(frozen=True, slots=True)
class TaggedPart:
    """A tag with what stands in it, and its place in the text."""

    attributes: str
    content: str
    start: int
    end: int


class TagFinder:
    """Finds the parts of some tags, whatever the case of their names."""

    def __init__(self, names: Iterable[str]) -> None:
        alternatives = "|".join(names)
        self._opening = re.compile(rf"<({alternatives})\b([^>\n]{{0,{LONGEST_ATTRIBUTES}}})>", re.IGNORECASE)
        self._closing = {name: re.compile(f"</{name}>", re.IGNORECASE) for name in alternatives.split("|")}

    def find(self, text: str) -> list[TaggedPart]:
        """Every part that is closed, in order; none within another."""
        parts: list[TaggedPart] = []
        unclosed: set[str] = set()  # names that no tag closes any more
        place = 0
        while opening := self._opening.search(text, place):
            name = opening[1].lower()
            closing = None if name in unclosed else self._closing[name].search(text, opening.end())
            if closing is None:
                unclosed.add(name)
                place = opening.start() + 1
            else:
                parts.append(TaggedPart(opening[2], text[opening.end() : closing.start()], opening.start(), closing.end()))
                place = closing.end()
        return parts


def without(text: str, parts: Iterable[TaggedPart]) -> str:
    """The text without some of its parts."""
    kept, place = [], 0
    for part in parts:
        kept.append(text[place : part.start])
        place = part.end
    return "".join([*kept, text[place:]])
