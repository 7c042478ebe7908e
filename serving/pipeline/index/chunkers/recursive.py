"""Chunks of a number of characters that end where a paragraph, line, sentence or word does."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.index.chunkers.windows import Characters, Cutter, WindowParams
from serving.pipeline.text.headings import headings
from serving.pipeline.types import Chunk, Document


class RecursiveChunker:
    """Takes as much as fits and stops at the best break in the second half of it."""

    version: ClassVar[str] = "1"

    class Params(WindowParams):
        """Sizes in characters."""

        size: int = Field(default=900, ge=16, le=100_000)
        overlap: int = Field(default=120, ge=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        text, text_headings = document.text, headings(document.text)
        cutter = Cutter(text, Characters(len(text)), self.params.size, self.params.overlap, [heading.start for heading in text_headings])
        return slices(document, cutter.windows(0, len(text)), text_headings)
