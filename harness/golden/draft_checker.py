"""Checks the drafts of a source against its documents: cases, what is left out and why, and problems."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.golden.case import Case, Evidence
from harness.golden.formats.base import Draft, SkippedPart
from harness.golden.seal import locate_case
from harness.golden.similarity import question_words
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import explain
from serving.pipeline.types import Document


def with_domain(document: Document, key: str) -> Document:
    """The document in the domain that its metadata names under the key."""
    domain = document.title if key == "title" else document.metadata.get(key, "")
    return replace(document, domain=domain) if key and domain else document


class DraftChecker:
    """Collects cases from drafts that agree with the documents."""

    def __init__(self, corpus: Corpus, domain_key: str) -> None:
        self.cases: list[Case] = []
        self.left_out: list[SkippedPart] = []
        self.problems: list[str] = []
        self._documents = {document.id: document for document in corpus.documents}
        self._texts = {document.id: document.text for document in corpus.documents}
        self._domain_key = domain_key
        self._ids: dict[str, str] = {}
        self._questions: set[tuple[object, ...]] = set()

    def add(self, draft: Draft) -> None:
        """Add the case, the reason why it is left out, or its problem."""
        if draft.id in self._ids:
            self.problems.append(f"{draft.where}: case id {draft.id!r} stands in {self._ids[draft.id]} already.")
            return
        self._ids[draft.id] = draft.where
        if any(unicodedata.category(letter) == "Cc" for letter in draft.id):
            self.problems.append(f"{draft.where}: case id {draft.id!r} holds a control character.")
            return
        evidence = self._evidence(draft)
        relevant = {name: grade for name, grade in draft.relevant.items() if name in self._documents}
        self._leave_out(draft, len(draft.relevant) - len(relevant), "a relevant document that is not in the corpus")
        answers = tuple(printable(answer) for answer in draft.answers if printable(answer))
        answerable = draft.fields.get("answerable", True)
        if answerable and not evidence and not relevant:
            self._leave_out(draft, 1, "a case with no relevant document in the corpus")
        elif answerable and draft.answers and not answers:
            self._leave_out(draft, 1, "a case with empty answers")
        else:
            self._leave_out(draft, len(draft.answers) - len(answers), "an empty answer beside others")
            self._add_case(draft, evidence, relevant, answers)

    def _add_case(self, draft: Draft, evidence: tuple[Evidence, ...], relevant: Mapping[str, int], answers: tuple[str, ...]) -> None:
        fields: dict[str, Any] = {"provenance": f"import {Path(draft.where).name}", "domain": self._domain(draft, evidence, relevant)}
        fields |= draft.fields
        fields |= {
            "id": draft.id,
            "question": printable(draft.question),
            "answers": answers,
            "evidence": evidence,
            "relevant_ids": tuple(relevant),
        }
        if any(grade != 1 for grade in relevant.values()):
            fields["grades"] = tuple(relevant.values())
        if not answers and fields.get("answerable", True):
            fields["scope"] = "retrieval"
        try:
            case = locate_case(Case.model_validate(fields), self._texts, draft.where)
        except ValidationError as error:
            self.problems.append(explain(error, draft.where, list(Case.model_fields)))
            return
        except DataError as error:
            self.problems.append(str(error))
            return
        question = (question_words(case), case.principal_groups)
        if question in self._questions:
            self._leave_out(draft, 1, "a case that asks the same as an earlier one")
            return
        self._questions.add(question)
        self.cases.append(case)

    def _evidence(self, draft: Draft) -> tuple[Evidence, ...]:
        evidence: list[Evidence] = []
        for piece in draft.evidence:
            quote, document = piece.quote.replace("\0", " "), self._documents.get(piece.document)
            if document is None:
                self._leave_out(draft, 1, "evidence in a document that is not in the corpus")
            elif piece.start >= 0 and document.text[piece.start : piece.end] != quote:
                self._leave_out(draft, 1, "evidence that does not stand where it is said to")
            else:
                evidence.append(piece.model_copy(update={"quote": quote}))
        return tuple(evidence)

    def _domain(self, draft: Draft, evidence: Sequence[Evidence], relevant: Mapping[str, int]) -> str:
        named = draft.metadata.get(self._domain_key)
        if isinstance(named, str) and printable(named):
            return printable(named)
        document_ids = [*(piece.document for piece in evidence), *relevant]
        return self._documents[document_ids[0]].domain if document_ids else "general"

    def _leave_out(self, draft: Draft, times: int, reason: str) -> None:
        self.left_out += [SkippedPart(draft.where, reason)] * times


def printable(text: str) -> str:
    """A text without control characters other than line breaks and tabs, and without blank ends."""
    return "".join(" " if unicodedata.category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text).strip()
