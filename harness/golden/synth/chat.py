"""Proposals by a chat model: one passage at a time, its reply strictly parsed, its quotes checked against the document."""

import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.golden.candidate import Proposal
from harness.golden.case import Evidence
from harness.golden.synth.base import GeneratedProposal, SynthesisStep, askers_groups
from serving.pipeline.answer.pack import fenced
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import explain
from serving.pipeline.text.headings import headings
from serving.pipeline.types import Document, Usage

PER_CALL = 3
PASSAGE_CHARACTERS = 6000  # characters of a document shown in one call
TRIES = 2  # a model that twice gives no JSON gives none at the third time
MAX_CHARACTERS = 1000  # characters of a question, answer or quote that are accepted
FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)


class _Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=8, max_length=MAX_CHARACTERS)
    answer: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    quotes: tuple[str, ...] = Field(min_length=1, max_length=3)
    key_facts: tuple[str, ...] = ()
    kind: Literal["factoid", "multi-hop", "comparison", "aggregation", "exact-code", "temporal"] = "factoid"


class _ProposedQuestions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: tuple[_Question, ...]


class ChatGenerator:
    """Asks a chat model for questions about passages of documents."""

    def __init__(self, chat: ConnectedChat, prompts: PromptLibrary, *, version: int = 1) -> None:
        self._chat = chat
        self._prompt = prompts.get("questions", version)
        self._retry_prompt = prompts.get("again", 1)

    async def steps(self, documents: Sequence[Document], count: int, seed: int) -> AsyncIterator[SynthesisStep]:
        """A turn per passage, the passages in an order that the seed decides, until `count` are proposed or all passages were shown."""
        rng = random.Random(seed)  # noqa: S311  a seed, not a secret
        todo = [(document, passage) for document in documents for passage in passages(document)]
        rng.shuffle(todo)
        remaining = count
        for document, passage in todo:
            if remaining <= 0:
                return
            step = await self._step(document, passage, min(remaining, PER_CALL))
            remaining -= len(step.proposed)
            yield step

    async def _step(self, document: Document, passage: str, count: int) -> SynthesisStep:
        """Ask about one passage; a reply that cannot be read is asked for once more."""
        values = {"title": fenced(document.title), "domain": document.domain, "passage": fenced(passage), "count": str(count)}
        rendered = self._prompt.render(**values)
        messages: list[BaseMessage] = [SystemMessage(rendered.system), HumanMessage(rendered.user)]
        usage: list[Usage] = []
        problem = ""
        for _ in range(TRIES):
            message = await self._chat.model.ainvoke(messages)
            usage.append(usage_of(message, self._chat.source, self._chat.name, self._chat.prices))
            text = str(message.text)
            reply = _read(text)
            if isinstance(reply, _ProposedQuestions):
                return self._checked(reply, document, count, tuple(usage))
            problem = reply
            messages += [AIMessage(text or "(nothing)"), HumanMessage(self._retry_prompt.render(problem=problem).user)]
        return SynthesisStep((), (f"{document.id}: the reply of {self._chat.name} could not be read: {problem}",), tuple(usage))

    def _checked(self, reply: _ProposedQuestions, document: Document, count: int, usage: tuple[Usage, ...]) -> SynthesisStep:
        proposed: list[GeneratedProposal] = []
        skipped: list[str] = []
        for question in reply.questions[:count]:
            if reason := _problem_of(question, document):
                skipped.append(f"{document.id}: {question.question[:80]!r}: {reason}")
            else:
                proposed.append(GeneratedProposal(_proposal(question, document), f"{self._chat.name} {self._prompt.id}", document.id))
        return SynthesisStep(tuple(proposed), tuple(skipped), usage)


def passages(document: Document) -> list[str]:
    """The document in pieces that fit one call, cut before headings where there are some, else between paragraphs."""
    starts = [heading.start for heading in headings(document.text)] or [match.end() for match in re.finditer(r"\n\n+", document.text)]
    pieces: list[str] = []
    begin = 0
    while begin < len(document.text):
        fits = [start for start in starts if begin < start <= begin + PASSAGE_CHARACTERS]
        end = len(document.text) if len(document.text) - begin <= PASSAGE_CHARACTERS else fits[-1] if fits else begin + PASSAGE_CHARACTERS
        pieces.append(document.text[begin:end])
        begin = end
    return [piece for piece in pieces if piece.strip()]


def _read(text: str) -> _ProposedQuestions | str:
    """The reply, or what is wrong with it."""
    match = FENCED.match(text)
    try:
        return _ProposedQuestions.model_validate(json.loads(match[1] if match else text))
    except json.JSONDecodeError as error:
        return f"it is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
    except (RecursionError, ValueError) as error:
        return explain(error, "reply", list(_Question.model_fields))[:300] if isinstance(error, ValidationError) else "it is not JSON"


def _problem_of(question: _Question, document: Document) -> str:
    """Why a proposal is not fit for the queue; empty when it is."""
    for quote in question.quotes:
        times = document.text.count(quote) if quote.strip() else 0
        if times != 1:
            return f"its quote {quote[:60]!r} stands {times} times in the document; once is needed"
    if question.kind not in ("aggregation", "comparison"):
        for fact in question.key_facts:
            if not fact.strip() or not any(fact in quote for quote in question.quotes):
                return f"its key fact {fact[:60]!r} does not stand in its quotes"
    return ""


def _proposal(question: _Question, document: Document) -> Proposal:
    quotes = [(quote, document.text.index(quote)) for quote in dict.fromkeys(question.quotes)]
    return Proposal(
        question=" ".join(question.question.split()),
        answers=(question.answer.strip(),),
        evidence=tuple(Evidence(document=document.id, quote=quote, start=start, end=start + len(quote)) for quote, start in quotes),
        key_facts=question.key_facts,
        domain=document.domain,
        kind=question.kind,
        difficulty="hard" if len(quotes) > 1 else "easy",
        principal_groups=askers_groups(document),
    )
