"""Holds what a format found against the documents: keeps a case, leaves something out and says why, or names what is malformed."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.golden.case import Case, Evidence
from harness.golden.check_alike import asked
from harness.golden.formats.base import Draft, LeftOut
from harness.golden.seal import located
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import explain
from serving.pipeline.types import Document


def with_domain(document: Document, key: str) -> Document:
    """The document in the domain that its metadata names under the key."""
    domain = document.title if key == "title" else document.metadata.get(key, "")
    return replace(document, domain=domain) if key and domain else document


class Sieve:
    """Takes drafts one by one and keeps what stands up to the documents."""

    def __init__(self, corpus: Corpus, domain_key: str) -> None:
        self.cases: list[Case] = []
        self.left_out: list[LeftOut] = []
        self.problems: list[str] = []
        self._documents = {document.id: document for document in corpus.documents}
        self._texts = {document.id: document.text for document in corpus.documents}
        self._domain_key = domain_key
        self._ids: dict[str, str] = {}
        self._asked: set[tuple[object, ...]] = set()

    def take(self, draft: Draft) -> None:
        """Keep the case, note why it is left out, or note what is malformed."""
        if draft.id in self._ids:
            self.problems.append(f"{draft.where}: case id {draft.id!r} stands in {self._ids[draft.id]} already.")
            return
        self._ids[draft.id] = draft.where
        if any(unicodedata.category(letter) == "Cc" for letter in draft.id):
            self.problems.append(f"{draft.where}: case id {draft.id!r} holds a control character.")
            return
        evidence = self._evidence(draft)
        relevant = {name: grade for name, grade in draft.relevant.items() if name in self._documents}
        self._leave(draft, len(draft.relevant) - len(relevant), "a relevant document that is not in the corpus")
        answers = tuple(printable(answer) for answer in draft.answers if printable(answer))
        answerable = draft.fields.get("answerable", True)
        if answerable and not evidence and not relevant:
            self._leave(draft, 1, "a case with no relevant document in the corpus")
        elif answerable and draft.answers and not answers:
            self._leave(draft, 1, "a case with empty answers")
        else:
            self._leave(draft, len(draft.answers) - len(answers), "an empty answer beside others")
            self._keep(draft, evidence, relevant, answers)

    def _keep(self, draft: Draft, evidence: tuple[Evidence, ...], relevant: Mapping[str, int], answers: tuple[str, ...]) -> None:
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
            case = located(Case.model_validate(fields), self._texts, draft.where)
        except ValidationError as error:
            self.problems.append(explain(error, draft.where, list(Case.model_fields)))
            return
        except DataError as error:
            self.problems.append(str(error))
            return
        question = (asked(case), case.principal_groups)
        if question in self._asked:
            self._leave(draft, 1, "a case that asks the same as an earlier one")
            return
        self._asked.add(question)
        self.cases.append(case)

    def _evidence(self, draft: Draft) -> tuple[Evidence, ...]:
        kept: list[Evidence] = []
        for one in draft.evidence:
            quote, document = one.quote.replace("\0", " "), self._documents.get(one.document)
            if document is None:
                self._leave(draft, 1, "evidence in a document that is not in the corpus")
            elif one.start >= 0 and document.text[one.start : one.end] != quote:
                self._leave(draft, 1, "evidence that does not stand where it is said to")
            else:
                kept.append(one.model_copy(update={"quote": quote}))
        return tuple(kept)

    def _domain(self, draft: Draft, evidence: Sequence[Evidence], relevant: Mapping[str, int]) -> str:
        named = draft.about.get(self._domain_key)
        if isinstance(named, str) and printable(named):
            return printable(named)
        holders = [*(one.document for one in evidence), *relevant]
        return self._documents[holders[0]].domain if holders else "general"

    def _leave(self, draft: Draft, times: int, reason: str) -> None:
        self.left_out += [LeftOut(draft.where, reason)] * times


def printable(text: str) -> str:
    """A text without control characters other than line breaks and tabs, and without blank ends."""
    return "".join(" " if unicodedata.category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text).strip()
