"""Whether retrieval ever shows somebody a document that they may not read.

What a principal may read is taken from the corpus, not from the labels that the index carries: those are what is tested.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.gate.rules import LeakBy, LeakRule
from harness.golden.case import Case
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.pipeline import PassageRetriever
from serving.pipeline.types import PUBLIC, Document, Principal, Query

May = Callable[[Principal, Document], bool]

MAY: dict[LeakBy, May] = {
    "domain": lambda who, document: who.domains is None or document.domain in who.domains,
    "groups": lambda who, document: not document.groups or not who.groups.isdisjoint(document.groups),
    "tenant": lambda who, document: document.tenant in (PUBLIC, who.tenant),
}


@dataclass(frozen=True, slots=True)
class Leaks:
    """What asking around brought to light."""

    found: tuple[str, ...]  # a line each: who asked what and saw which document
    asked: int
    hits: int
    nothing: str = ""  # why this says nothing: there is nothing to keep apart, or nothing was found at all


async def find_leaks(rule: LeakRule, retriever: PassageRetriever, corpus: Corpus, cases: Sequence[Case]) -> Leaks:
    """Ask every question as every principal of the kind, and look for documents that this one may not read."""
    documents = {document.id: document for document in corpus.documents}
    people = principals(rule.by, corpus.documents)
    if not people:
        return Leaks((), 0, 0, nothing=f"the corpus has nothing to keep apart by {rule.by}")
    may, found, asked, hits = MAY[rule.by], list[str](), 0, 0
    for case in tempting(rule, people, documents, cases):
        answers = await asyncio.gather(*(retriever.retrieve(Query(case.question, who)) for who in people))
        asked += len(people)
        for who, retrieved in zip(people, answers, strict=True):
            hits += len(retrieved.hits)
            for hit in retrieved.hits:
                document = documents.get(hit.chunk.document_id)
                if document is None or not may(who, document):
                    found.append(f"{who.id} asked {case.id} and saw {hit.chunk.document_id}")
    return Leaks(tuple(dict.fromkeys(found)), asked, hits, nothing="" if hits else "no question had any hit")


def principals(by: LeakBy, documents: Iterable[Document]) -> list[Principal]:
    """Those who may read only a part; none when everyone may read everything."""
    documents = list(documents)
    if by == "domain":
        domains = sorted({document.domain for document in documents})
        return [Principal(f"only-{name}", domains=frozenset({name})) for name in domains] if len(domains) > 1 else []
    if by == "tenant":
        tenants = sorted({document.tenant for document in documents} | {PUBLIC})
        return [Principal(f"of-{name}", tenant=name) for name in tenants] if len(tenants) > 1 else []
    groups = sorted({group for document in documents for group in document.groups})
    return [Principal("of-no-group"), *(Principal(f"of-{name}", groups=frozenset({name})) for name in groups)] if groups else []


def tempting(rule: LeakRule, people: Sequence[Principal], documents: dict[str, Document], cases: Sequence[Case]) -> Iterator[Case]:
    """The cases whose own documents somebody may not read come first: they pull hardest at what is closed."""
    may = MAY[rule.by]

    def closed(case: Case) -> bool:
        own = [documents[name] for name in case.documents if name in documents]
        return any(not may(who, document) for document in own for who in people)

    ordered = sorted(cases, key=lambda case: not closed(case))  # stable: else in the split's order
    yield from ordered[: rule.cases]
