"""One question of a golden set, with what is known about its answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.pipeline.types import Principal, Query, Span, Turn

Kind = Literal["factoid", "multi-hop", "comparison", "aggregation", "exact-code", "temporal", "unanswerable", "paraphrase", "follow-up"]


class GoldenModel(BaseModel):
    """Something read from a golden file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(GoldenModel):
    """The words in a source document that answer the question, and where they stand."""

    document: str
    quote: str = Field(min_length=1)
    start: int = Field(default=-1, ge=-1)  # -1: not located yet, `touchstone golden seal` fills it in
    end: int = Field(default=-1, ge=-1)

    @property
    def span(self) -> Span:
        """Where the words stand."""
        return Span(self.document, self.start, self.end)


class PriorTurn(GoldenModel):
    """A question that was asked before in the same conversation, and what was answered."""

    question: str = Field(min_length=1)
    answer: str = ""


class Case(GoldenModel):
    """One question with what is known about its answer."""

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    history: tuple[PriorTurn, ...] = ()  # the conversation before, oldest first
    answers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    relevant_ids: tuple[str, ...] = ()  # documents, where no spans are known
    grades: tuple[int, ...] = ()  # how relevant each of them is, from 1; empty: all alike
    key_facts: tuple[str, ...] = ()  # what a right answer must contain, as the documents write it
    answerable: bool = True
    scope: Literal["answer", "retrieval"] = "answer"  # retrieval: what should be found is known, what should be said is not
    domain: str = "general"
    kind: Kind = "factoid"
    difficulty: Literal["easy", "hard"] = "easy"
    group: str = ""  # cases that ask the same thing in other words share it, and so share their split
    principal_groups: tuple[str, ...] = ()  # what the asker may read beyond the public
    provenance: str = ""
    reviewer: str = ""
    pinned: Literal["", "tune"] = ""  # tune: never in the holdout, whatever its id hashes to; so are cases that feedback brought

    @model_validator(mode="after")
    def _flags_agree(self) -> "Case":
        if self.answerable and not self.answers and self.scope == "answer":
            raise ValueError("an answerable case needs at least one reference in 'answers', or scope 'retrieval'")
        if self.answerable and not (self.evidence or self.relevant_ids):
            raise ValueError("an answerable case needs 'evidence' or 'relevant_ids'")
        if not self.answerable and (self.answers or self.evidence or self.key_facts):
            raise ValueError("an unanswerable case has no 'answers', 'evidence' or 'key_facts'")
        if (self.kind == "unanswerable") == self.answerable:
            raise ValueError("'kind' unanswerable and 'answerable' contradict each other")
        if (self.kind == "follow-up") > bool(self.history):
            raise ValueError("'kind' follow-up needs the 'history' that it follows")
        if self.grades and (len(self.grades) != len(self.relevant_ids) or min(self.grades) < 1):
            raise ValueError("'grades' needs a whole number from 1 for each of 'relevant_ids'")
        if len(set(self.relevant_ids)) < len(self.relevant_ids):
            raise ValueError("a document stands twice in 'relevant_ids'")
        if not self.question.strip():
            raise ValueError("an empty 'question'")
        if any(not answer.strip() for answer in self.answers):
            raise ValueError("an empty reference in 'answers'")
        if any(not fact.strip() for fact in self.key_facts):
            raise ValueError("an empty fact in 'key_facts', which every answer would hold")
        return self

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents that hold the answer, each once, in order."""
        return tuple(dict.fromkeys([*(evidence.document for evidence in self.evidence), *self.relevant_ids]))

    @property
    def query(self) -> Query:
        """The case as its asker would put it."""
        turns = tuple(Turn(turn.question, turn.answer) for turn in self.history)
        return Query(self.question, Principal(id="golden", groups=frozenset(self.principal_groups)), id=self.id, history=turns)
