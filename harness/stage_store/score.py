"""Stored scores, under the metric's version, the case, and that part of the trace which the metric reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.golden.case import Case
from harness.results.score import JudgedMetric, Metric, Score
from harness.stage_store.base import StageStore, key_of, pack, unpack
from serving.pipeline.types import Hit, Trace

STAGE = "score"


@dataclass(frozen=True, slots=True)
class CachedScores:
    """The stored scores of one trace; scores of tokens, dollars and time are never stored."""

    store: StageStore
    keys: Mapping[str, str]  # by metric

    @classmethod
    def of(
        cls, store: StageStore, trace: Trace, case: Case | None, scorers: Sequence[Metric | JudgedMetric], judge_id: str = ""
    ) -> "CachedScores":
        """The scores of these metrics for a trace and a case."""
        guards = [[verdict.side, verdict.action.value] for verdict in trace.guard]  # with `cached`: whether retrieval ran
        hits = key_of([_hit_parts(hit) for hit in trace.hits], trace.query.text, trace.cached, guards)
        ranking = [[span.document_id, span.start, span.end] for span in trace.ranking]
        trace_keys = {"hits": key_of(hits, ranking), "answer": key_of(hits, _answer_parts(trace))}
        case_key = key_of(case.model_dump(mode="json") if case else None)
        keys = {
            scorer.name: key_of(scorer.name, scorer.version, judge_id if scorer.needs_judge else "", trace_keys[scorer.reads], case_key)
            for scorer in scorers
            if scorer.reads in trace_keys
        }
        return cls(store, keys)

    def find(self) -> dict[str, Score]:
        """The stored scores, by metric."""
        stored = self.store.get_many(STAGE, list(self.keys.values()))
        return {name: Score(name, *unpack(stored[key])) for name, key in self.keys.items() if key in stored}

    def store_all(self, scores: Sequence[Score]) -> None:
        """Store new scores."""
        new = {self.keys[score.metric]: pack([score.value, score.reason]) for score in scores if score.metric in self.keys}
        self.store.put_many(STAGE, new)


def _hit_parts(hit: Hit) -> list[Any]:
    chunk = hit.chunk
    return [chunk.document_id, chunk.start, chunk.end, chunk.domain, chunk.title, chunk.heading, chunk.text]


def _answer_parts(trace: Trace) -> list[Any]:
    """The answer, its passages and its prompt."""
    answer = trace.answer
    citations = [[citation.marker, citation.chunk_id] for citation in answer.citations]
    details = [dict(stage.detail) for stage in trace.stages if stage.stage == "answer"]
    facts = {key: value for detail in details for key, value in detail.items() if key != "kept_ms"}
    return [answer.text, citations, answer.refused, answer.truncated, [_hit_parts(hit) for hit in trace.passages], trace.prompt, facts]
