"""Leaks: whether retrieval gives a principal a document that it may not read.

What a principal may read is taken from the corpus, not from the labels that the index carries: those are what is tested.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.gate.rules import LeakBy, LeakRule
from harness.golden.case import Case
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.pipeline import PassageRetriever
from serving.pipeline.tenant_groups import group_meant, groups_let_in
from serving.pipeline.types import PUBLIC, Document, Principal, Query

MayRead = Callable[[Principal, Document], bool]

MAY_READ: dict[LeakBy, MayRead] = {
    "domain": lambda who, document: who.domains is None or document.domain in who.domains,
    "groups": lambda who, document: (
        not document.groups or not who.groups.isdisjoint(groups_let_in(document.groups, document.tenant, who.tenant))
    ),
    "tenant": lambda who, document: document.tenant in (PUBLIC, who.tenant),
}


@dataclass(frozen=True, slots=True)
class Leaks:
    """The leaks that were found, and how much was asked to find them."""

    lines: tuple[str, ...]  # a line each: who asked what and saw which document
    queries: int
    hits: int
    inconclusive: str = ""  # why no leak proves nothing: nothing to keep apart, or no hit at all


async def find_leaks(rule: LeakRule, retriever: PassageRetriever, corpus: Corpus, cases: Sequence[Case]) -> Leaks:
    """Retrieve for every question as every restricted principal, and collect hits in documents that it may not read."""
    documents = {document.id: document for document in corpus.documents}
    readers = restricted_principals(rule.by, corpus.documents)
    if not readers:
        return Leaks((), 0, 0, inconclusive=f"the corpus has nothing to keep apart by {rule.by}")
    may_read, leaks, queries, hits = MAY_READ[rule.by], list[str](), 0, 0
    for case in closed_first(rule, readers, documents, cases):
        results = await asyncio.gather(*(retriever.retrieve(Query(case.question, reader)) for reader in readers))
        queries += len(readers)
        for reader, retrieved in zip(readers, results, strict=True):
            hits += len(retrieved.hits)
            for hit in retrieved.hits:
                document = documents.get(hit.chunk.document_id)
                if document is None or not may_read(reader, document):
                    leaks.append(f"{reader.id} asked {case.id} and saw {hit.chunk.document_id}")
    return Leaks(tuple(dict.fromkeys(leaks)), queries, hits, inconclusive="" if hits else "no question had any hit")


def restricted_principals(by: LeakBy, documents: Iterable[Document]) -> list[Principal]:
    """Principals who may read only some documents; none when everyone may read all."""
    documents = list(documents)
    if by == "domain":
        domains = sorted({document.domain for document in documents})
        return [Principal(f"only-{name}", domains=frozenset({name})) for name in domains] if len(domains) > 1 else []
    if by == "tenant":
        tenants = sorted({document.tenant for document in documents} | {PUBLIC})
        return [Principal(f"of-{name}", tenant=name) for name in tenants] if len(tenants) > 1 else []
    groups = sorted({group_meant(name, document.tenant) for document in documents for name in document.groups})
    members = (
        Principal(f"of-{group if tenant == PUBLIC else f'{tenant}/{group}'}", tenant, frozenset({group})) for tenant, group in groups
    )
    return [Principal("of-no-group"), *members] if groups else []


def closed_first(rule: LeakRule, readers: Sequence[Principal], documents: dict[str, Document], cases: Sequence[Case]) -> Iterator[Case]:
    """The cases to ask, first those with evidence in documents that some reader may not read."""
    may_read = MAY_READ[rule.by]

    def closed(case: Case) -> bool:
        documents_of_case = [documents[name] for name in case.documents if name in documents]
        return any(not may_read(reader, document) for document in documents_of_case for reader in readers)

    ordered = sorted(cases, key=lambda case: not closed(case))  # stable: else in the split's order
    yield from ordered[: rule.cases]
