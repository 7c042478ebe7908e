"""Whether what was found is about the question, with no golden answer: for traces of real traffic too."""

from itertools import islice
from typing import Final

import numpy as np

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics.hits import CutoffMetric
from harness.results.score import Score
from serving.pipeline.text.sentences import sentences
from serving.pipeline.types import Trace

MAX_SENTENCES: Final = 50  # sentences of a hit that are looked at


class ContextRelevance(CutoffMetric):
    """Mean over the first k hits of the cosine of the question and the hit's nearest sentence, by the embedding model; no golden answer.

    The mean, since every hit takes room in the prompt; the nearest sentence, since one is enough to answer. Long chunks have more of
    them, so it compares retrieval over the same chunks, questions and embedding model, and is no scale of its own.
    """

    label = "context_relevance"
    needs_case = False

    def __init__(self, params: CutoffMetric.Params, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        self.version = f"{type(self).version} {tools.embedder_id}"  # type: ignore[misc]  # scores are kept under it

    def measure_hits(self, trace: Trace, case: Case | None) -> Score:
        """The mean, or why there is none."""
        sentences_by_hit = [_sentences(hit.chunk.text) for hit in trace.hits[: self.k]]
        if not sentences_by_hit:
            return self.skip("no hits")
        texts = [trace.query.text, *(sentence for hit in sentences_by_hit for sentence in hit)]
        question, *sentence_vectors = self._tools.vectors(texts).astype(np.float64)
        cosines = iter([float(np.clip(question @ sentence, 0.0, 1.0)) for sentence in sentence_vectors])
        best = [max(islice(cosines, len(hit))) for hit in sentences_by_hit]
        return self.give(float(np.mean(best)))


def _sentences(text: str) -> list[str]:
    """The first sentences of a hit; the whole of it where it has none."""
    return [text[start:end] for start, end in islice(sentences(text), MAX_SENTENCES)] or [text]
