"""Normalises answers for comparison: without case, articles, punctuation and citations."""

import re
from typing import Final

from serving.pipeline.text.folding import caseless, plain_dashes
from serving.pipeline.text.words import WORD_OR_NUMBER

UNSUPPORTED: Final = " [unsupported]"  # behind a claim of an answer that no passage supports, where a guard marks them
CITATION: Final = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]| \[unsupported\]")
_ARTICLES: Final = frozenset({"a", "an", "the"})


def without_citations(text: str) -> str:
    """The text without its `[n]` marks and those of a guard."""
    return CITATION.sub("", text)


def without_marks(text: str) -> str:
    """The text without the marks of a guard."""
    return text.replace(UNSUPPORTED, "")


def words(text: str) -> list[str]:
    """The words and numbers of an answer, folded, without articles; "A" alone stays: it is a grade."""
    tokens = WORD_OR_NUMBER.findall(caseless(without_citations(text)))
    return [word for word in tokens if word not in _ARTICLES] or tokens


def normalized(text: str) -> str:
    """A text as key facts are searched in it: folded, single spaces, one kind of dash."""
    return " ".join(plain_dashes(caseless(without_citations(text))).split())


def contains_fact(answer: str, fact: str) -> bool:
    """Whether a normalised answer contains a fact, not as part of a longer word or number: "5" is not in "15" or "5.2"."""
    pattern = rf"(?<![\w])(?<!\d[.,]){re.escape(normalized(fact))}(?!\w)(?![.,]\d)"
    return re.search(pattern, answer) is not None
