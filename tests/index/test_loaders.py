"""Files become stable text, and bad files one clear line."""

import io
import re
import zipfile
from contextlib import suppress
from random import Random
from typing import Any

import docx
import pytest
from docx.enum.text import WD_BREAK
from docx.exceptions import InvalidSpanError
from docx.table import Table
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from serving.pipeline.errors import DataError
from serving.pipeline.index.loaders import LOADERS, LoadedText
from serving.pipeline.registry import Spec
from tests.index.hostile_files import PARAGRAPH, word_file


def load(suffix: str, data: bytes, **params: Any) -> LoadedText:
    return LOADERS.build(Spec(name=suffix, **params)).load(data, f"file{suffix}")


def pdf(*pages: str, password: str = "", title: str = "") -> bytes:
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject(
            {NameObject(k): NameObject(v) for k, v in {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}.items()}
        )
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word(build: Any) -> bytes:
    document = docx.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def outcome(suffix: str, data: bytes) -> LoadedText | str:
    try:
        return load(suffix, data)
    except DataError as error:
        return str(error)


@given(data=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
@pytest.mark.parametrize("suffix", LOADERS.names())
def test_any_bytes_give_a_clean_text_or_a_data_error(suffix: str, data: bytes) -> None:
    found = outcome(suffix, data)
    if isinstance(found, str):
        assert f"file{suffix}" in found
        assert "\n" not in found
    else:
        assert not {"\r", "\0"} & set(found.text)
        assert found.text.encode().decode() == found.text
        assert outcome(suffix, data) == found


def test_text_is_kept_with_plain_line_ends() -> None:
    assert load(".txt", b"\xef\xbb\xbfa\r\nb\rc\n  d ").text == "a\nb\nc\n  d "
    assert load(".txt", "né".encode("utf-16")) == LoadedText("né", facts={"encoding": "utf-16"})


def test_a_text_that_is_not_utf8_says_how_it_was_read() -> None:
    assert load(".txt", "café".encode("latin-1")) == LoadedText("café", facts={"encoding": "latin-1"})


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match=r"file\.txt: is not text"):
        load(".txt", b"\x7fELF\0\0\0")


def test_markdown_loses_only_its_front_matter_whose_values_stay_as_written() -> None:
    loaded = load(".md", b"---\ntitle: A\nversion: 1.10\neffective: 2026-03-01\ngroups: [hr, legal]\n---\n\n# Head *x*\n\n---\ntext\n")
    assert loaded.text == "# Head *x*\n\n---\ntext\n"
    assert loaded.title == "Head x"
    assert loaded.facts == {"title": "A", "version": "1.10", "effective": "2026-03-01", "groups": ["hr", "legal"]}


def test_a_rule_at_the_top_of_markdown_is_not_front_matter() -> None:
    assert load(".md", b"---\nno end").text == "---\nno end"


@pytest.mark.parametrize(("text", "line"), [("---\ntitle: A\nbad: [1\n---\n", 3), ("---\n- a\n---\n", 2), ("---\na: b: c\n---\n", 2)])
def test_wrong_front_matter_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(DataError, match=rf"file\.md:{line}: "):
        load(".md", text.encode())


PAGE = """<html><head><title> Price
 list </title><style>p{}</style><script>evil()</script></head><body>
<h1>Prices <b>2026</b></h1><p>Net of VAT,<br>per&nbsp;unit &amp; year.</p><!-- note --><div hidden>no1</div><p style="display:none">no2</p>
<ul><li>one</li><li><p>two</p></li><li></li></ul><table><tr><th>SKU</th><th>EUR</th></tr>
<tr><td><p>TG-4410</p></td><td> 930 <br> net</td></tr></table><h2></h2><pre>  a
    b</pre><template>no3</template>tail</body></html>"""


def test_html_becomes_what_a_reader_sees() -> None:
    loaded = load(".html", PAGE.encode())
    assert loaded.title == "Price list"
    assert loaded.text == (
        "# Prices 2026\n\nNet of VAT,\nper unit & year.\n\n- one\n\n- two\n\nSKU | EUR\n\nTG-4410 | 930 net\n\n  a\n    b\n\ntail"
    )


def test_html_is_read_in_the_encoding_it_declares() -> None:
    loaded = load(".html", '<meta charset="windows-1252"><p>“5 €”</p>'.encode("cp1252"))
    assert loaded == LoadedText("“5 €”", facts={"encoding": "windows-1252"})


@pytest.mark.slow
def test_html_nested_deeper_than_the_stack_is_read() -> None:
    assert load(".html", b"<div>" * 20_000 + b"deep").text == "deep"


