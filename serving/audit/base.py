"""The contract of a store of the audit trail."""

from typing import Protocol

from serving.audit.record import AuditedAct, AuditEntry, AuditOutcome, AuditQuery


class AuditStore(Protocol):
    """Entries that are added and never changed, safe under several processes. An outage is a `StoreError`; calls block."""

    place: str

    def append(self, entry: AuditEntry) -> None:
        """Write an entry, which is there when this returns; the same again is no error, another under its id is refused."""
        ...

    def append_outcome(self, entry: AuditEntry, outcome: AuditOutcome) -> None:
        """Write how it ended; the first outcome stays."""
        ...

    def find(self, query: AuditQuery) -> list[AuditedAct]:
        """Acts, the newest first."""
        ...
