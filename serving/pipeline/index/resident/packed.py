"""Texts and lists of rows, packed into arrays."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.resident.mapped import Array, MappedArrays

Rows = NDArray[np.uint32]


class Texts:
    """Texts by their number."""

    def __init__(self, arrays: MappedArrays, name: str) -> None:
        # read through views, whose single items cost a third of an array's
        self._bytes, self._ends = arrays[f"{name}.bytes"].data, arrays[f"{name}.ends"].data

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        return self.encoded(number).decode()

    def encoded(self, number: int) -> bytes:
        """A text as UTF-8."""
        return self._bytes[self._ends[number - 1] if number else 0 : self._ends[number]].tobytes()


STEP = 64  # of the texts that are kept in memory, so that few are read from the file to find one


class SortedTexts(Texts):
    """Texts in the order of their UTF-8 bytes, which is that of their characters; each is found by halving."""

    def __init__(self, arrays: MappedArrays, name: str) -> None:
        super().__init__(arrays, name)
        self._steps = [self.encoded(number) for number in range(0, len(self), STEP)]

    def find(self, text: str) -> int | None:
        """The number of a text, or None where it is not one of these."""
        try:
            wanted = text.encode()
        except UnicodeEncodeError:  # half a surrogate pair: equals nothing stored
            return None
        step = bisect_right(self._steps, wanted) * STEP  # of the first text kept that comes behind it
        number = bisect_left(range(len(self)), wanted, max(step - STEP, 0), min(step, len(self)), key=self.encoded)
        return number if number < len(self) and self.encoded(number) == wanted else None


class RowsByText:
    """Distinct texts, each with the rows that have it."""

    def __init__(self, arrays: MappedArrays, name: str) -> None:
        self.texts = SortedTexts(arrays, name)
        self._ends, self._rows = arrays[f"{name}.rows.ends"], arrays[f"{name}.rows"]

    def span(self, number: int) -> slice:
        """Where the rows of a text lie among those of all texts."""
        return slice(int(self._ends[number - 1]) if number else 0, int(self._ends[number]))

    def rows(self, text: str) -> Rows:
        """The rows that have a text; none for one that is unknown."""
        number = self.texts.find(text)
        rows: Rows = self._rows[:0] if number is None else self._rows[self.span(number)]
        return rows


def packed_texts(name: str, texts: Iterable[str]) -> dict[str, Array]:
    """The arrays of `Texts`; for `SortedTexts`, hand them over in order."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.ends": np.cumsum([len(one) for one in encoded], dtype=np.uint64),
    }


def packed_rows(name: str, rows_by_text: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """The arrays of `RowsByText`; the rows of a text stay in the order given."""
    texts = sorted(rows_by_text)
    lists = [np.asarray(rows_by_text[text], np.uint32) for text in texts]
    return packed_texts(name, texts) | {
        f"{name}.rows": np.concatenate([np.empty(0, np.uint32), *lists]),
        f"{name}.rows.ends": np.cumsum([len(rows) for rows in lists], dtype=np.uint64),
    }
