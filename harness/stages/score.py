"""Scores that are kept: under the metric's version, the case, and that part of the trace which the metric reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.golden.case import Case
from harness.metrics.base import JudgedMetric, Metric, Score
from harness.stages.base import Kept, key_of, packed, unpacked
from serving.pipeline.types import Hit, Trace

STAGE = "score"


@dataclass(frozen=True, slots=True)
class KeptScores:
    """Finds and keeps the scores of one trace; those of its tokens, dollars and time are never kept."""

    stages: Kept
    judge_id: str = ""

    def find(self, trace: Trace, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> dict[str, Score]:
        """The scores that are known, by metric."""
        keys = self._keys(trace, case, scorers)
        known = self.stages.get_many(STAGE, list(keys.values()))
        return {name: Score(name, *unpacked(known[key])) for name, key in keys.items() if key in known}

    def keep(self, trace: Trace, case: Case, scorers: Sequence[Metric | JudgedMetric], scores: Sequence[Score]) -> None:
        """Keep new scores."""
        keys = self._keys(trace, case, scorers)
        self.stages.put_many(STAGE, {keys[score.metric]: packed([score.value, score.reason]) for score in scores if score.metric in keys})

    def _keys(self, trace: Trace, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> dict[str, str]:
        guards = [[verdict.side, verdict.action.value] for verdict in trace.guard]  # with `cached`: whether anything was searched
        hits, about = (
            key_of([_place(hit) for hit in trace.hits], trace.query.text, trace.cached, guards),
            key_of(case.model_dump(mode="json")),
        )
        answer = key_of(hits, _said(trace))
        read = {"hits": hits, "answer": answer}
        return {
            scorer.name: key_of(scorer.name, scorer.version, self.judge_id if scorer.needs_judge else "", read[scorer.reads], about)
            for scorer in scorers
            if scorer.reads in read
        }


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
