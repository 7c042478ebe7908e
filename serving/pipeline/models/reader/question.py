"""Parses a question: its terms, codes, names, and the answer type it expects."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from serving.pipeline.models.reader.answer_type import ANSWER_PATTERNS, expected_answer_type
from serving.pipeline.models.reader.words import codes, terms

_LISTS: Final = re.compile(
    r"\b(?:what|which) (?:are|were)\b|\b(?:what|which) (?:\w+ ){0,2}\w+s (?:are|must|can|may|should|do|does|count|need|have)\b"
    r"|\b(?:list|name) (?:all|the|every)\b|\b(?:steps|categories|criteria|requirements|conditions)\b",
    re.IGNORECASE,
)
_NAMES: Final = re.compile(r"(?<![.?!]\s)(?<!^)\b[A-Z][\wà-ÿ’-]+(?:\s+[A-Z][\wà-ÿ’-]+)*")
_OLDER: Final = re.compile(
    r"\b(?:previous(?:ly)?|former(?:ly)?|old(?:er)?|superseded|originally|used to|in the past|back then|last year|at that time)\b"
    r"|\b(?:before|until|up to|prior to)\s+(?:the |this |last )?(?:\w+ )?"
    r"(?:spring|summer|autumn|winter|year|change|new|20\d\d|\w+ 20\d\d|end)\b",
    re.IGNORECASE,
)
_CHANGE: Final = re.compile(
    r"\bchang(?:ed?|es)\b|\bdiffer|\bcompar|\bversus\b|\bvs\b|\bboth\b"
    r"|\b(?:increase|decrease|dearer|cheaper)\b|\b(?:went|go|gone) (?:up|down)\b"
    r"|\b\w+er or (?:\w+er|less|more)\b|\b(?:more|less|gain|rise) or \w+|\bthan (?:under|in|before|the|those)\b|\brules before\b"
    r"|\b(?:and|to) (?:now|the one in force)\b|\bthen and now\b",
    re.IGNORECASE,
)
_YEARS_BEFORE: Final = re.compile(r"\b(?:before|until|prior to|up to)\s+(?:\w+\s)?((?:19|20)\d\d)\b", re.IGNORECASE)
_ABOUT_MODELS: Final = re.compile(r"\b(?:AI|assistants?|chatbots?|language models?|LLM|prompt)\b")


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A question in the form in which the reader compares it with passages."""

    text: str
    terms: tuple[str, ...]  # once each, in order
    bigrams: frozenset[tuple[str, str]]
    codes: tuple[str, ...]
    names: tuple[str, ...]  # stems of capitalised words
    years: frozenset[str]
    years_before: frozenset[str] = frozenset()  # those of them that a time ends with: "before 2026"
    expects: str = ""  # a key of SHOWS, or nothing
    wants_list: bool = False
    about_models: bool = False
    older: bool = False  # it asks about what no longer holds
    change: bool = False  # it asks what differs between two states or sides

    @classmethod
    def of(cls, text: str) -> "ParsedQuestion":
        """Everything the words of a question tell."""
        question_terms = terms(text)
        names = [stem for match in _NAMES.findall(text) for stem in terms(match)]
        return cls(
            text=text,
            terms=tuple(dict.fromkeys(question_terms)),
            bigrams=frozenset(pairwise(question_terms)),
            codes=tuple(codes(text)),
            names=tuple(dict.fromkeys(names)),
            years=frozenset(re.findall(r"\b(?:19|20)\d\d\b", text)),
            years_before=frozenset(_YEARS_BEFORE.findall(text)),
            expects=expected_answer_type(text),
            wants_list=bool(_LISTS.search(text)),
            about_models=bool(_ABOUT_MODELS.search(text)),
            older=bool(_OLDER.search(text)),
            change=bool(_CHANGE.search(text)),
        )

    def shown_in(self, text: str) -> bool:
        """Whether a text shows something of the kind expected, other than what the question itself says."""
        if not self.expects:
            return False
        own = self.text.lower()
        return any(match[0].lower() not in own for match in ANSWER_PATTERNS[self.expects].finditer(text))
