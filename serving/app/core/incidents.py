"""A log line for every verdict other than allow, without the text."""

from structlog.typing import FilteringBoundLogger

from serving.pipeline.types import GuardAction, Query, StageRecord, Trace, Usage


class IncidentLog:
    """An observer of queries. The trace has the excerpt; the log has what an alarm needs."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def stage_started(self, query: Query, stage: str) -> None:
        """Nothing: incidents are told with the answer."""

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Nothing: incidents are told with the answer."""

    def failed(self, query: Query, error: BaseException) -> None:
        """Nothing: the request's own line has the error."""

    def spent(self, query: Query, usage: Usage) -> None:
        """Nothing."""

    def answered(self, trace: Trace) -> None:
        """A line for each incident."""
        for verdict in trace.guard:
            if verdict.action is not GuardAction.ALLOW:
                self._log.warning(
                    "guard_incident",
                    trace_id=trace.id,
                    request_id=trace.query.id,
                    principal=trace.query.principal.id,
                    side=verdict.side,
                    check=verdict.check,
                    rule=verdict.rule,
                    action=verdict.action.value,
                    score=verdict.score,
                    chunk=verdict.chunk_id,
                )
