"""Marks proposals that word overlap alone answers: they tell a good configuration from a bad one about as well as nothing."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from harness.golden.candidate import Proposal, ReviewNote
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.stores.memory import MemoryStore
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.stems import stemmed_words
from serving.pipeline.text.stopwords import without_stop_words
from serving.pipeline.types import PUBLIC

SHARE = 0.8  # of the question's content words, from which the evidence says little else
DEPTH = 10  # ranks looked at
FRAME = frozenset(stemmed_words("according amount comparing date figure given higher listed many much percentage value"))  # how it is asked


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a question stands in its evidence (or the title above it), and where keyword search puts the evidence."""

    share: float
    rank: int  # from 1; 0: not among the first ten

    @property
    def trivial(self) -> bool:
        """Nearly every content word is there, and keyword search finds it first."""
        return self.share >= SHARE and self.rank == 1


class KeywordSearch:
    """BM25 over the chunks of a corpus, whoever may read them."""

    def __init__(self, store: Store, titles: Mapping[str, str]) -> None:
        self._store = store
        self._titles = titles  # by document

    @classmethod
    async def over(cls, corpus: Corpus, settings: PipelineSettings) -> "KeywordSearch":
        """Chunk the documents by sentences and index their words, in memory."""
        chunker = CHUNKERS.build(Spec(name="sentence"))
        public = (replace(document, tenant=PUBLIC, groups=()) for document in corpus.documents)
        chunks = [chunk for document in public for chunk in chunker.split(document)]
        with tempfile.TemporaryDirectory() as folder:  # the store keeps its data in a file as well; this one is not needed again
            store = MemoryStore(MemoryStore.Params(), uri=folder, dimensions=1, settings=settings)
            texts = [f"{chunk.title}\n{chunk.heading}\n{chunk.text}" for chunk in chunks]
            await store.add(chunks, texts, np.ones((len(chunks), 1), dtype=np.float32))
            await store.finish()
        return cls(store, {document.id: document.title for document in corpus.documents})

    async def overlap(self, proposal: Proposal) -> Overlap | None:
        """The measures of a proposal; None for one without evidence. With several quotes, the one hardest to find counts."""
        if not proposal.evidence:
            return None
        question_words = set(stemmed_words(without_stop_words(proposal.question))) - FRAME
        evidence_words = {
            word for evidence in proposal.evidence for word in stemmed_words(f"{self._titles.get(evidence.document, '')} {evidence.quote}")
        }
        hits = await self._store.search_text(proposal.question, DEPTH, Filter())
        ranks = [
            next((rank for rank, hit in enumerate(hits, 1) if hit.chunk.span.overlap(evidence.span)), 0) for evidence in proposal.evidence
        ]
        return Overlap(round(len(question_words & evidence_words) / max(len(question_words), 1), 3), 0 if 0 in ranks else max(ranks))

    async def marks(self, proposal: Proposal) -> tuple[ReviewNote, ...]:
        """The mark `trivial` with what was measured, or none."""
        overlap = await self.overlap(proposal)
        if overlap is None or not overlap.trivial:
            return ()
        reason = f"{overlap.share:.0%} of the question's words stand in its evidence, and keyword search finds it first"
        return (ReviewNote(name="trivial", reason=reason, measures={"share": overlap.share, "bm25_rank": float(overlap.rank)}),)
