"""Chunks of a number of characters that end where a paragraph, line, sentence or word does."""

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from serving.pipeline.index.headings import headings
from serving.pipeline.index.slices import slices
from serving.pipeline.index.windows import Characters, Cutter
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Chunk, Document


class RecursiveChunker:
    """Takes as much as fits and stops at the best break in the second half of it."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Sizes in characters."""

        size: int = Field(default=900, ge=16, le=100_000)
        overlap: int = Field(default=120, ge=0)

        @model_validator(mode="after")
        def _overlap_below_size(self) -> Self:
            if self.overlap >= self.size:
                raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        text, found = document.text, headings(document.text)
        cutter = Cutter(text, Characters(len(text)), self.params.size, self.params.overlap, [heading.start for heading in found])
        return slices(document, cutter.windows(0, len(text)), found)
