"""Copies of results for pages and trackers, which more people read than the documents: what is restricted is left out, and said to be."""

from dataclasses import replace

from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from serving.pipeline.types import PUBLIC, Answer, Hit, Trace

RESTRICTED = "(left out: made of passages that not everyone may read; the evaluation's cases.jsonl has it)"


def is_restricted(trace: Trace) -> bool:
    """Whether a query found passages that not everyone may read."""
    return any(map(_is_restricted, (*trace.hits, *trace.passages)))


def for_everyone(report: EvalReport) -> EvalReport:
    """The evaluation with all of its numbers, and with no words of restricted passages or of what was made of them."""
    return EvalReport(report.header, tuple(map(row_for_everyone, report.rows)))


def row_for_everyone(row: CaseResult) -> CaseResult:
    """One case, marked where something was left out: its references too where its asker needs a group, whatever was found for it."""
    found_restricted = row.trace is not None and is_restricted(row.trace)
    if not found_restricted and not row.case.principal_groups:
        return row
    scores = tuple(replace(score, reason="" if score.value is not None else score.reason) for score in row.scores)  # a judge may quote
    references = {"answers": (RESTRICTED,) if row.case.answers else (), "key_facts": ()}
    trace = _trace(row.trace) if row.trace is not None and found_restricted else row.trace
    return replace(row, case=row.case.model_copy(update=references), scores=scores, trace=trace)


def _trace(trace: Trace) -> Trace:
    answer = trace.answer
    return replace(
        trace,
        hits=tuple(map(_hit, trace.hits)),
        passages=tuple(map(_hit, trace.passages)),
        prompt=RESTRICTED if trace.prompt else "",
        answer=Answer(
            RESTRICTED,
            answer.citations,
            answer.refused,
            answer.model,
            answer.truncated,
            answer.confidence,
            mean_logprob=answer.mean_logprob,
        ),
        attempts=tuple(replace(attempt, answer=Answer(RESTRICTED, refused=attempt.answer.refused)) for attempt in trace.attempts),
        guard=tuple(replace(verdict, text="", excerpt="", warning="") for verdict in trace.guard),
    )


def _hit(hit: Hit) -> Hit:
    if not _is_restricted(hit):
        return hit
    return replace(hit, chunk=replace(hit.chunk, text=RESTRICTED, title="", heading="", metadata={}), read="")


def _is_restricted(hit: Hit) -> bool:
    return hit.chunk.tenant != PUBLIC or bool(hit.chunk.groups)
