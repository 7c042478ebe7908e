"""Word files."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, ClassVar

from pydantic import Field

from serving.pipeline.errors import RefusedFile
from serving.pipeline.index.loaders.base import LoadedText, normal_text, without_line_ends
from serving.pipeline.registry import Params as PlugInParams

LEVEL = re.compile(r"Heading ([1-6])\Z")
ENTRIES = 5_000  # files in the archive
XML_BYTES = 40_000_000  # of XML in it: a tree takes about twenty times its text
RATIO = 200  # of unpacked to packed bytes; written pages come to about 10
RATIO_FROM = 10_000_000  # unpacked bytes, below which any ratio will do
XML_SUFFIXES = (".xml", ".rels")

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
PARAGRAPH, TABLE, RUN, LINK, BREAK = f"{W}p", f"{W}tbl", f"{W}r", f"{W}hyperlink", f"{W}br"
MARKS = {f"{W}cr": "\n", f"{W}noBreakHyphen": "-", f"{W}ptab": "\t", f"{W}tab": "\t"}
WORDS = f"{W}t"
FACTS, VALUE, FILL = f"{W}rPr", f"{W}val", f"{W}fill"
VANISH, SIZE, COLOR, HIGHLIGHT, SHADE, TABLE_STYLE = (f"{W}{name}" for name in ("vanish", "sz", "color", "highlight", "shd", "tblStyle"))
LEAST_SIZE = 4  # half points: smaller letters are not meant to be read


class DocxLoader:
    """Paragraphs, headings as `# ` lines and tables row by row, in the document's order; no headers, footers or comments."""

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """A bound against files that unpack to far more than they weigh."""

        unpacked_mb: int = Field(default=200, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text and the title in the file's properties, or a refusal of what is no Word file."""
        import docx

        self._check_size(data, name)
        try:
            document = docx.Document(BytesIO(data))
            styles = _style_names(document)
            text = "\n".join(line for block in document.element.body.inner_content_elements for line in _lines(block, styles))
            title = document.core_properties.title or ""
        except MemoryError:
            raise
        except Exception as error:
            raise RefusedFile(name, f"is a damaged Word file: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        text = re.sub(r"\n{3,}", "\n\n", without_line_ends(normal_text(text))).strip()
        if not text:
            raise RefusedFile(name, "holds no text. Take it out of the corpus.")
        return LoadedText(text, " ".join(normal_text(title).split()))

    def _check_size(self, data: bytes, name: str) -> None:
        """Refuse what unpacks to too much; `zipfile` reads no more of an entry than its declared size, so that this bounds the real one."""
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise RefusedFile(name, f"is not a Word file (.docx): {error}") from None
        unpacked = sum(entry.file_size for entry in entries)
        xml = sum(entry.file_size for entry in entries if entry.filename.lower().endswith(XML_SUFFIXES))
        if len(entries) > ENTRIES:
            raise RefusedFile(name, f"holds {len(entries):,} files; at most {ENTRIES:,} are read.")
        if unpacked > self.params.unpacked_mb * 1_000_000:
            raise RefusedFile(name, f"unpacks to {unpacked / 1e6:.0f} MB; at most {self.params.unpacked_mb} MB are read.")
        if xml > XML_BYTES:
            raise RefusedFile(name, f"unpacks to {xml / 1e6:.0f} MB of XML; at most {XML_BYTES / 1e6:.0f} MB are read. Split it.")
        if unpacked > max(RATIO_FROM, RATIO * len(data)):
            raise RefusedFile(name, f"unpacks to {unpacked / len(data):.0f} times its size; at most {RATIO} times are read.")


def _style_names(document: Any) -> Mapping[str, str]:
    """The name of each paragraph style by its id, and of the default one by the empty id."""
    from docx.enum.style import WD_STYLE_TYPE
    from docx.styles.style import StyleFactory

    default = document.styles.default(WD_STYLE_TYPE.PARAGRAPH)
    names = {"": (default.name or "") if default is not None else ""}
    for style in document.styles.element.style_lst:
        if style.styleId and style.styleId not in names:
            names[style.styleId] = (StyleFactory(style).name or "") if style.type == WD_STYLE_TYPE.PARAGRAPH else names[""]
    return names


def _lines(block: Any, styles: Mapping[str, str]) -> Iterator[str]:
    if block.tag == TABLE:
        yield from ("", *(" | ".join(cells) for cells in _rows(block)), "")
        return
    text = _text(block).strip()
    style = styles.get(block.style or "", styles[""])
    level = LEVEL.match(style)
    if not text:
        yield ""
    elif level or style == "Title":
        yield from ("", f"{'#' * (int(level[1]) if level else 1)} {' '.join(text.split())}", "")
    elif style.startswith("List"):
        yield f"- {text}"
    else:
        yield from (text, "")


def _text(paragraph: Any) -> str:
    """What a paragraph's runs and links say."""
    runs = (run for child in paragraph for run in ((child,) if child.tag == RUN else child if child.tag == LINK else ()) if run.tag == RUN)
    return "".join(_mark(part) for run in runs if not _hidden(run) for part in run)


def _mark(part: Any) -> str:
    if part.tag == WORDS:
        return part.text or ""
    if part.tag == BREAK:
        return str(part)
    return MARKS.get(part.tag, "")


def _hidden(run: Any) -> bool:
    """Whether a run is marked hidden, has letters of no size, or is white where nothing behind it is coloured."""
    facts = run.find(FACTS)
    if facts is None:
        return False
    vanish, size, color = facts.find(VANISH), facts.find(SIZE), facts.find(COLOR)
    if vanish is not None and vanish.get(VALUE, "true") not in ("false", "0", "off", "none"):
        return True
    if size is not None and size.get(VALUE, "").isdigit() and int(size.get(VALUE)) <= LEAST_SIZE:
        return True
    return color is not None and color.get(VALUE, "").upper() == "FFFFFF" and not _painted(run, facts)


def _painted(run: Any, facts: Any) -> bool:
    """Whether something may give a run a background: itself, its paragraph, its cell, or the style of its table."""
    if facts.find(HIGHLIGHT) is not None:
        return True
    shades = [facts.find(SHADE)]
    for above in run.iterancestors():
        held = above.find(f"{above.tag}Pr")
        shades += [held.find(SHADE)] if held is not None else []
        if above.tag == TABLE and held is not None and held.find(TABLE_STYLE) is not None:
            return True
    return any(shade is not None and shade.get(FILL, "auto").upper() not in ("AUTO", "FFFFFF") for shade in shades)


def _rows(table: Any) -> Iterator[list[str]]:
    """Each row's cells, a cell on one line; a merged cell, which Word repeats, once in a row and again in each row it spans."""
    above: dict[int, Any] = {}  # the cell that starts at each column of the row before
    for row in table.tr_lst:
        here: dict[int, Any] = {}
        column, before, cells = row.grid_before, None, []
        for cell in row.tc_lst:
            shown = above.get(column, cell) if cell.vMerge == "continue" else cell
            if shown is not before and cell.grid_span > 0:
                cells.append(" ".join("\n".join(_text(part) for part in shown if part.tag == PARAGRAPH).split()))
            here[column], before = shown, shown
            column += cell.grid_span
        above = here
        yield cells
