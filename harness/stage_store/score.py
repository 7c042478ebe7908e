"""Scores that are kept: under the metric's version, the case, and that part of the trace which the metric reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.golden.case import Case
from harness.results.score import JudgedMetric, Metric, Score
from harness.stage_store.base import StageStore, key_of, packed, unpacked
from serving.pipeline.types import Hit, Trace

STAGE = "score"


@dataclass(frozen=True, slots=True)
class CachedScores:
    """Finds and keeps the scores of one trace; those of its tokens, dollars and time are never kept."""

    stages: StageStore
    keys: Mapping[str, str]  # by metric

    @classmethod
    def of(
        cls, stages: StageStore, trace: Trace, case: Case | None, scorers: Sequence[Metric | JudgedMetric], judge_id: str = ""
    ) -> "CachedScores":
        """Those of some metrics."""
        guards = [[verdict.side, verdict.action.value] for verdict in trace.guard]  # with `cached`: whether anything was searched
        hits = key_of([_place(hit) for hit in trace.hits], trace.query.text, trace.cached, guards)
        read = {"hits": hits, "answer": key_of(hits, _said(trace))}
        about = key_of(case.model_dump(mode="json") if case else None)
        keys = {
            scorer.name: key_of(scorer.name, scorer.version, judge_id if scorer.needs_judge else "", read[scorer.reads], about)
            for scorer in scorers
            if scorer.reads in read
        }
        return cls(stages, keys)

    def find(self) -> dict[str, Score]:
        """The scores that are known, by metric."""
        known = self.stages.get_many(STAGE, list(self.keys.values()))
        return {name: Score(name, *unpacked(known[key])) for name, key in self.keys.items() if key in known}

    def keep(self, scores: Sequence[Score]) -> None:
        """Keep new scores."""
        new = {self.keys[score.metric]: packed([score.value, score.reason]) for score in scores if score.metric in self.keys}
        self.stages.put_many(STAGE, new)


def _place(hit: Hit) -> list[Any]:
    chunk = hit.chunk
    return [chunk.document_id, chunk.start, chunk.end, chunk.domain, chunk.title, chunk.heading, chunk.text]


def _said(trace: Trace) -> list[Any]:
    """What was answered, from which passages, by which prompt."""
    answer = trace.answer
    citations = [[one.marker, one.chunk_id] for one in answer.citations]
    details = [dict(stage.detail) for stage in trace.stages if stage.stage == "answer"]
    facts = {key: value for detail in details for key, value in detail.items() if key != "kept_ms"}
    return [answer.text, citations, answer.refused, answer.truncated, [_place(hit) for hit in trace.passages], trace.prompt, facts]
