import asyncio
from dataclasses import replace

from harness.gate.leaks import find_leaks, restricted_principals
from harness.gate.rules import LeakBy, LeakRule
from serving.pipeline.index.base import Filter
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.types import Chunk, Document, Hit, Query
from tests.support.making import a_case

CORPUS = Corpus.of(
    "small",
    [
        Document("hr/pay.md", "pay", domain="hr", groups=("hr-team",)),
        Document("it/vpn.md", "vpn", domain="it"),
        Document("acme/plan.md", "plan", domain="it", tenant="acme"),
    ],
)
CASES = [a_case(id="open", relevant_ids=["it/vpn.md"], evidence=[]), a_case(id="closed", relevant_ids=["hr/pay.md"], evidence=[])]


class Shelf:
    """Gives every chunk that the filter admits; its own labels may be wrong."""

    def __init__(self, *chunks: Chunk, honest: bool = True) -> None:
        self.chunks, self.honest = chunks, honest

    async def retrieve(self, query: Query) -> RetrievalResult:
        where = Filter.of(query)
        return RetrievalResult(tuple(Hit(chunk, 1.0) for chunk in self.chunks if not self.honest or where.admits(chunk)))


def chunk_of(document: Document) -> Chunk:
    return Chunk(document.id, document.id, 0, 3, document.text, domain=document.domain, tenant=document.tenant, groups=document.groups)


CHUNKS = [chunk_of(document) for document in CORPUS.documents]


def leaks(shelf: Shelf, by: LeakBy, cases: int = 2, corpus: Corpus = CORPUS) -> tuple[tuple[str, ...], int, str]:
    found = asyncio.run(find_leaks(LeakRule(id="leak", rule="leak", by=by, cases=cases), shelf, corpus, CASES))
    return found.lines, found.queries, found.inconclusive


def test_a_retriever_that_filters_leaks_nothing() -> None:
    for by, people in (("domain", 2), ("groups", 2), ("tenant", 2)):
        assert leaks(Shelf(*CHUNKS), by) == ((), 2 * people, "")  # type: ignore[arg-type]


def test_a_retriever_that_does_not_filter_is_caught_by_every_kind() -> None:
    shelf = Shelf(*CHUNKS, honest=False)
    assert "only-it asked closed and saw hr/pay.md" in leaks(shelf, "domain")[0]
    assert leaks(shelf, "groups")[0] == ("of-no-group asked closed and saw hr/pay.md", "of-no-group asked open and saw hr/pay.md")
    assert "of-public asked open and saw acme/plan.md" in leaks(shelf, "tenant")[0]


def test_wrong_labels_in_the_index_do_not_hide_a_leak() -> None:
    mislabelled = Shelf(*[replace(chunk, groups=()) for chunk in CHUNKS])
    assert leaks(mislabelled, "groups")[0]


def test_a_document_that_the_corpus_no_longer_has_counts_as_a_leak() -> None:
    gone = replace(CHUNKS[2], document_id="it/gone.md", tenant="public", domain="it")
    assert leaks(Shelf(gone), "domain")[0]


def test_questions_about_closed_documents_are_asked_first() -> None:
    shelf = Shelf(*CHUNKS, honest=False)
    assert all("asked closed" in line for line in leaks(shelf, "groups", cases=1)[0])


def test_where_nothing_is_kept_apart_nothing_is_claimed() -> None:
    flat = Corpus.of("flat", [Document("a.md", "a"), Document("b.md", "b")])
    for by in ("domain", "groups", "tenant"):
        assert leaks(Shelf(), by, corpus=flat) == ((), 0, f"the corpus has nothing to keep apart by {by}")  # type: ignore[arg-type]
    assert leaks(Shelf(), "domain")[2] == "no question had any hit"


def test_nobody_is_left_out() -> None:
    assert [who.id for who in restricted_principals("domain", CORPUS.documents)] == ["only-hr", "only-it"]
    assert [who.id for who in restricted_principals("groups", CORPUS.documents)] == ["of-no-group", "of-hr-team"]
    assert [who.id for who in restricted_principals("tenant", CORPUS.documents)] == ["of-acme", "of-public"]
