"""How answers are compared word by word: case, articles, punctuation and citations do not count."""

import re
from typing import Final

from serving.pipeline.text.folding import caseless, plain_dashes
from serving.pipeline.text.words import WORD_OR_NUMBER

CITATION: Final = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_ARTICLES: Final = frozenset({"a", "an", "the"})


def without_citations(text: str) -> str:
    """The text without its `[n]` marks."""
    return CITATION.sub("", text)


def words(text: str) -> list[str]:
    """The words and numbers of an answer, folded, without articles; "A" alone is a grade, not an article."""
    found = WORD_OR_NUMBER.findall(caseless(without_citations(text)))
    return [word for word in found if word not in _ARTICLES] or found


def normal(text: str) -> str:
    """A text in the form in which key facts are looked for: folded, one space between things, dashes alike."""
    return " ".join(plain_dashes(caseless(without_citations(text))).split())


def holds(answer: str, fact: str) -> bool:
    """Whether a normalised answer contains a fact, not as part of a longer word or number: "5" is not in "15" or "5.2"."""
    pattern = rf"(?<![\w])(?<!\d[.,]){re.escape(normal(fact))}(?!\w)(?![.,]\d)"
    return re.search(pattern, answer) is not None
