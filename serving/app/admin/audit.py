"""The audit trail as it goes over the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import Query
from pydantic import BeforeValidator, Field

from serving.app.core.wire import Wire
from serving.app.traces.wire import time_text, written_out
from serving.audit.record import LONGEST_SUBJECT, LONGEST_TEXT, PLACE, Action, AuditedAct, Detail, Source, State

Since = Annotated[datetime | None, BeforeValidator(written_out), Query(description="only from then on, as in ISO 8601; UTC without a zone")]
Until = Annotated[datetime | None, BeforeValidator(written_out), Query(description="only before, as in ISO 8601; UTC without a zone")]
Who = Annotated[str, Query(max_length=LONGEST_TEXT, description="only what this one did, as entries name them")]
Subject = Annotated[str, Query(max_length=LONGEST_SUBJECT, description="only what was done to this one")]
Cursor = Annotated[str, Query(pattern=f"^$|{PLACE}", description="only older ones: the `next` of the page before")]


class AuditedOut(Wire):
    """An act: what was written before it, and how it ended."""

    id: str
    at: str
    who: str
    source: Source
    action: Action
    subject: str = Field(description="a channel, or the id of a document, trace, …")
    details: dict[str, Detail] = Field(description="what was asked for")
    outcome: State = Field(description="begun: it was cut off, is going on, or its end could not be written")
    reason: str = Field(description="the title of what refused it, or of what failed")
    ended_at: str | None
    result: dict[str, Detail] = Field(description="what came of it")

    @classmethod
    def of(cls, act: AuditedAct) -> Self:
        """An act as it was read."""
        entry, ended = act.entry, act.outcome
        return cls(
            id=entry.id,
            at=time_text(entry.at),
            who=entry.who,
            source=entry.source,
            action=entry.action,
            subject=entry.subject,
            details=dict(entry.details),
            outcome=act.state,
            reason=ended.reason if ended else "",
            ended_at=time_text(ended.at) if ended else None,
            result=dict(ended.details) if ended else {},
        )


class AuditOut(Wire):
    """Acts, the newest first."""

    entries: tuple[AuditedOut, ...]
    next: str | None = Field(description="give it as `cursor` for those that are older; null: there are none")

    @classmethod
    def of(cls, acts: Sequence[AuditedAct], limit: int) -> Self:
        """A page of acts."""
        return cls(entries=tuple(map(AuditedOut.of, acts)), next=acts[-1].entry.place if len(acts) == limit else None)
