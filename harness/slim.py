"""An evaluation without what makes it large; every number of it stays."""

from dataclasses import replace

from harness.results import CaseResult, EvalReport
from serving.pipeline.types import Hit, Trace


def slim(report: EvalReport) -> EvalReport:
    """The evaluation without texts of passages, prompts, details of stages, reasons of scores."""
    return EvalReport(report.header, tuple(map(slim_row, report.rows)))


def slim_row(row: CaseResult) -> CaseResult:
    """One case of it."""
    scores = tuple(replace(score, reason="" if score.value is not None else score.reason) for score in row.scores)
    return replace(row, scores=scores, trace=_slim_trace(row.trace) if row.trace else None)


def _slim_trace(trace: Trace) -> Trace:
    return replace(
        trace,
        hits=tuple(_slim_hit(hit) for hit in trace.hits),
        passages=(),
        prompt="",
        stages=tuple(replace(stage, input_digest="", detail={}) for stage in trace.stages),
        guard=tuple(replace(verdict, text="") for verdict in trace.guard),
        route=replace(trace.route, features={}) if trace.route else None,
    )


def _slim_hit(hit: Hit) -> Hit:
    """Where it lay and who ranked it where, without its text."""
    return replace(hit, chunk=replace(hit.chunk, text="", title="", heading="", source="", version="", metadata={}), sources={})
