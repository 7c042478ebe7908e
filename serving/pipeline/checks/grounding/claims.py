"""The claims of an answer: its sentences, each with the passages it cites."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.answer.cite import markers
from serving.pipeline.checks.grounding.terms import terms
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import Hit

_MARKS: Final = re.compile(r"\s*\[\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3}){0,20}\s*\]")
_LEADING: Final = re.compile(r"\A(?:\s*\[\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3}){0,20}\s*\])+[\s.]*")
_BULLET: Final = re.compile(r"\A\s*(?:[-*+•–]|\(?\d{1,2}[.)]|\(?[a-h][.)])\s+")
_TALK: Final = re.compile(
    r"\A(?:here (?:is|are)|below (?:is|are)|in (?:summary|short)|according to|based on|i hope|let me know|sure|certainly|of course|"
    r"thank|hello|hi|the following|see|please (?:see|note|let))\b",
    re.IGNORECASE,
)
_MOST_TALK: Final = 4  # terms: a longer sentence that begins so says something


@dataclass(frozen=True, slots=True)
class Said:
    """One claim of an answer, without its markers, the numbers of the passages it cites, and where it stands with its markers."""

    text: str
    cited: tuple[int, ...]
    start: int
    end: int


def claims_of(answer: str) -> list[Said]:
    """What an answer asserts; headings, questions, lead-ins and talk about the answer assert nothing."""
    found: list[Said] = []
    for start, end in sentences(answer):
        text = answer[start:end]
        leading = _LEADING.match(text)
        if leading and found:  # "It is paid. [1] Another …": the mark belongs to what came before
            previous = found.pop()
            cited = tuple(dict.fromkeys([*previous.cited, *markers(leading[0])]))
            found.append(Said(previous.text, cited, previous.start, start + len(leading[0].rstrip())))
            start += leading.end()
            text = answer[start:end]
        bare = _BULLET.sub("", _MARKS.sub("", text)).strip()
        found.append(Said(bare, tuple(dict.fromkeys(markers(text))), start, end))
    return [said for said in found if _asserts(said)]


def passages_for(said: Said, passages: Sequence[Hit]) -> tuple[str, ...]:
    """The passages a claim cites, or all of the prompt's where it cites none that exists."""
    cited = [passages[number - 1] for number in said.cited if 0 < number <= len(passages)]
    return tuple(_shown(hit) for hit in cited or passages)


def _shown(hit: Hit) -> str:
    """A passage as the prompt shows it, with its title and section."""
    head = " > ".join(part for part in (hit.chunk.title, hit.chunk.heading) if part)
    return f"{head}\n\n{hit.chunk.text}" if head else hit.chunk.text


def _asserts(said: Said) -> bool:
    text = said.text.strip()
    if not text or text.startswith("#") or text.rstrip("*_\"'”’)").endswith((":", "?")):
        return False
    found = terms(text)
    return bool(found) and not (len(found) <= _MOST_TALK and not said.cited and _TALK.match(text))
