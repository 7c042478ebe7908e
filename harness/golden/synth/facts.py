"""Facts that a document states plainly, each with a question that it answers."""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from harness.golden.case import Kind
from harness.golden.synth.wording import CODE, VERBS, Clause, clause
from serving.pipeline.text.headings import is_heading
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import Document

LEAD = re.compile(
    r"(?:(?:[-*+•–]|\(?\d{1,3}(?:\.\d{1,3}){0,8}[.)]?|\(?[a-zA-Z][.)]|[A-Z]?\d{1,2}(?:\.\d{1,2}){1,8})\s+)+"
)  # item marks and clause numbers
LONGEST, SHORT_LINE = 240, 40
MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = rf"\d{{1,2}} (?:{MONTH})(?: \d{{4}})?|\d{{4}}-\d{{2}}-\d{{2}}"
MONEY = r"\d[\d,.]* (?:EUR|USD|GBP|SGD|CHF|PLN|JPY)"
PERCENT = r"\d[\d,.]* ?%"
COUNT = r"\d[\d,.]* (?:(?:working|calendar|business|full|further|paid) )?[a-z]{3,}s"
PREPOSITION = (
    r"within|for|after|before|until|by|on|from|since|in|to|at|above|below|over|under|every|up to|at least|at most|more than|less than"
)
TAIL = r"(?: (?:of|after|before|from|per|a|an|each) [^,.]{1,50})?"
ENDING = re.compile(
    rf"(?P<middle>.*?)(?:^| )(?P<prepositions>(?:(?:{PREPOSITION}) ){{0,2}})"
    rf"(?:(?P<date>{DATE})|(?P<money>{MONEY})|(?P<percent>{PERCENT})|(?P<count>{COUNT}))(?P<tail>{TAIL})"
)
NAME = r"[A-Z][a-zé]{1,40} [A-Z][\wé-]{1,40}"
ROLE = (
    r"(?:[A-Z][\w&-]{0,40} |department |country |regional )?(?:[A-Z][\w&-]{0,40} )?"
    r"(?:[Mm]anager|[Dd]irector|[Oo]fficer|[Cc]ontroller|[Tt]reasurer|[Ll]ead|[Cc]ounsel|[Cc]ommittee|[Bb]oard|[Cc]ouncil|[Tt]eam|[Dd]esk|[Hh]ead|CEO|CFO|CTO|DPO)"
)
AGENT = re.compile(
    r"(?P<middle>[a-z]{1,40}(?: [\w,-]{1,40}){0,8}) by "
    rf"(?P<agent>(?:the )?{ROLE}|{NAME})(?P<tail> (?:of|after|before|within|at|in) [^,]{{1,60}})?"
)
ACTOR = re.compile(rf"(?:[Tt]he )?(?:{ROLE}|{NAME})(?: of [A-Z][\w&-]{{0,40}}(?: [A-Z][\w&-]{{0,40}})?)?")


@dataclass(frozen=True, slots=True)
class Fact:
    """A question, its answer and the words of the document that give it."""

    document: Document
    named: str  # the document, as a question calls it
    stem: str  # the question without the document's name; the same in two documents, it compares them
    value: str  # what a right answer must contain
    answer: str
    quote: str
    start: int
    template: str
    kind: Kind = "factoid"
    row: str = ""  # of a table
    column: str = ""

    @property
    def question(self) -> str:
        """The question, with the document named."""
        return f"According to {self.named}, {self.stem}?"


def sentence_facts(document: Document, document_name: str, common: Set[str]) -> Iterator[Fact]:
    """A fact for each plain sentence that ends in a figure or a date, or says who does something."""
    for first, last in sentences(document.text):
        raw = document.text[first:last]
        lead = LEAD.match(raw)
        start = first + (lead.end() if lead else 0)
        quote = document.text[start:last]
        sentence = " ".join(quote.split())
        heading = "\n" in quote and len(quote.split("\n")[0]) < SHORT_LINE  # a title without a mark, joined with what follows
        if heading or len(sentence) > LONGEST or is_heading(raw) or raw.startswith((">", "|")) or document.text.count(quote) != 1:
            continue
        parts = clause(sentence, common)
        question = parts and (_who(parts) or _by_whom(parts) or _how_much(parts))
        if question:
            yield Fact(document, document_name, question.stem, question.value, sentence, quote, start, question.template, _kind(question))


@dataclass(frozen=True, slots=True)
class _QuestionParts:
    stem: str
    value: str
    template: str


def _who(parts: Clause) -> _QuestionParts | None:
    """Who does it: from "The CFO approves the budget" to "who approves the budget"."""
    if not ACTOR.fullmatch(parts.subject) or parts.verb in ("is", "are", "was", "were", "has") or not 2 <= len(parts.rest.split()) <= 16:
        return None
    value = re.sub(r"^the ", "", parts.subject)
    return _QuestionParts(f"who {parts.verb} {parts.rest}", value, "who")


def _by_whom(parts: Clause) -> _QuestionParts | None:
    """By whom it is done: from "Artwork is checked by the Brand Manager" to "by whom is artwork checked"."""
    match = AGENT.fullmatch(parts.rest)
    if match is None or parts.verb in VERBS or re.search(r"\b(?:and|by)\b", match["middle"]):
        return None
    value = re.sub(r"^the ", "", match["agent"])
    return _QuestionParts(f"by whom {parts.as_question(match['middle'] + (match['tail'] or ''))}", value, "by-whom")


def _how_much(parts: Clause) -> _QuestionParts | None:
    """When or how much: from "The offer is valid for 10 days" to "for how many days is the offer valid"."""
    match = ENDING.fullmatch(parts.rest)
    if match is None:
        return None
    preposition, middle, tail = match["prepositions"].strip(), match["middle"], match["tail"] or ""
    if re.search(
        rf"(?:^| )(?:and|or|than|is|are|be|{PREPOSITION}|plus|about|beyond|between|against|the|a|of|with|as|another|each)$", middle
    ):
        return None
    if match["date"]:
        if preposition not in ("on", "by", "from", "since", "until", "before", "after"):
            return None
        return _QuestionParts(f"{preposition} which date {parts.as_question(middle)}{tail}", match["date"], "date")
    if match["count"]:
        unit = match["count"].split(" ", 1)[1]
        start = f"{preposition} how many {unit}{tail}".strip()
        if not middle and parts.verb in ("is", "are", "was", "were"):  # "how many days is the term" is not English
            return None
        return _QuestionParts(f"{start} {parts.as_question(middle)}", match["count"], "how-many")
    if match["money"]:
        start = {"": "how much", "up to": "up to what amount"}.get(preposition, f"{preposition} what amount")
        return _QuestionParts(f"{start} {parts.as_question(middle)}{tail}", match["money"], "how-much")
    start = f"{preposition} what percentage{tail}".strip()
    return _QuestionParts(f"{start} {parts.as_question(middle)}", match["percent"], "percentage")


def _kind(question: _QuestionParts) -> Kind:
    return "exact-code" if CODE.search(question.stem) or CODE.search(question.value) else "factoid"
