"""Chunks of a number of tokens, wherever that falls."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.index.chunkers.windows import Cutter, Tokens, WindowParams
from serving.pipeline.text.headings import headings
from serving.pipeline.types import Chunk, Document


class TokenChunker:
    """Full windows of tokens; only a table row is never broken, where it fits at all.

    Tokens are words of up to 16 letters, marks and CJK characters: no model's vocabulary, see `windows.Tokens`.
    """

    version: ClassVar[str] = "1"

    class Params(WindowParams):
        """Sizes in tokens; MiniLM reads 256 of its own, about 210 of these."""

        size: int = Field(default=200, ge=4, le=20_000)
        overlap: int = Field(default=30, ge=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        text, text_headings = document.text, headings(document.text)
        barriers = [heading.start for heading in text_headings]
        cutter = Cutter(text, Tokens(text), self.params.size, self.params.overlap, barriers, soft=False)
        return slices(document, cutter.windows(0, len(text)), text_headings)