def test_pdf_pages_come_in_order() -> None:
    loaded = load(".pdf", pdf("First page", "Second page", title="Invoice 7"))
    assert loaded == LoadedText("First page\n\nSecond page", "Invoice 7")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "is not a PDF"),
        (b"%PDF-1.7\nnonsense", "is a damaged PDF"),
        (pdf("secret", password="x"), "is encrypted"),
        (pdf(""), "holds no text, only pictures"),
        (pdf("a", "b", "c"), "has 3 pages; at most 2 are read"),
    ],
)
def test_a_bad_pdf_is_one_clear_line(data: bytes, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=rf"^file\.pdf: {message}"):
        load(".pdf", data, pages=2)
    assert not caplog.records


def test_docx_keeps_headings_lists_and_tables_in_order() -> None:
    def build(document: Any) -> None:
        document.core_properties.title = "RMA"
        document.add_heading("Returns", 1)
        document.add_paragraph("Before the table.")
        table = document.add_table(rows=2, cols=2)
        for cell, text in zip((cell for row in table.rows for cell in row.cells), ["Site", "Days", "Leeds", "5\nwork"], strict=True):
            cell.text = text
        document.add_heading("After", 2)
        document.add_paragraph("item", style="List Bullet")

    expected = "# Returns\n\nBefore the table.\n\nSite | Days\nLeeds | 5 work\n\n## After\n\n- item"
    assert load(".docx", word(build)) == LoadedText(expected, "RMA")


def test_a_merged_cell_is_told_once() -> None:
    def build(document: Any) -> None:
        table = document.add_table(rows=1, cols=3)
        table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
        table.cell(0, 2).text = "end"

    assert load(".docx", word(build)).text == "wide | end"


def test_a_bad_docx_is_one_clear_line() -> None:
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("hello.txt", "hi")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 3_000_000)
    for data, message in [
        (b"hello", "is not a Word file"),
        (other.getvalue(), "is a damaged Word file"),
        (bomb.getvalue(), "unpacks to 3 MB; at most 2 MB are read"),
        (word(lambda document: None), "holds no text"),
    ]:
        with pytest.raises(DataError, match=rf"^file\.docx: {message}"):
            load(".docx", data, unpacked_mb=2)


def as_python_docx_says(data: bytes) -> str:
    """The text by python-docx's own (slow) properties."""
    lines: list[str] = []
    for block in docx.Document(io.BytesIO(data)).iter_inner_content():
        if isinstance(block, Table):
            rows = [[cell for at, cell in enumerate(row.cells) if not at or cell._tc is not row.cells[at - 1]._tc] for row in block.rows]
            lines += ["", *(" | ".join(" ".join(cell.text.split()) for cell in row) for row in rows), ""]
            continue
        text, style = block.text.strip(), (block.style.name or "") if block.style else ""
        if not text:
            lines.append("")
        elif style.startswith("Heading ") or style == "Title":
            lines += ["", "#" * (1 if style == "Title" else int(style[-1])) + " " + " ".join(text.split()), ""]
        else:
            lines += [f"- {text}"] if style.startswith("List") else [text, ""]
    stripped = "\n".join(line.rstrip(" \t") for line in "\n".join(lines).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", stripped).strip()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_word_files_read_as_python_docx_reads_them(seed: int) -> None:
    chance = Random(seed)
    styles = ["Normal", "Title", "Heading 1", "Heading 3", "List Bullet", "List Number", "Quote", "Caption"]
    texts = ["plain", "two  spaces ", " tab\there", "line\nbreak", "", "é–x", "   "]

    def build(document: Any) -> None:
        for _ in range(30):
            if chance.random() < 0.25:
                rows, columns = chance.randint(1, 5), chance.randint(1, 5)
                table = document.add_table(rows=rows, cols=columns)
                for row in table.rows:
                    for cell in row.cells:
                        cell.text = chance.choice(texts)
                for _ in range(chance.randint(0, 2)):
                    top, left = chance.randrange(rows), chance.randrange(columns)
                    with suppress(InvalidSpanError):  # it would cut another merged cell in two
                        table.cell(top, left).merge(table.cell(chance.randint(top, rows - 1), chance.randint(left, columns - 1)))
            else:
                paragraph = document.add_paragraph(chance.choice(texts), style=chance.choice(styles))
                for _ in range(chance.randint(0, 3)):
                    run = paragraph.add_run(chance.choice(texts))
                    if chance.random() < 0.3:
                        run.add_break(chance.choice([WD_BREAK.LINE, WD_BREAK.PAGE, WD_BREAK.COLUMN]))

    data = word(build)
    inside = b"<w:hyperlink><w:r><w:t> there</w:t><w:noBreakHyphen/></w:r></w:hyperlink>"
    link = b'<w:p><w:pPr><w:pStyle w:val="nosuch"/></w:pPr><w:r><w:t>see</w:t></w:r>' + inside + b"</w:p>"
    for file in (data, word_file(link), word_file(PARAGRAPH % b"x<w:br/>" + link)):
        assert load(".docx", file).text == as_python_docx_says(file)
