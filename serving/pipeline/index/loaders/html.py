"""Web pages: what a reader sees, as plain text."""

import re
from collections import Counter
from typing import Any, ClassVar

from serving.pipeline.errors import RefusedFile
from serving.pipeline.index.loaders.base import LoadedText, decoded, no_binary, normal_text, without_line_ends
from serving.pipeline.index.loaders.hidden import HiddenElements
from serving.pipeline.registry import Params as PlugInParams

DROPPED = frozenset(
    """
    script style noscript template head svg math iframe object embed canvas audio video select button
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)
BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure footer form
    header hr main menu nav ol p section summary table tbody tfoot thead ul
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)
TITLES = {f"h{level}": level for level in range(1, 7)}
CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_\-]{2,40})""", re.IGNORECASE)
TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,15})(?![A-Za-z0-9])")
UNNESTED = frozenset(
    """
    area base br col embed hr img input link meta source track wbr
    p li dt dd tr td th thead tbody tfoot colgroup caption option optgroup rt rp html head body
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)  # tags that hold nothing, or that the next of their kind closes
FOREIGN = frozenset(["svg", "math"])  # what is in them may close itself
DEPTH = 20_000  # open tags at a time: a parser looks through them all for each further tag
SHEETS = 20  # style sheets of a page that are looked through
MARKS = frozenset(["- ", *(f"{'#' * level} " for level in range(1, 7))])


class HtmlLoader:
    """Visible text: headings as `# ` lines, list items as `- ` lines, table rows as cells joined by ` | `."""

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The page's text and the title it gives itself, or a refusal of a page that is no text or nests too deep."""
        from selectolax.lexbor import LexborHTMLParser

        no_binary(data, name)
        text, facts = _decoded(data)
        if _nests_deeper_than(DEPTH, text):
            raise RefusedFile(name, f"nests tags more than {DEPTH:,} deep. Take it out of the corpus.")
        tree = LexborHTMLParser(text)
        title = tree.css_first("title")
        writer = _Writer(HiddenElements(sheet.text() for sheet in tree.css("style")[:SHEETS]))
        if tree.body is not None:
            writer.write(tree.body)
        return LoadedText(writer.text(), " ".join(title.text().split()) if title else "", facts)


def _decoded(data: bytes) -> tuple[str, Any]:
    text, facts = decoded(data)
    declared = CHARSET.search(data[:2048]) if facts.get("encoding") == "latin-1" else None
    if declared:
        try:
            encoding = declared[1].decode("ascii").lower()
            return normal_text(data.decode(encoding)), {"encoding": encoding}
        except (LookupError, UnicodeError):
            pass  # the page does not know its own encoding: Latin-1 stands
    return text, facts


def _nests_deeper_than(depth: int, text: str) -> bool:
    """Whether more tags may be open at once; counted without parsing, an end tag closing the last open one of its name."""
    open_tags: Counter[str] = Counter()
    total = 0
    for closing, name in TAG.findall(text):
        tag = name.lower()
        if tag in UNNESTED or (tag not in FOREIGN and (open_tags["svg"] or open_tags["math"])):
            continue
        if not closing:
            open_tags[tag] += 1
            total += 1
            if total > depth:
                return True
        elif open_tags[tag]:
            open_tags[tag] -= 1
            total -= 1
    return False


class _Writer:
    """Walks a tree without recursion, for a page may nest deeper than Python's stack."""

    def __init__(self, hidden: HiddenElements) -> None:
        self._hidden = hidden
        self._parts: list[str] = []
        self._pre = 0  # how many <pre> are open
        self._rows: list[list[str]] = []  # the finished cells of each open row, and
        self._outer_parts: list[list[str]] = []  # the parts written before the open cell of each

    def write(self, body: Any) -> None:
        """Write all that is visible below a node."""
        todo: list[tuple[Any, bool]] = [(body, False)]
        while todo:
            node, leaving = todo.pop()
            if node.tag == "-text":
                self._text(node.text_content or "")
            elif leaving:
                self._leave(node.tag)
            elif node.tag == "br":
                self._parts.append("\n")
            elif node.tag not in DROPPED and not node.tag.startswith(("-", "_", "!")) and not self._hidden.hides(node):
                self._enter(node.tag)
                todo.append((node, True))
                child = node.last_child
                while child is not None:
                    todo.append((child, False))
                    child = child.prev

    def text(self) -> str:
        """All that was written, with at most one blank line in a row."""
        return re.sub(r"\n{3,}", "\n\n", without_line_ends("".join(self._parts))).strip()

    def _text(self, text: str) -> None:
        if not self._pre:
            text = re.sub(r"\s+", " ", text)
            if not self._parts or self._parts[-1].endswith((" ", "\n")):
                text = text.lstrip(" ")
        if text:
            self._parts.append(text)

    def _enter(self, tag: str) -> None:
        if tag in TITLES:
            self._parts += ["\n\n", f"{'#' * TITLES[tag]} "]
        elif tag == "li":
            self._parts += ["\n", "- "]
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th") and len(self._rows) > len(self._outer_parts):
            self._outer_parts.append(self._parts)
            self._parts = []
        elif tag == "pre":
            self._pre += 1
            self._parts.append("\n\n")
        elif tag in BLOCKS:
            self._break()

    def _leave(self, tag: str) -> None:
        if tag in ("td", "th") and self._outer_parts:
            self._rows[-1].append(" ".join("".join(self._parts).split()))
            self._parts = self._outer_parts.pop()
        elif tag == "tr" and self._rows:
            cells = self._rows.pop()
            if any(cells):
                self._parts += ["\n", " | ".join(cells), "\n"]
        elif tag == "pre":
            self._pre -= 1
            self._parts.append("\n\n")
        elif tag == "li":
            self._drop_empty_mark()
            self._parts.append("\n")
        elif tag in TITLES:
            self._drop_empty_mark()
            self._parts.append("\n\n")
        elif tag in BLOCKS:
            self._break()

    def _break(self) -> None:
        """A blank line, unless a list item or heading has only just begun."""
        if not self._parts or self._parts[-1] not in MARKS:
            self._parts.append("\n\n")

    def _drop_empty_mark(self) -> None:
        if self._parts and self._parts[-1] in MARKS:
            self._parts.pop()
