"""A log line for every verdict other than allow, without the text."""

from structlog.typing import FilteringBoundLogger

from serving.pipeline.observer import NullObserver
from serving.pipeline.types import GuardAction, Trace


class IncidentLog(NullObserver):
    """An observer of queries. The trace has the excerpt; the log has what an alarm needs."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

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
