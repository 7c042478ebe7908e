"""Nobody is shown what they may not read, whatever finds, orders and widens the hits."""

import numpy as np
import pytest
from small_handbook import cut

from serving.pipeline.config import RetrieveConfig
from serving.pipeline.index import STORES
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS, RERANKERS, SEARCHERS
from serving.pipeline.retrieve.retriever import Retriever
from serving.pipeline.types import Document, Principal, Query
from tests.support.langchain_parts import COMPRESSOR, RETRIEVER, passages_of
from tests.support.parts import some_parts

TEXT = "The bonus plan pays ten percent. The bonus is paid in March. Ask your manager about the bonus plan and its dates, please."

DOCUMENTS = {
    document.id: document
    for document in (
        Document("open", f"Everyone: {TEXT}"),
        Document("acme-hr", f"Acme people: {TEXT}", domain="hr", tenant="acme"),
        Document("acme-legal", f"Acme lawyers: {TEXT}", domain="legal", tenant="acme"),
        Document("acme-board", f"Acme board: {TEXT}", domain="hr", tenant="acme", groups=("board",)),
        Document("globex-hr", f"Globex people: {TEXT}", domain="hr", tenant="globex"),
        Document("globex-board", f"Globex board: {TEXT}", domain="hr", tenant="globex", groups=("board",)),
        Document("open-board", f"The board of nobody's: {TEXT}", groups=("board", "audit"), metadata={"year": "2024"}),
        Document("named-board", f"Two named boards: {TEXT}", groups=("acme/board", "public/board")),
    )
}

PRINCIPALS = {
    "anyone": (Query("bonus plan"), {"open"}),
    "acme": (Query("bonus plan", Principal("a", "acme")), {"open", "acme-hr", "acme-legal"}),
    "acme's board": (
        Query("bonus plan", Principal("b", "acme", frozenset({"board"}))),
        {"open", "acme-hr", "acme-legal", "acme-board", "named-board"},
    ),
    "globex' board": (Query("bonus plan", Principal("i", "globex", frozenset({"board"}))), {"open", "globex-hr", "globex-board"}),
    "a board without a tenant": (Query("bonus plan", Principal("j", groups=frozenset({"board"}))), {"open", "open-board", "named-board"}),
    "a group named like acme's": (Query("bonus plan", Principal("k", groups=frozenset({"acme/board"}))), {"open"}),
    "acme, hr only": (Query("bonus plan", Principal("c", "acme", domains=frozenset({"hr"}))), {"acme-hr"}),
    "acme, hr only, asking for legal": (Query("bonus plan", Principal("d", "acme", domains=frozenset({"hr"})), domains=("legal",)), set()),
    "acme, no domain": (Query("bonus plan", Principal("e", "acme", domains=frozenset())), set()),
    "a wish is no right": (Query("bonus plan", Principal("f", "acme"), domains=("hr", "legal")), {"acme-hr", "acme-legal"}),
    "by metadata": (Query("bonus plan", Principal("g", groups=frozenset({"audit"})), metadata={"year": "2024"}), {"open-board"}),
    "a quoted tenant": (Query("bonus plan", Principal("h", "acme' OR 'a'='a")), {"open"}),
}


class TwoTokens:
    """Token vectors good enough for an order."""

    def __init__(self, inner):
        self._inner = inner

    async def aembed_query(self, text):
        return self._inner.embed_query(text)

    def token_vectors(self, text):
        return np.stack([self._inner.vectors([half])[0] for half in (text[: len(text) // 2], text[len(text) // 2 :])])


@pytest.fixture(scope="module", params=STORES.names())
def company(request, make_store):
    return make_store(request.param, [chunk for document in DOCUMENTS.values() for chunk in cut(document, 60, 20)])


@pytest.mark.parametrize("neighbours", [0, 2])
@pytest.mark.parametrize("reranker", [*(name for name in RERANKERS.names() if name != "bedrock"), COMPRESSOR])
@pytest.mark.parametrize("searcher", [*SEARCHERS.names(), RETRIEVER])
@pytest.mark.slow
async def test_a_principal_sees_all_that_is_theirs_and_nothing_else(company, embeddings, searcher, reranker, neighbours):
    fusion = FUSIONS.build(Spec(name="weighted"), parts=some_parts())
    parts = some_parts(store=company, embeddings=TwoTokens(embeddings), fusion=fusion)
    everything = [chunk for document in DOCUMENTS.values() for chunk in cut(document, 60, 20)]
    given = {"passages": passages_of(everything)} if searcher == RETRIEVER else {}
    retriever = Retriever(
        RetrieveConfig(candidates=100, top_k=100, neighbours=neighbours, duplicate_similarity=1.0),
        searcher=SEARCHERS.build(Spec(name=searcher, **given), parts=parts),
        reranker=RERANKERS.build(Spec(name=reranker), parts=parts),
        store=company,
    )
    for who, (query, expected) in PRINCIPALS.items():
        retrieved = await retriever.retrieve(query)
        assert {hit.chunk.document_id for hit in retrieved.hits} == expected, who
        for hit in retrieved.hits:
            assert hit.chunk.text == DOCUMENTS[hit.chunk.document_id].text[hit.chunk.start : hit.chunk.end]
