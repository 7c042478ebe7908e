"""The claims of an answer: its sentences, each with the passages it cites."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.answer.cite import markers
from serving.pipeline.checks.grounding.terms import parse_terms
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import Hit

_MARKS: Final = re.compile(r"(?<!\s)\s*\[\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3}){0,20}\s*\]")
_LEADING: Final = re.compile(r"\A(?:\s*\[\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3}){0,20}\s*\])+[\s.]*")
_BULLET: Final = re.compile(r"\A\s*(?:[-*+•–]|\(?\d{1,2}[.)]|\(?[a-h][.)])\s+")
_LEAD_IN: Final = re.compile(
    r"\A(?:here (?:is|are)|below (?:is|are)|in (?:summary|short)|according to|based on|i hope|let me know|sure|certainly|of course|"
    r"thank|hello|hi|the following|see|please (?:see|note|let))\b",
    re.IGNORECASE,
)
_LEAD_IN_TERMS: Final = 4  # a longer sentence that begins so is a claim


@dataclass(frozen=True, slots=True)
class AnswerClaim:
    """One claim of an answer without its markers, the passages it cites, and its span with the markers."""

    text: str
    cited: tuple[int, ...]
    start: int
    end: int


def claims_of(answer: str) -> list[AnswerClaim]:
    """The claims of an answer; headings, questions and lead-ins are none."""
    claims: list[AnswerClaim] = []
    for start, end in sentences(answer):
        text = answer[start:end]
        leading = _LEADING.match(text)
        if leading and claims:  # "It is paid. [1] Another …": the marker belongs to the sentence before
            previous = claims.pop()
            cited = tuple(dict.fromkeys([*previous.cited, *markers(leading[0])]))
            claims.append(AnswerClaim(previous.text, cited, previous.start, start + len(leading[0].rstrip())))
            start += leading.end()
            text = answer[start:end]
        claim_text = _BULLET.sub("", _MARKS.sub("", text)).strip()
        claims.append(AnswerClaim(claim_text, tuple(dict.fromkeys(markers(text))), start, end))
    return [claim for claim in claims if _is_assertion(claim)]


def passages_for(claim: AnswerClaim, passages: Sequence[Hit]) -> tuple[str, ...]:
    """The passages a claim cites, or all of the prompt's where it cites none that exists."""
    cited = [passages[number - 1] for number in claim.cited if 0 < number <= len(passages)]
    return tuple(_passage_text(hit) for hit in cited or passages)


def _passage_text(hit: Hit) -> str:
    """A passage as the prompt shows it, with its title and section."""
    head = " > ".join(part for part in (hit.chunk.title, hit.chunk.heading) if part)
    return f"{head}\n\n{hit.chunk.text}" if head else hit.chunk.text


def _is_assertion(claim: AnswerClaim) -> bool:
    text = claim.text.strip()
    if not text or text.startswith("#") or text.rstrip("*_\"'”’)").endswith((":", "?")):
        return False
    claim_terms = parse_terms(text)
    return bool(claim_terms) and not (len(claim_terms) <= _LEAD_IN_TERMS and not claim.cited and _LEAD_IN.match(text))
