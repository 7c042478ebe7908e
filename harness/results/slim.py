"""An evaluation without what makes it large; every number of it stays."""

from collections.abc import Mapping
from dataclasses import replace

from harness.golden.case import Case
from harness.results.report import CaseResult, EvalReport
from serving.pipeline.types import Hit, Trace


def slim(report: EvalReport) -> EvalReport:
    """The evaluation without texts of passages, prompts, details of stages, reasons of scores."""
    return EvalReport(report.header, tuple(map(slim_row, report.rows)))


def bare(report: EvalReport, cases: Mapping[str, Case]) -> EvalReport:
    """A slim one for keeping by the thousand: of what was found only the best hit, and its cases are these, not copies."""
    return EvalReport(report.header, tuple(_bare_row(slim_row(row), cases) for row in report.rows))


def _bare_row(row: CaseResult, cases: Mapping[str, Case]) -> CaseResult:
    trace = replace(row.trace, hits=row.trace.hits[:1]) if row.trace else None
    return replace(row, case=cases.get(row.case.id, row.case), trace=trace)


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
