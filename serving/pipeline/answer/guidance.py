"""Guidance after a refusal: the nearest documents that the caller may see, and topics to ask about."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.checks.injection.patterns import find_injections
from serving.pipeline.text.quoted import quoted
from serving.pipeline.types import Answer, Hit

MOST_WORDS: Final = 24  # a refusal with more words behind it would no longer be known for one: see answer/refuse.py
MOST_DOCUMENTS: Final = 2
MOST_TOPICS: Final = 2
LONGEST: Final = 60  # characters of a title or a topic
_NUMBER: Final = re.compile(r"\A\d{1,3}(?:\.\d{1,3}){0,4}\.?\s{1,4}(?=\D)")  # of a heading
_ODD: Final = re.compile(r"[\[\]<>{}|*_`#\"“”\\]+|https?://\S{1,200}")


def guided(answer: Answer, hits: Sequence[Hit]) -> Answer:
    """A refusal with guidance, unless the longer text would no longer be recognised as a refusal; any other answer as it is."""
    if not answer.refused:
        return answer
    whole = replace(answer, guidance=guidance(hits))
    return whole if is_refusal(whole.shown, "") or not is_refusal(answer.text, "") else answer


def guidance(hits: Sequence[Hit]) -> str:
    """Two sentences made only of the hits' titles and headings; empty where none can be shown."""
    titles = _names((hit.chunk.title for hit in hits), MOST_DOCUMENTS)
    topics = _names((hit.chunk.heading.rpartition(" > ")[2] for hit in hits), MOST_TOPICS, but=titles)
    while titles and _words(_sentences(titles, topics)) > MOST_WORDS:
        titles, topics = (titles, topics[:-1]) if topics else (titles[:-1], topics)
    return _sentences(titles, topics) if titles else ""


def _sentences(titles: Sequence[str], topics: Sequence[str]) -> str:
    near = f"The nearest {'documents are' if len(titles) > 1 else 'document is'} {_quoted(titles, 'and')}."
    return f"{near} You could ask about {_quoted(topics, 'or')}." if topics else near


def _names(candidates: Iterable[str], most: int, but: Sequence[str] = ()) -> list[str]:
    """The first distinct names that can be shown: one short line that contains no instruction."""
    known = {name.casefold() for name in but}
    names: list[str] = []
    for candidate in candidates:
        if len(names) == most:
            break
        name = quoted(_NUMBER.sub("", _ODD.sub(" ", candidate[: 4 * LONGEST]).strip()), LONGEST).strip(" .")
        repeated = any(name.casefold() in other for other in known)
        if any(map(str.isalpha, name)) and not repeated and not find_injections(candidate):
            names.append(name)
            known.add(name.casefold())
    return names


def _quoted(names: Sequence[str], between: str) -> str:
    return f" {between} ".join(f"“{name}”" for name in names)


def _words(text: str) -> int:
    return len(text.split())
