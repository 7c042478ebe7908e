"""Short quotes of an answer or a document for its reader: one line, without what is plainly personal."""

import re
from typing import Final

_ADDRESS: Final = re.compile(r"[^\s@<>\"'()]{1,64}@[^\s@<>\"'()]{1,64}")
_LONG_NUMBER: Final = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){6,30}")  # phone, card and account numbers
_CODE_NUMBER: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){2,8}\b")  # an IBAN
_READ: Final = 4  # times the length that are looked at, so that what is cut away later may be hidden first


def quoted(text: str, length: int = 120) -> str:
    """The beginning of a text in one line, without e-mail addresses and long numbers, whatever the checks of personal data do."""
    line = " ".join(text[: length * _READ].split())
    for pattern in (_ADDRESS, _CODE_NUMBER, _LONG_NUMBER):
        line = pattern.sub("…", line)
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
