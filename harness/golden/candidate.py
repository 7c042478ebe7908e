"""A candidate for a golden set: the proposed case, its provenance, the decision on it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.golden.case import Case, Evidence, GoldenModel, Kind
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import explain, near

Source = Literal["synth", "feedback", "hand"]
State = Literal["waiting", "accepted", "rejected"]


class Proposal(GoldenModel):
    """What may become a case; unlike one, it may lack an answer or its evidence until a reviewer has added them."""

    id: str = ""  # empty: the candidate's id becomes the case's
    question: str = Field(min_length=1)
    answers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    relevant_ids: tuple[str, ...] = ()
    key_facts: tuple[str, ...] = ()
    answerable: bool = True
    domain: str = "general"
    kind: Kind = "factoid"
    difficulty: Literal["easy", "hard"] = "easy"
    group: str = ""
    principal_groups: tuple[str, ...] = ()


class Provenance(GoldenModel):
    """Where a proposal came from."""

    source: Source
    made_at: str  # ISO 8601, UTC
    by: str = ""  # a template, a model, a person
    document: str = ""
    trace: str = ""  # the query that feedback was given on
    golden: str = ""  # the newest version of the set at that time

    @property
    def text(self) -> str:
        """The provenance on one line, as it stands in the case."""
        sources = {"by": self.by, "trace": self.trace, "against": self.golden}
        return ", ".join([f"{self.source} {self.made_at[:10]}", *(f"{name} {value}" for name, value in sources.items() if value)])


class ReviewNote(GoldenModel):
    """A remark for the reviewer of a proposal, with its measures."""

    name: str
    reason: str = ""
    measures: Mapping[str, float] = {}


class Candidate(GoldenModel):
    """One line of a queue."""

    id: str = Field(min_length=1)
    case: Proposal
    provenance: Provenance
    marks: tuple[ReviewNote, ...] = ()
    state: State = "waiting"
    reviewer: str = ""
    note: str = ""
    decided_at: str = ""
    published: str = ""  # the version it went into: techcorp/v2

    @classmethod
    def of(cls, proposal: Proposal, provenance: Provenance, marks: tuple[ReviewNote, ...] = ()) -> "Candidate":
        """A waiting candidate; the same question about the same evidence from the same source has the same id."""
        quotes = [[evidence.document, evidence.quote] for evidence in proposal.evidence]
        digest = digest_of([proposal.question.casefold(), quotes])[:10]
        return cls(id=f"{provenance.source}-{digest}", case=proposal, provenance=provenance, marks=marks)

    @property
    def case_id(self) -> str:
        """The id its case has."""
        return self.case.id or self.id

    def as_case(self) -> Case:
        """The case it would become, or a `DataError` that says what is missing.

        A case from feedback is pinned to the tune split, since changes may be tuned on the very problem it reports.
        """
        values = self.case.model_dump() | {"id": self.case_id, "provenance": self.provenance.text, "reviewer": self.reviewer}
        try:
            return Case.model_validate(values | {"pinned": "tune" if self.provenance.source == "feedback" else ""})
        except ValidationError as error:
            raise DataError(explain(error, f"candidate {self.id!r}", list(Case.model_fields))) from None


def read_proposal(values: Any, where: str) -> Proposal:
    """A proposal from what a user or a model wrote, or a `DataError` that names the place."""
    if not isinstance(values, dict):
        raise DataError(f"{where}: a case must be keys and values, not {str(values)[:60]!r}.")
    try:
        return Proposal.model_validate(values)
    except ValidationError as error:
        raise DataError(explain(error, where, list(Proposal.model_fields))) from None


def locate_proposal(proposal: Proposal, corpus: Corpus, where: str, *, hint: bool = True) -> Proposal:
    """The proposal with the place of every quote, each standing exactly once in a document of the corpus.

    The `hint` at a similar name compares the name with every document.
    """
    for name in (*proposal.relevant_ids, *(evidence.document for evidence in proposal.evidence)):
        if corpus.get(name) is None:
            suggestion = near(name, [document.id for document in corpus.documents]) if hint else ""
            raise DataError(f"{where}: no document {name!r} in corpus {corpus.name!r}.{suggestion}")
    located: list[Evidence] = []
    for evidence in proposal.evidence:
        document = corpus.get(evidence.document)
        assert document is not None
        times = document.text.count(evidence.quote)
        if times != 1:
            mend = "Quote it as the document writes it." if times == 0 else "Quote more around it."
            raise DataError(f"{where}: {evidence.quote[:60]!r} stands {times} times in {evidence.document!r}; once is needed. {mend}")
        start = document.text.index(evidence.quote)
        located.append(evidence.model_copy(update={"start": start, "end": start + len(evidence.quote)}))
    return proposal.model_copy(update={"evidence": tuple(located)})
