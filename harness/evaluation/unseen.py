"""What an app does not show cannot be scored: which metrics need its passages, their places, its citations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from harness.results.case_result import CaseResult
from harness.results.score import Score

Shown = Literal["hits", "documents", "spans", "passages", "citations"]

NEEDS: Mapping[str, Shown] = {
    **dict.fromkeys(("recall", "precision", "mrr", "ndcg", "map", "coverage", "span_recall", "span_precision", "span_iou"), "spans"),
    **dict.fromkeys(("doc_recall", "doc_precision", "doc_mrr", "doc_ndcg", "doc_map"), "documents"),
    **dict.fromkeys(("ragas_context_precision", "ragas_context_recall"), "documents"),
    **dict.fromkeys(("citation_precision", "citation_recall", "quality", "format"), "citations"),
    **dict.fromkeys(("duplicate_rate", "empty", "context_relevance"), "hits"),
    **dict.fromkeys(("groundedness", "factuality", "hallucination"), "passages"),
    **dict.fromkeys(("judge_groundedness", "judge_context_relevance", "judge_completeness", "injection_success"), "passages"),
    **dict.fromkeys(("ragas_text_precision", "ragas_text_recall", "ragas_quoted_spans", "ragas_faithfulness"), "passages"),
    **dict.fromkeys(("ragas_llm_context_precision", "ragas_llm_context_recall"), "passages"),
}
MISSING_TEXT: Mapping[Shown, str] = {
    "hits": "nothing of what it found",
    "documents": "no documents that it found",
    "spans": "no place in a document of what it found",
    "passages": "no passages that its answers rest on",
    "citations": "no citations of passages",
}


def drop_unseen_scores(rows: Sequence[CaseResult]) -> list[CaseResult]:
    """The rows of an app without the scores of what not one of its answers shows, each with the reason."""
    shown = _shown(rows)
    return [replace(row, scores=tuple(_without_unseen(score, shown) if row.trace else score for score in row.scores)) for row in rows]


def _shown(rows: Sequence[CaseResult]) -> set[Shown]:
    """What any of the answers shows."""
    traces = [row.trace for row in rows if row.trace]
    chunks = [hit.chunk for trace in traces for hit in trace.hits]
    presence: dict[Shown, bool] = {
        "hits": bool(chunks),
        "documents": any(chunk.document_id for chunk in chunks),
        "spans": any(chunk.document_id and chunk.end > chunk.start for chunk in chunks),
        "passages": any(trace.passages for trace in traces),
        "citations": any(trace.answer.citations for trace in traces),
    }
    return {name for name, present in presence.items() if present}


def _without_unseen(score: Score, shown: set[Shown]) -> Score:
    need = NEEDS.get(score.metric.partition("@")[0])
    if need is None or need in shown:
        return score
    return Score(score.metric, None, f"the app shows {MISSING_TEXT[need]}")
