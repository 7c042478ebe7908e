"""The contract of a trace store."""

from collections.abc import Sequence
from typing import Protocol

from serving.traces.record import Feedback, TraceQuery, TraceRecord
from serving.traces.summary import TraceSummary


class TraceStore(Protocol):
    """Traces and feedback, safe under several processes. An outage is a `StoreError`; calls block, and belong in a thread."""

    place: str

    def put(self, traces: Sequence[TraceRecord]) -> None:
        """Store traces; one that is there is replaced."""
        ...

    def get(self, trace_id: str) -> TraceRecord | None:
        """A trace by its id."""
        ...

    def find(self, query: TraceQuery) -> list[TraceRecord]:
        """Traces, in the order asked for."""
        ...

    def summaries(self, query: TraceQuery) -> list[TraceSummary]:
        """What is counted of the same traces, without their texts."""
        ...

    def put_feedback(self, feedback: Feedback) -> None:
        """Store feedback; the same id again replaces it."""
        ...

    def feedback(self, trace_id: str) -> list[Feedback]:
        """The feedback on an answer, the oldest first: at most the newest `FEEDBACK_SHOWN`."""
        ...

    def recent_feedback(self, tenant: str, since: float, limit: int, *, complaints: bool = False) -> list[Feedback]:
        """The feedback on a tenant's answers since a time, or the complaints alone; the newest first."""
        ...

    def forget_document(self, document_id: str) -> int:
        """Take a document's words out of every trace; how many held some."""
        ...

    def forget_before(self, at: float) -> int:
        """Remove traces, and the feedback on them, that are older than a time."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...
