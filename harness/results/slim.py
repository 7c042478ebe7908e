"""Smaller copies of an evaluation, with all of its numbers."""

from collections.abc import Mapping
from dataclasses import replace

from harness.golden.case import Case
from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from serving.pipeline.types import KEPT, Hit, StageRecord, Trace


def slim(report: EvalReport) -> EvalReport:
    """The evaluation without texts of passages, prompts, details of stages, reasons of scores."""
    return EvalReport(report.header, tuple(map(slim_row, report.rows)))


def slim_for_search(report: EvalReport, cases: Mapping[str, Case]) -> EvalReport:
    """A slim copy for a search of thousands of trials: the best hit only, and the cases shared between reports."""
    return EvalReport(report.header, tuple(_slim_row_for_search(slim_row(row), cases) for row in report.rows))


def _slim_row_for_search(row: CaseResult, cases: Mapping[str, Case]) -> CaseResult:
    trace = replace(row.trace, hits=row.trace.hits[:1]) if row.trace else None
    known = cases.get(row.case.id)
    return replace(row, case=known if known == row.case else row.case, trace=trace)  # not a question that the guard changed


def slim_row(row: CaseResult) -> CaseResult:
    """One case without texts of passages, prompts, details of stages, reasons of scores."""
    scores = tuple(replace(score, reason="" if score.value is not None else score.reason) for score in row.scores)
    return replace(row, scores=scores, trace=_slim_trace(row.trace) if row.trace else None)


def _slim_trace(trace: Trace) -> Trace:
    return replace(
        trace,
        hits=tuple(_slim_hit(hit) for hit in trace.hits),
        passages=(),
        ranking=(),
        prompt="",
        stages=tuple(_slim_stage(stage) for stage in trace.stages),
        guard=tuple(replace(verdict, text="") for verdict in trace.guard),
        route=replace(trace.route, features={}) if trace.route else None,
    )


def _slim_stage(stage: StageRecord) -> StageRecord:
    """A stage with its time, and whether that was measured."""
    return replace(stage, input_digest="", detail={name: value for name, value in stage.detail.items() if name in KEPT})


def _slim_hit(hit: Hit) -> Hit:
    """A hit's place and rank, without its text."""
    return replace(hit, chunk=replace(hit.chunk, text="", title="", heading="", source="", version="", metadata={}), sources={})
