"""The degraded answer, when no model answers: the passages that were found, quoted and cited."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from serving.pipeline.text.quoted import quoted
from serving.pipeline.text.sentences import sentences
from serving.pipeline.text.stems import stemmed_words
from serving.pipeline.text.stopwords import STOP_WORDS
from serving.pipeline.types import Answer, Citation, Hit

MOST_PASSAGES: Final = 3
LONGEST_QUOTE: Final = 320  # characters
LONGEST_TITLE: Final = 80
NOTICE: Final = "No model could answer just now. These passages of the documents come nearest to your question:"
WARNING: Final = "No model answered: these are passages that were found, not an answer to your question."
_BRACKETS: Final = str.maketrans("[]<>", "()‹›")  # so that nothing in a document is taken for a citation or a tag


def degraded_answer(question: str, hits: Sequence[Hit]) -> Answer:
    """The best passages, each quoted and cited, without the notice; the output guard checks this text."""
    shown = hits[:MOST_PASSAGES]
    lines = [f"[{number}] {_place(hit)}: “{_excerpt(question, hit.read or hit.chunk.text)}”" for number, hit in enumerate(shown, start=1)]
    citations = tuple(Citation(number, hit.chunk.id, hit.chunk.span) for number, hit in enumerate(shown, start=1))
    return Answer("\n".join(lines), citations, degraded=True)


def with_notice(answer: Answer) -> Answer:
    """A checked degraded answer with a notice in its text and a warning."""
    warnings = (WARNING, *answer.warnings)
    text = answer.text if answer.refused else f"{NOTICE}\n\n{answer.text}"
    return replace(answer, text=text, warnings=warnings, confidence=None, degraded=True)


def _place(hit: Hit) -> str:
    """The title and section of a passage."""
    section = hit.chunk.heading.rpartition(" > ")[2]
    title = hit.chunk.title or hit.chunk.document_id
    names = [title] if not section or section == title else [title, section]
    return ", ".join(quoted(name.translate(_BRACKETS), LONGEST_TITLE) for name in names)


def _excerpt(question: str, text: str) -> str:
    """The beginning of a passage, from the sentence on that shares most words with the question."""
    asked = {word for word in stemmed_words(question) if word not in STOP_WORDS}
    spans = list(sentences(text))
    shared = [len(asked & set(stemmed_words(text[start:end]))) for start, end in spans]
    first = spans[shared.index(max(shared))][0] if spans else 0
    rest = re.sub(r"\A#{1,6}\s+", "", text[first:])
    return quoted(rest.translate(_BRACKETS), LONGEST_QUOTE)
