"""Placeholders for personal data in a question, such as `<EMAIL_1>`; the values are in memory only.

The model, the trace, the cache and every log see placeholders; the caller sees the values again. A placeholder is filled in only where
this query wrote it, and never in a paragraph that holds a link: a planted `http://elsewhere/?q=<EMAIL_1>` would carry the value away.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

_PLACEHOLDER: Final = re.compile(r"<[A-Z]{1,16}(?:_[A-Z]{1,16}){0,3}_[0-9]{1,6}>")
_UNFINISHED: Final = re.compile(r"<[A-Z_0-9]{0,80}\Z")  # of a placeholder that comes in two pieces
_PIECE: Final = re.compile(rf"{_PLACEHOLDER.pattern}|\n[ \t]{{0,80}}\n|//|\]\(|\b(?:href|src|mailto:|data:)", re.IGNORECASE)
_LONGEST_LEAD: Final = 8  # characters of what makes a paragraph one with a link


class Placeholders:
    """The placeholders of one query; never serialised, and its `repr` shows their number, not their values."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}  # by placeholder
        self._names: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Placeholders: {len(self)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Placeholders stay in memory: they hold personal data.")

    def reserve(self, texts: Iterable[str]) -> None:
        """Do not use placeholders that occur in these texts already: there they are ordinary text."""
        self._taken |= {name for text in texts for name in _PLACEHOLDER.findall(text)}

    def name(self, kind: str, value: str) -> str:
        """The placeholder of a value; equal values share one."""
        if (kind, value) not in self._names:
            number = 1
            while (name := f"<{kind}_{number}>") in self._taken:
                number += 1
            self._taken.add(name)
            self._names[kind, value] = name
            self._values[name] = value
        return self._names[kind, value]

    def restore(self, text: str) -> str:
        """The text with placeholders replaced by their values, for the caller."""
        if not self._values:
            return text
        pieces: list[str] = []
        reader = RestoringEmit(pieces.append, self)
        reader(text)
        reader.end()
        return "".join(pieces)

    def value(self, placeholder: str) -> str | None:
        """The value of a placeholder; `None` if it is not of this query."""
        return self._values.get(placeholder)


class RestoringEmit:
    """Streams a text with placeholders restored, also where one is split over several pieces; `end` flushes the rest."""

    def __init__(self, emit: Callable[[str], None], placeholders: Placeholders) -> None:
        self._emit = emit
        self._placeholders = placeholders
        self._rest = ""
        self._seen = ""  # the last characters that were handed on, in which a link may begin
        self._linked = False

    def __call__(self, piece: str) -> None:
        """The next piece of the text."""
        if not len(self._placeholders):
            self._emit(piece)
            return
        text = self._rest + piece
        unfinished = _UNFINISHED.search(text, max(0, len(text) - 81))
        cut = unfinished.start() if unfinished else len(text)
        self._rest = text[cut:]
        self._hand_on(text[:cut])

    def end(self) -> None:
        """Flush what was held back."""
        rest, self._rest = self._rest, ""
        self._hand_on(rest)

    def _hand_on(self, text: str) -> None:
        if not text:
            return
        lead, parts, position = len(self._seen), list[str](), len(self._seen)
        whole = self._seen + text
        for match in _PIECE.finditer(whole):
            found = match[0]
            value = self._placeholders.value(found)
            if value is not None and match.start() >= lead:
                parts += [whole[position : match.start()], found if self._linked else value]
                position = match.end()
            elif value is None:
                self._linked = not found.startswith("\n") and (self._linked or not found.startswith("<"))
        parts.append(whole[position:])
        self._seen = whole[-_LONGEST_LEAD:]
        self._emit("".join(parts))
