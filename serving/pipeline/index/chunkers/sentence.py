"""Chunks of whole sentences."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.index.chunkers.windows import Characters, Cutter
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.headings import headings, is_heading
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import Chunk, Document


class SentenceChunker:
    """As many sentences as fit; only a sentence longer than a chunk is cut."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """The size is in characters."""

        size: int = Field(default=700, ge=16, le=100_000)
        overlap_sentences: int = Field(default=1, ge=0, le=10)  # repeated from the chunk before, under the same heading

    def __init__(self, params: Params) -> None:
        self.params = params

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        return slices(document, self._ranges(document.text), headings(document.text))

    def _ranges(self, text: str) -> Iterator[tuple[int, int]]:
        size = self.params.size
        cutter = Cutter(text, Characters(len(text)), size, overlap=0)
        pieces = [window for start, end in sentences(text) for window in cutter.windows(start, end)]
        titles = [is_heading(text[start:end]) for start, end in pieces]
        first, begin = 0, -1
        while first < len(pieces):
            lowest = max(first - self.params.overlap_sentences, begin + 1)
            begin = first
            while begin > lowest and not titles[begin] and pieces[first][1] - pieces[begin - 1][0] <= size:
                begin -= 1
            last = first
            while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[begin][0] <= size:
                last += 1
            while last > first and titles[last] and last + 1 < len(pieces):  # a heading goes with what follows it
                last -= 1
            yield pieces[begin][0], pieces[last][1]
            first = last + 1
