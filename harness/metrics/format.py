"""Whether the answer has the form that its prompt asks for."""

import re
from collections.abc import Iterator
from typing import Final

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Score
from serving.pipeline.answer.cite import markers
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import GuardAction, Trace

MAX_CHARACTERS: Final = 20_000  # characters of an answer and of a prompt's rules that are looked at
_NUMBERS: Final = dict(zip(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), range(1, 11), strict=True))
_LIMIT: Final = re.compile(rf"\b(?:at most|up to|no more than) (\d{{1,2}}|{'|'.join(_NUMBERS)}) sentences?\b", re.IGNORECASE)
_CITE: Final = re.compile(r"\bcite\b[^\n]{0,80}\b(?:every|each)\b|\b(?:every|each)\b[^\n]{0,80}(?:\bcit(?:e|ation)\b|\[n\])", re.IGNORECASE)
_EXACTLY: Final = re.compile(r"exactly this sentence[^\"\n]{0,60}\"([^\"\n]{1,300})\"", re.IGNORECASE)
_MARKS_AFTER_STOP: Final = re.compile(r"([.!?]) {0,3}((?:\[[\d ,;–-]{1,40}\] {0,2})+)")


class Format(Scoring):
    """1 when the answer keeps its prompt's form, else 0 with what it breaks.

    Always: it has text, is not cut off, and no `[n]` points past the passages. Where the prompt says so: no more sentences than
    allowed, a citation in each (not in one that says what is missing or leads a list), a refusal in the prompt's own words.
    """

    label = "format"
    needs_case = False

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """Kept, or what is broken."""
        if any(verdict.action is GuardAction.BLOCK for verdict in trace.guard):
            return self.skip("the words are the guard's")
        rules = trace.prompt[:MAX_CHARACTERS].partition("<passage ")[0]  # passages and question are data, not rules
        faults = list((_refusal_faults if trace.answer.refused else _faults)(trace, rules))
        return self.give(float(not faults), "; ".join(faults))


def _refusal_faults(trace: Trace, rules: str) -> Iterator[str]:
    answer, required = trace.answer.text[:MAX_CHARACTERS].strip().strip('"“”'), _EXACTLY.search(rules)
    if required and answer != required[1]:
        yield "refuses in other words than the prompt's"
    if markers(answer):
        yield "cites in a refusal"


def _faults(trace: Trace, rules: str) -> Iterator[str]:
    text = trace.answer.text[:MAX_CHARACTERS]
    if not text.strip():
        yield "no text"
    if trace.answer.truncated:
        yield "cut off at the output limit"
    known = {citation.marker for citation in trace.answer.citations}
    if unknown := sorted(set(markers(text)) - known):
        yield f"no passage {', '.join(f'[{number}]' for number in unknown[:5])}"
    stated, limit = _sentences(text), _LIMIT.search(rules)
    if limit and len(stated) > (allowed := _NUMBERS.get(limit[1].lower()) or int(limit[1])):
        yield f"{len(stated)} sentences, at most {allowed} are asked for"
    if _CITE.search(rules) and (uncited := [sentence for sentence in stated if _needs_source(sentence)]):
        yield f"{len(uncited)} of {len(stated)} sentences cite nothing: {uncited[0][:80]!r}"


def _sentences(text: str) -> list[str]:
    """What the answer says, sentence by sentence, with the marks that stand behind a full stop put before it."""
    text = _MARKS_AFTER_STOP.sub(lambda match: f" {match[2].strip()}{match[1]} ", text)
    return [text[start:end] for start, end in sentences(text) if any(map(str.isalpha, text[start:end]))]


def _needs_source(sentence: str) -> bool:
    return not (markers(sentence) or sentence.endswith(":") or is_refusal(sentence, ""))
