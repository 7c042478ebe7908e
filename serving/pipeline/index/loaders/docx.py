"""Word files."""

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any, ClassVar

from pydantic import Field

from serving.pipeline.errors import DataError
from serving.pipeline.index.loaders.base import LoadedText, normal_text
from serving.pipeline.registry import Params as PlugInParams

LEVEL = re.compile(r"Heading ([1-6])\Z")


class DocxLoader:
    """Paragraphs, headings as `# ` lines and tables row by row, in the document's order; no headers, footers or comments."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """A bound against files that unpack to far more than they weigh."""

        unpacked_mb: int = Field(default=200, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text and the title in the file's properties, or a `DataError` for what is no Word file."""
        import docx

        self._check_size(data, name)
        try:
            document = docx.Document(BytesIO(data))
            text = "\n".join(line for block in document.iter_inner_content() for line in _lines(block))
            title = document.core_properties.title or ""
        except Exception as error:
            raise DataError(f"{name}: is a damaged Word file: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+(?=\n)", "", normal_text(text))).strip()
        if not text:
            raise DataError(f"{name}: holds no text. Take it out of the corpus.")
        return LoadedText(text, " ".join(normal_text(title).split()))

    def _check_size(self, data: bytes, name: str) -> None:
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise DataError(f"{name}: is not a Word file (.docx): {error}") from None
        if unpacked > self.params.unpacked_mb * 1_000_000:
            raise DataError(f"{name}: unpacks to {unpacked / 1e6:.0f} MB; at most {self.params.unpacked_mb} MB are read.")


def _lines(block: Any) -> Iterator[str]:
    if hasattr(block, "rows"):
        yield ""
        for row in block.rows:
            yield " | ".join(_cells(row))
        yield ""
        return
    text = block.text.strip()
    style = (block.style.name if block.style is not None else "") or ""
    level = LEVEL.match(style)
    if not text:
        yield ""
    elif level or style == "Title":
        yield from ("", f"{'#' * (int(level[1]) if level else 1)} {' '.join(text.split())}", "")
    elif style.startswith("List"):
        yield f"- {text}"
    else:
        yield from (text, "")


def _cells(row: Any) -> Iterator[str]:
    """Each cell's text on one line; a merged cell, which Word repeats, once."""
    before = None
    for cell in row.cells:
        if cell._tc is not before:
            yield " ".join(cell.text.split())
        before = cell._tc
