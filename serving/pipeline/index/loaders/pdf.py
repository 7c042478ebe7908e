"""PDF files that hold text."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from serving.pipeline.errors import RefusedFile
from serving.pipeline.index.loaders.base import LoadedText, normal_text, without_line_ends
from serving.pipeline.registry import Params as PlugInParams

if TYPE_CHECKING:
    from pypdf import PdfReader

OBJECTS = 500_000  # of a file: pages, fonts, streams; a page of a printed book has about ten


class PdfLoader:
    """The text of every page, in page order, with a blank line between pages."""

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """Bounds against files made to be slow; they are checked between pages."""

        pages: int = Field(default=3000, ge=1)
        seconds: float = Field(default=120.0, gt=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text, or a refusal of what is no PDF, is locked or holds only pictures."""
        from pypdf import PdfReader

        if b"%PDF-" not in data[:1024]:
            raise RefusedFile(name, "is not a PDF (no %PDF- at its start).")
        try:
            with _quiet():
                reader = PdfReader(BytesIO(data))
                if reader.is_encrypted and not reader.decrypt(""):
                    raise RefusedFile(name, "is encrypted. Save it without a password.")  # noqa: TRY301  said here, where it is seen
                text = "\n\n".join(self._pages(reader, name))
                title = str((reader.metadata.title if reader.metadata else "") or "")
        except (RefusedFile, MemoryError):
            raise
        except Exception as error:
            raise RefusedFile(name, f"is a damaged PDF: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        text = without_line_ends(normal_text(text)).strip()
        if not text:
            raise RefusedFile(name, "holds no text, only pictures. Run it through OCR, or take it out of the corpus.")
        return LoadedText(text, " ".join(normal_text(title).split()))

    def _pages(self, reader: "PdfReader", name: str) -> Iterator[str]:
        objects = sum(len(places) for places in reader.xref.values()) + len(reader.xref_objStm)
        if objects > OBJECTS:
            raise RefusedFile(name, f"has {objects:,} objects; at most {OBJECTS:,} are read. Split it.")
        count = len(reader.pages)
        if count > self.params.pages:
            raise RefusedFile(name, f"has {count} pages; at most {self.params.pages} are read. Split it.")
        started = time.monotonic()
        for number, page in enumerate(reader.pages, 1):
            if time.monotonic() - started > self.params.seconds:
                raise RefusedFile(name, f"took more than {self.params.seconds:g} s by page {number} of {count}. Split it.")
            yield page.extract_text()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pypdf from writing its own lines about a damaged file beside ours."""
    logger = logging.getLogger("pypdf")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
