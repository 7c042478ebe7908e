"""The excerpt that an incident shows: a few words around a rule's match, without personal data."""

import re
from typing import Final

MOST: Final = 120  # characters
AROUND: Final = 40  # characters before and after what fired
_PRIVATE: Final = re.compile(r"\S{0,64}@\S{0,64}|\b(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{16,256}\b|[^\W_]{1,16}://\S{1,256}")
_INVISIBLE: Final = re.compile(r"[^\S ]|[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]")


def redacted_excerpt(text: str, start: int = 0, end: int = 0) -> str:
    """At most `MOST` characters around a span: every digit is `#`; addresses, links and long codes are `…`. Needs no other package."""
    end = min(max(start, end), start + MOST)
    begin, stop = max(0, start - AROUND), min(len(text), end + AROUND)
    lead, tail = max(0, begin - 64), min(len(text), stop + 64)  # a number that is cut in two would not be seen for one
    words = _PRIVATE.sub(lambda match: "…" * len(match[0]), text[lead:tail])[begin - lead : stop - lead]
    shown = re.sub(r"[^\S\n]{2,}", " ", _INVISIBLE.sub(" ", re.sub(r"\d", "#", words))).strip()
    shown = re.sub("…{2,}", "…", shown)
    return (shown if len(shown) <= MOST else shown[: MOST - 1] + "…").strip()
