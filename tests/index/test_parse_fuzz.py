"""Broken, doctored and disguised files: each is read or refused in one line, and the next good file is read."""

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.pipeline.errors import DataError, RefusedFile
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.parse import ParseLimits, Parser
from tests.contract.inputs import FILES
from tests.index.hostile_files import pdf_text, word_file

pytestmark = pytest.mark.slow  # each starts a process that imports the parsers

GOOD = word_file(b"<w:p><w:r><w:t>Good words.</w:t></w:r></w:p>")
BITS = (
    b"\0", b"\xff\xfe", b"\x00\xff\xff\xff\x7f", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;", b"]]>", b"<![CDATA[",
    b"endobj\n", b"/Length -1", b"/Length 99999999999", b"/Kids[3 0 R 3 0 R]", b"<</Filter[/FlateDecode/FlateDecode]>>", b"\xed\xa0\x80",
    b"&#0;", b"<svg><![CDATA[", b"--->", b"startxref\n-5", b"PK\x05\x06", b"xmlns:w='x'", b"\xf0\x9f\x98\x80" * 50,
    b"../../../../etc/passwd",
)  # fmt: skip
FEW = 60  # mutations of each kind


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(ParseLimits(seconds=2.0, memory_bytes=600_000_000)) as opened:
        yield opened


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few things wrong."""
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(data) + 1)
        data = chance.choice(MUTATIONS)(data, place, chance)
    return data[:2_000_000]


MUTATIONS: list[Callable[[bytes, int, random.Random], bytes]] = [
    lambda data, place, chance: data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :],
    lambda data, place, chance: data[:place],
    lambda data, place, chance: data[:place] + data[place + chance.randrange(200) :],
    lambda data, place, chance: data[:place] + chance.choice(BITS) + data[place:],
    lambda data, place, chance: data[:place] + data[max(0, place - 300) : place] * chance.choice((2, 50)) + data[place:],
    lambda data, place, chance: data[place:] + data[:place],
]


def inside_mutated(data: bytes, chance: random.Random) -> bytes:
    """A ZIP file whose members are mutated, so that what is wrong is met by what reads them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in source.infolist():
            body = source.read(entry)
            odd = chance.choice((f"../{entry.filename}", f"/{entry.filename}", f"{entry.filename}\0b", entry.filename.upper()))
            name = entry.filename if chance.random() > 0.02 else odd
            archive.writestr(name, mutated(body, chance) if body and chance.random() < 0.3 else body)
    return out.getvalue()


def outcome(parser: Parser, data: bytes, name: str, kind: str = "") -> str:
    """A word for what became of a file; anything but a text or a refusal of one line fails."""
    kind = kind or Path(name).suffix
    try:
        loaded = parser.parse(data, name, kind)
    except DataError as error:
        reason = error.reason if isinstance(error, RefusedFile) else str(error)
        assert reason and "\n" not in reason and len(reason) < 2000, reason
        return "refused"
    assert "\0" not in loaded.text + loaded.title
    (loaded.text + loaded.title).encode()
    assert "root:" not in loaded.text, "a file of this machine was read"
    return "read"


def fuzz(parser: Parser, kind: str, seeds: range) -> set[str]:
    seen = set()
    samples = FILES[kind]()
    for seed in seeds:
        chance = random.Random(f"{kind} {seed}")
        sample = chance.choice(samples)
        broken = inside_mutated(sample, chance) if kind == ".docx" and seed % 2 else mutated(sample, chance)
        seen.add(outcome(parser, broken, f"mutated{kind}"))
        if seed % 20 == 0:
            assert parser.parse(GOOD, "good.docx", ".docx").text == "Good words."
    return seen


@pytest.mark.parametrize("kind", [kind for kind in LOADERS.names() if kind not in (".text", ".markdown", ".htm")])
def test_a_broken_file_is_read_or_refused_and_the_next_good_one_is_read(parser: Parser, kind: str) -> None:
    assert "read" in fuzz(parser, kind, range(FEW))
    assert parser.parse(GOOD, "good.docx", ".docx").text == "Good words."


def test_a_file_in_disguise_is_never_read_as_what_it_hides(parser: Parser) -> None:
    page = b"<html><body>Shown words.<script>evil()</script></body></html>"
    disguised = {
        "pdf with a ZIP behind.pdf": pdf_text(b"Shown words.") + GOOD,
        "zip with a page before.docx": page + GOOD,
        "page with a PDF inside.html": page + pdf_text(b"hidden"),
        "pdf that is a page.pdf": page,
        "word that is a PDF.docx": pdf_text(b"hidden"),
        "zip that is no word file.docx": zipped({"a.txt": b"hidden"}),
    }
    for name, data in disguised.items():
        if outcome(parser, data, name) == "read":
            assert "evil" not in parser.parse(data, name, Path(name).suffix).text, name


def test_names_are_data_too(parser: Parser) -> None:
    for name in ("a\0b.pdf", "\u202efdp.pdf", "../../x.pdf", "x" * 5000 + ".pdf", "\n{}.pdf", '"; rm -rf /.pdf', "\udc80.pdf"):
        assert outcome(parser, pdf_text(b"Words."), name, ".pdf") == "read"
        assert outcome(parser, b"%PDF-1.7 broken", name, ".pdf") == "refused"


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()
