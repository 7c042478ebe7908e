"""Files made to be slow or large when they are read, built by code."""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import docx

PARAGRAPH = b"<w:p><w:r><w:t xml:space='preserve'>%s</w:t></w:r></w:p>"


def pdf_of(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is its catalogue."""
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n" % size
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(out))
    )


def pdf_page(content: bytes) -> bytes:
    """A PDF of one page whose content stream is compressed."""
    packed = zlib.compress(content)
    return pdf_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n" % len(packed) + packed + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )


def pdf_text(text: bytes) -> bytes:
    """A PDF of one line."""
    return pdf_page(b"BT /F1 12 Tf 20 200 Td (" + text + b") Tj ET")


def word_file(body: bytes, *, parts: Mapping[str, bytes] | None = None) -> bytes:
    """A Word file with this body, and other parts in place of its own or beside them."""
    plain, out = io.BytesIO(), io.BytesIO()
    docx.Document().save(plain)
    source = zipfile.ZipFile(plain)
    entries = {entry.filename: source.read(entry) for entry in source.infolist()}
    document = entries["word/document.xml"]
    start, end = document.index(b"<w:body>") + len(b"<w:body>"), document.index(b"</w:body>")
    entries["word/document.xml"] = document[:start] + body + document[end:]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**entries, **(parts or {})}.items():
            archive.writestr(name, data)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Bomb:
    """A file, and the pattern of what becomes of it: read, with so many characters, or refused."""

    make: Callable[[], bytes]
    outcome: str


BOMBS: Mapping[str, Bomb] = {
    "spaces.pdf": Bomb(lambda: pdf_text(b"x" + b" " * 400_000 + b"x"), "^read 400002$"),
    "letters.pdf": Bomb(lambda: pdf_text(b"a" * 4_000_000), "^read 4000000$"),
    "operators.pdf": Bomb(lambda: pdf_page(b"BT /F1 12 Tf " + b"(a) Tj 0 -12 Td " * 60_000 + b"ET"), "^read 119999$"),
    "states.pdf": Bomb(lambda: pdf_page(b"q " * 2_000_000), "holds no text"),
    "loop.pdf": Bomb(
        lambda: pdf_of(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"), "cyclic page references"
    ),
    "arrays.pdf": Bomb(lambda: pdf_of(b"<</Type/Catalog/Pages 2 0 R>>", b"[" * 1_000_000), "RecursionError"),
    "spaces.docx": Bomb(lambda: word_file(PARAGRAPH % (b"x" + b" " * 100_000 + b"x")), "^read 100002$"),
    "paragraphs.docx": Bomb(lambda: word_file(PARAGRAPH % b"hello" * 150_000), "^read 1049998$"),
    "memory.docx": Bomb(lambda: word_file(b"<w:p/>" * 20_000_000), "unpacks to 121 MB of XML; at most 40 MB are read"),
    "elements.docx": Bomb(lambda: word_file(b"<w:p/>" * 1_500_000), "holds no text"),
    "deep.docx": Bomb(lambda: word_file(b"<w:p>" * 30_000 + b"</w:p>" * 30_000), "is a damaged Word file: XMLSyntaxErro"),
    "runs.docx": Bomb(lambda: word_file(b"<w:p>" + b"<w:r><w:t>a</w:t></w:r>" * 400_000 + b"</w:p>"), "^read 400000$"),
    "cells.docx": Bomb(lambda: word_file(b"<w:tbl><w:tr>" + b"<w:tc><w:p/></w:tc>" * 20_000 + b"</w:tr></w:tbl>"), "^read 59995$"),
    "merged.docx": Bomb(
        lambda: word_file(
            b"<w:tbl>" + b"<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc></w:tr>" * 5_000 + b"</w:tbl>"
        ),
        "^read 9999$",
    ),
    "span.docx": Bomb(
        lambda: word_file(b"<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='900000000'/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>"),
        "holds no text",
    ),
    "styles.docx": Bomb(
        lambda: word_file(b"".join(b"<w:p><w:pPr><w:pStyle w:val='s%d'/></w:pPr></w:p>" % n for n in range(100_000))), "holds no text"
    ),
    "pre.html": Bomb(lambda: b"<pre>x" + b" " * 100_000 + b"x</pre>", "^read 100002$"),
    "div.html": Bomb(lambda: b"<div>" * 440_000 + b"deep", "nests tags more than 20,000 deep"),
    "list.html": Bomb(lambda: b"<ul><li>" * 270_000 + b"deep", "nests tags more than 20,000 deep"),
    "font.html": Bomb(
        lambda: b"".join(b"<font size=%d>" % size for size in range(100_000)) + b"<p>x" * 100_000, "nests tags more than 20,000 deep"
    ),
    "fonts-below.html": Bomb(
        lambda: b"".join(b"<font size=%d>" % size for size in range(19_000)) + b"<p>x" * 300_000, "^read 899998$|takes more|memory"
    ),
    "closing.html": Bomb(lambda: b"<div>" * 200_000 + b"</p>" * 200_000, "nests tags more than 20,000 deep"),
    "attributes.html": Bomb(lambda: b"<div " + b"".join(b"a%d=1 " % n for n in range(400_000)) + b">x</div>", "takes more than 1 s"),
    "entities.html": Bomb(lambda: b"<p>" + b"&amp;" * 900_000, "^read 900000$"),
    "cells.html": Bomb(lambda: b"<table>" + b"<tr><td>a" * 400_000, "^read 1199998$"),
    "tables.html": Bomb(lambda: b"<table><tr><td>" * 6_000 + b"deep", "^read 4$"),
    "styles.html": Bomb(lambda: b"<p style='" + b"display " * 500_000 + b"'>x</p>", "^read 1$"),
}
