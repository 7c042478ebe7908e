"""Chunks that follow a document's headings."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.index.chunkers.windows import Characters, Cutter, WindowParams
from serving.pipeline.text.headings import Heading, headings
from serving.pipeline.types import Chunk, Document


class MarkdownChunker:
    """One chunk for each section; a long section is cut further, a very short one goes with the next."""

    version: ClassVar[str] = "1"

    class Params(WindowParams):
        """Sizes in characters."""

        size: int = Field(default=1200, ge=16, le=100_000)
        overlap: int = Field(default=120, ge=0)
        shortest: int = Field(default=200, ge=0, le=100_000)  # a section below this is joined to the next if both fit

    def __init__(self, params: Params) -> None:
        self.params = params

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        text, text_headings = document.text, headings(document.text)
        cutter = Cutter(text, Characters(len(text)), self.params.size, self.params.overlap, [heading.start for heading in text_headings])
        ranges = (window for start, end in self._sections(len(text), text_headings) for window in cutter.windows(start, end))
        return slices(document, ranges, text_headings)

    def _sections(self, length: int, text_headings: Sequence[Heading]) -> Iterator[tuple[int, int]]:
        bounds = [0, *(heading.start for heading in text_headings if heading.start > 0), length]
        start = 0
        for end, after in zip(bounds[1:], [*bounds[2:], None], strict=True):
            if after is not None and end - start < self.params.shortest and after - start <= self.params.size:
                continue
            yield start, end
            start = end
