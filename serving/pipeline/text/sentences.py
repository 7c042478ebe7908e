"""Splits a text into sentences; list items, table rows and headings are sentences of their own."""

import re
from collections.abc import Iterator

from serving.pipeline.text.headings import is_heading

END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+")
ITEM = re.compile(r"\A\s*(?:[-*+•–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")
LAST_WORD = re.compile(r"[^\s(\[\"'“]{0,40}\Z")
NEVER_SENTENCE_END = frozenset(
    """
    mr mrs ms dr prof st no nos fig figs sec art vs cf eg e.g ie i.e approx ca viz resp para p pp vol ed eds rev
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)
RARELY_SENTENCE_END = frozenset(
    """
    etc inc ltd co corp bros a.m p.m u.s u.k e.u al dept est jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed
    thu fri
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The span of every sentence, in order; together they cover all but white space."""
    for start, end, single in _blocks(text):
        position = start
        for match in () if single else END.finditer(text, start, end):
            if match.end() > position and _ends_here(text, start, match, end):
                yield from _trimmed(text, position, match.end())
                position = match.end()
        yield from _trimmed(text, position, end)


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Runs of lines that belong together: a paragraph, an item, or (whole, whatever stops it holds) a row or heading."""
    start = position = 0
    for line in text.splitlines(keepends=True):
        single = not line.strip() or is_heading(line.rstrip("\n")) or line.count("|") >= 2
        if (single or ITEM.match(line)) and start < position:
            yield start, position, False
            start = position
        position += len(line)
        if single:
            yield start, position, True
            start = position
    if start < position:
        yield start, position, False


def _ends_here(text: str, start: int, match: re.Match[str], end: int) -> bool:
    punctuation = match.group()
    after = text[match.end() : min(match.end() + 40, end)].lstrip()
    if after[:1].islower() and (punctuation[0] == "." or punctuation[-1] in "\"'”’"):
        return False
    if punctuation[0] != ".":
        return True
    if len(punctuation.rstrip("\"'”’)]")) > 1:  # an ellipsis before a capital
        return True
    before = LAST_WORD.search(text, max(start, match.start() - 40), match.start())
    word = before.group().casefold() if before else ""
    if word in NEVER_SENTENCE_END or (word.isdecimal() and not text[start : match.start() - len(word)].strip()):
        return False
    if word in RARELY_SENTENCE_END:
        return after[:1].isupper()
    return not (len(word) == 1 and word.isalpha() and word != "i")  # an initial, as in "J. Smith"


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    bare = text[start:end].strip()
    if bare:
        first = start + text[start:end].index(bare)
        yield first, first + len(bare)
