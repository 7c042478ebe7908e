"""Stores of the audit trail as tests, and the processes that they start, open them."""

import threading
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from serving.audit.base import AuditStore
from serving.audit.open import open_audit
from serving.audit.record import Act, AuditedAct, AuditEntry, AuditOutcome, AuditQuery
from serving.audit.trail import AuditTrail
from serving.pipeline.errors import StoreError, TouchstoneError
from serving.pipeline.settings import SECONDS_A_DAY, PipelineSettings

DAYS = 30.0
DAYS_S = DAYS * SECONDS_A_DAY


@dataclass(frozen=True)
class Place:
    """Where a store is; another process can be told of it."""

    audit: str
    endpoint: str = ""

    def open(self) -> AuditStore:
        """The store as the settings name it."""
        settings = PipelineSettings(
            home=Path("nowhere"), audit=self.audit, audit_days=DAYS, dynamodb_endpoint=self.endpoint, _env_file=None
        )
        return open_audit(settings)


def an_act(subject: str = "dev", *, tenant: str = "public", who: str = "ann", **details: str | float) -> Act:
    return Act(tenant, who, "channel.promote", subject, details)


def an_entry(at: float = 1000.0, subject: str = "dev", *, tenant: str = "public", who: str = "ann") -> AuditEntry:
    return AuditEntry.of(an_act(subject, tenant=tenant, who=who, to="5ee318a2", revision=3), "api", at)


class FailingStore:
    """A store in memory whose writes fail when they are told to."""

    place = "memory"

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.outcomes: dict[str, AuditOutcome] = {}
        self.fails: set[str] = set()

    def append(self, entry: AuditEntry) -> None:
        self._fail("entry")
        self.entries.append(entry)

    def append_outcome(self, entry: AuditEntry, outcome: AuditOutcome) -> None:
        self._fail("outcome")
        self.outcomes[entry.id] = outcome

    def find(self, query: AuditQuery) -> list[AuditedAct]:
        return [AuditedAct(entry, self.outcomes.get(entry.id)) for entry in reversed(self.entries) if entry.tenant == query.tenant]

    def _fail(self, part: str) -> None:
        if part in self.fails:
            raise StoreError(f"the {part} is not written")


def nothing_is_lost(entry: AuditEntry, error: TouchstoneError) -> None:
    raise AssertionError(error)


def act_for_ever(place: Place, begun: Event) -> None:
    """Begin an act, and be killed within it."""
    with AuditTrail(place.open(), "command line", lost=nothing_is_lost).act(an_act()):
        begun.set()
        threading.Event().wait()


def act_often(place: Place, who: str, times: int, go: Event) -> None:
    """Do so many acts, while somebody else does too."""
    trail = AuditTrail(place.open(), "command line", lost=nothing_is_lost)
    go.wait()
    for number in range(times):
        with trail.act(an_act(f"{who}-{number}", who=who)) as result:
            result["revision"] = number
