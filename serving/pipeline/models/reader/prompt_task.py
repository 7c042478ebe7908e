"""Parses a rendered prompt into question, passages and rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from langchain_core.messages import BaseMessage

from serving.pipeline.models.reader.tags import TagFinder, TaggedPart, without

CitationRule = Literal["every", "some", "none"]
AnswerStyle = Literal["thorough", "balanced", "concise"]

_TAGGED: Final = TagFinder(("passage", "document", "doc", "source", "context"))
_NUMBERED: Final = re.compile(
    r"^(?:\[(\d{1,3})\]|(?:passage|document|source|context)\s*#?(\d{1,3})\s*[:.)-])[ \t]*", re.IGNORECASE | re.MULTILINE
)
_ATTRIBUTE: Final = re.compile(r"([a-z_]{1,20})=\"([^\"]{0,1000})\"", re.IGNORECASE)
_LINE_START: Final = r"(?:^|\n)[^\S\n]{0,8}(?:#{1,6}\s{0,8})?"  # bounded, as every repeat here: prompts hold what strangers wrote
_QUESTION: Final = re.compile(
    rf"{_LINE_START}(?:\*\*)?(?:user'?s? )?(?:question|query)"
    r"(?:\s{0,8}(?:\*\*)?\s{0,8}:(?:\*\*)?[ \t]{0,8}|[ \t]{0,8})(?:\n|(?<=[:*\s]))",
    re.IGNORECASE,
)
_ANSWER: Final = re.compile(r"\n[^\S\n]{0,8}(?:#{1,6}\s{0,8})?(?:\*\*)?(?:answer|response)\b", re.IGNORECASE)
_QUESTION_TAG: Final = TagFinder(("question", "query"))
_CONTEXT: Final = re.compile(rf"{_LINE_START}(?:context|passages|documents|sources|information)\s{{0,8}}:", re.IGNORECASE)
_NUMBERS: Final = {
    **{"one": 1, "a": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5},
    **{"six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10},
}
_COUNT: Final = r"(\d{1,2}|" + "|".join(_NUMBERS) + r")"
_SENTENCES: Final = re.compile(
    rf"\b{_COUNT}(?:\s{{0,3}}(?:to|or|-|–)\s{{0,3}}{_COUNT})?\s{{1,3}}(?:\w{{1,20}}\s{{1,3}})?sentences?\b", re.IGNORECASE
)
_REFUSE: Final = re.compile(
    r"(?:reply|say|answer|respond|write|return|output|state)[^\"“”\n]{0,80}[\"“]([^\"“”\n]{8,200})[\"”]", re.IGNORECASE
)
_DEFAULT_REFUSAL: Final = "The passages do not answer this question."
_DEFAULT_SENTENCES: Final = 4


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of the prompt with what its header says."""

    number: int
    text: str
    title: str = ""
    section: str = ""
    version: str = ""
    effective: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class PromptTask:
    """The question, passages and rules of a prompt."""

    question: str
    passages: tuple[Passage, ...]
    sentences: int = _DEFAULT_SENTENCES
    citations: CitationRule = "none"
    style: AnswerStyle = "balanced"
    refusal: str = _DEFAULT_REFUSAL


def read_task(messages: Sequence[BaseMessage]) -> PromptTask:
    """The task in a conversation; rules are read from the system message and from the user message outside the passages."""
    system = "\n".join(str(message.text) for message in messages if message.type == "system")
    user = next((str(message.text) for message in reversed(messages) if message.type == "human"), "")
    source = user if _TAGGED.find(user) or not _TAGGED.find(system) else f"{system}\n{user}"
    passages, rest = _passages(source)
    rules = f"{without(system, _TAGGED.find(system))}\n{rest}"
    refusal = next((match[1] for match in _REFUSE.finditer(rules) if _negative(match[1])), _DEFAULT_REFUSAL)
    return PromptTask(_question(rest), passages, _sentences(rules), _citation_rule(rules), _answer_style(rules), refusal)


