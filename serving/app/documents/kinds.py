"""The kinds of files that are taken: by suffix, and their bytes must look like it."""

from pathlib import PurePosixPath
from typing import Final

PDF, WORD = "application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MEDIA_TYPES: Final = {
    ".txt": "text/plain", ".text": "text/plain", ".md": "text/markdown", ".markdown": "text/markdown", ".html": "text/html",
    ".htm": "text/html", ".pdf": PDF, ".docx": WORD,
}  # fmt: skip
TAKEN: Final = "txt, md, html, pdf, docx"
LOOKED_AT: Final = 1024  # bytes, within which a PDF says that it is one
UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
OTHERS: Final = {  # how files begin that no reader of text should see, whatever their names say
    b"%PDF-": "a PDF", b"PK\x03\x04": "a ZIP archive or Office file", b"PK\x05\x06": "a ZIP archive", b"\x7fELF": "a program",
    b"MZ": "a program", b"\x89PNG": "a picture", b"GIF8": "a picture", b"\xff\xd8\xff": "a picture", b"\x1f\x8b": "an archive",
    b"\xd0\xcf\x11\xe0": "an old Office file", b"Rar!": "an archive", b"7z\xbc\xaf": "an archive", b"BZh": "an archive",
    b"{\\rtf": "an RTF file",
}  # fmt: skip


def suffix_of(name: str) -> str:
    """The suffix that says how a file is read; empty where it is none of ours."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in MEDIA_TYPES else ""


def objection(suffix: str, head: bytes) -> str:
    """Why a file that begins like this is not what its suffix says; empty where it may be."""
    if suffix == ".pdf":
        return "" if b"%PDF-" in head[:LOOKED_AT] else "does not begin as a PDF does"
    if suffix == ".docx":
        return "" if head.startswith(b"PK\x03\x04") else "does not begin as a Word file does"
    for beginning, what in OTHERS.items():
        if head.startswith(beginning) and not (beginning == b"MZ" and b"\0" not in head):
            return f"begins as {what} does"
    return "is not text: it holds NUL bytes" if b"\0" in head and not head.startswith(UTF_16) else ""
