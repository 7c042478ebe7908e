"""Edits of an answer's text: marks behind claims that nothing supports, and right citations in the place of wrong ones."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from serving.pipeline.answer.cite import marker_spans, without_code
from serving.pipeline.checks.grounding.verify import VerifiedClaim
from serving.pipeline.text.answer_words import UNSUPPORTED

_TAIL: Final = re.compile(r"(?:[.!?…。！？]{1,3}[\"'”’)]{0,3}|\s?\|)?\Z")

Edit = tuple[int, int, str]  # from, to, what is put there


def edited(text: str, *, marked: Sequence[VerifiedClaim] = (), cited_anew: Sequence[VerifiedClaim] = ()) -> str:
    """The text with a mark at the end of some claims, which `without_marks` takes away again, and the right sources behind others."""
    edits = sorted([*_marks(text, marked), *_sources(text, cited_anew)])
    parts: list[str] = []
    position = 0
    for start, end, replacement in edits:
        parts += [text[position:start], replacement]
        position = max(position, end)
    return "".join([*parts, text[position:]])


def _marks(text: str, claims: Sequence[VerifiedClaim]) -> Iterator[Edit]:
    """Before the full stop; none in code, which is no sentence."""
    prose = without_code(text)
    for one in claims:
        written = prose[one.claim.start : one.claim.end].rstrip()
        tail = _TAIL.search(written, max(0, len(written) - 8))
        if tail and written.strip():
            yield one.claim.start + tail.start(), one.claim.start + tail.start(), UNSUPPORTED


def _sources(text: str, claims: Sequence[VerifiedClaim]) -> Iterator[Edit]:
    """The first bracket of a claim names the source, the others go, each with the blank before it."""
    spans = marker_spans(text)
    starts = [span.start for span in spans]
    for one in claims:
        own = spans[bisect_left(starts, one.claim.start) : bisect_left(starts, one.claim.end)]
        for position, span in enumerate(own):
            blank = position > 0 and text[span.start - 1] == " "
            yield span.start - blank, span.end, "" if position else f"[{one.source}]"