def _passages(text: str) -> tuple[tuple[Passage, ...], str]:
    """The passages, and the text without them."""
    tagged = _TAGGED.find(text)
    if tagged:
        return tuple(_from_tag(place, part) for place, part in enumerate(tagged, start=1)), without(text, tagged)
    cut = _last_start(_QUESTION, text)
    before, after = (text[:cut], text[cut:]) if cut else (text, "")
    numbered = list(_NUMBERED.finditer(before))
    if numbered:
        ends = [match.start() for match in numbered[1:]] + [len(before)]
        passages = [
            Passage(int(match[1] or match[2]), before[match.end() : end].strip()) for match, end in zip(numbered, ends, strict=True)
        ]
        return tuple(passages), before[: numbered[0].start()] + after
    context = _CONTEXT.search(before)
    if context:
        return (Passage(1, before[context.end() :].strip()),), before[: context.start()] + after
    return (), text


def _from_tag(place: int, part: TaggedPart) -> Passage:
    facts = {key.lower(): value for key, value in _ATTRIBUTE.findall(part.attributes)}
    number = facts.get("n") or facts.get("index") or facts.get("id") or ""
    shown = {key: facts.get(key, "") for key in ("title", "section", "version", "effective", "status")}
    content = part.content.replace(facts["mark"], " ") if facts.get("mark") else part.content  # datamarked
    return Passage(int(number) if number.isdigit() else place, content.strip(), **shown)


def _question(rest: str) -> str:
    """The text after the last "Question:", else the last line with a question mark, else the last line."""
    tagged = [part for part in _QUESTION_TAG.find(rest) if not part.attributes]
    if tagged:
        return " ".join(tagged[0].content.split())
    labels = list(_QUESTION.finditer(rest))
    if labels:
        question = _ANSWER.split(rest[labels[-1].end() :], maxsplit=1)[0]
        if question.strip():
            return " ".join(question.split())
    lines = [line.strip() for line in rest.split("\n") if line.strip()]
    return next((line for line in reversed(lines) if line.endswith("?")), lines[-1] if lines else "")


def _sentences(rules: str) -> int:
    limits = [match[2] or match[1] for match in _SENTENCES.finditer(rules)]
    if limits:
        return max(1, min(_NUMBERS.get(word.lower(), 0) or int(word) for word in limits))
    return 2 if re.search(r"\b(?:concise|brief|short)", rules, re.IGNORECASE) else _DEFAULT_SENTENCES


def _citation_rule(rules: str) -> CitationRule:
    marked = re.search(r"\[(?:n|\d+|number|id)\]|\bcit(?:e|ation)|\breference the (?:passage|source|document)", rules, re.IGNORECASE)
    if not marked or re.search(r"\b(?:no|not|without|never)\s{1,3}(?:\w{1,20}\s{1,3})?cit", rules, re.IGNORECASE):
        return "none"
    lax = re.search(r"\b(?:may|can)\b[^.\n]{0,60}\[(?:n|\d+)\]", rules, re.IGNORECASE)
    return "some" if lax else "every"


def _answer_style(rules: str) -> AnswerStyle:
    if re.search(r"\b(?:concise|brief|short answers?)\b", rules, re.IGNORECASE):
        return "concise"
    return "thorough" if re.search(r"\b(?:full answers?|thorough|detailed|comprehensive|in detail)\b", rules, re.IGNORECASE) else "balanced"


def _negative(text: str) -> bool:
    return bool(re.search(r"\b(?:not|no|cannot|unable|can.t|don.t|unknown|insufficient|refuse|sorry)\b", text, re.IGNORECASE))


def _last_start(pattern: re.Pattern[str], text: str) -> int:
    starts = [match.start() for match in pattern.finditer(text)]
    return starts[-1] if starts else 0
