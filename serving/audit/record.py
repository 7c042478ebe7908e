"""What is written of an act: before it who does what to which, after it how it ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from uuid import uuid4

from serving.keys import PREFIX
from serving.pipeline.errors import NotProven, UserError
from serving.pipeline.redact import without_password

Action = Literal[
    "channel.promote", "channel.approve", "channel.rollback", "channel.candidate", "channel.switch", "channel.withdraw",
    "channel.evaluate", "release.register", "champion.set",
    "document.add", "document.delete", "document.ingest",
    "trace.read",
    "key.create", "key.revoke", "key.rotate",
    "store.gc", "index.delete", "cache.warm", "cache.clear", "cache.reach",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
Source = Literal["api", "command line"]
Ending = Literal["done", "refused", "failed"]
State = Literal["begun", "done", "refused", "failed"]
Detail = str | int | float | bool
Details = Mapping[str, Detail]

MOST_DETAILS, LONGEST_SUBJECT, LONGEST_TEXT = 20, 1000, 500
_KEY = re.compile(rf"{PREFIX}[\w-]{{16,}}")  # a key, typed where its id belongs
PLACE = r"^\d{10}\.\d{6}-[0-9a-f]{32}$"


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody is about to do."""

    tenant: str  # whose thing it is done to; channels, releases and keys are the operator's
    who: str
    action: Action
    subject: str  # the name or id of a channel, release, document, trace, key, place
    details: Details = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is written before an act."""

    id: str
    at: float  # seconds since 1970
    tenant: str
    who: str
    source: Source
    action: Action
    subject: str
    details: Details

    @classmethod
    def of(cls, act: Act, source: Source, at: float) -> "AuditEntry":
        """A new entry of an act."""
        return cls(
            id=uuid4().hex,
            at=round(at, 6),
            tenant=_bounded(act.tenant),
            who=_bounded(act.who),
            source=source,
            action=act.action,
            subject=_bounded(act.subject, LONGEST_SUBJECT),
            details=bounded(act.details),
        )

    @property
    def place(self) -> str:
        """Where it stands among all entries: sorted as texts, these are in the order of time."""
        return f"{time_key(self.at)}-{self.id}"


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """What is written after an act."""

    at: float
    ending: Ending
    reason: str = ""  # the title of what refused it, or of what failed
    details: Details = field(default_factory=dict)  # what came of it


@dataclass(frozen=True, slots=True)
class AuditedAct:
    """An entry with its outcome; without one the act was cut off, or is going on."""

    entry: AuditEntry
    outcome: AuditOutcome | None = None

    @property
    def state(self) -> State:
        """How it ended, as far as it is known."""
        return self.outcome.ending if self.outcome else "begun"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which acts are asked for, the newest first."""

    tenant: str
    since: float | None = None
    until: float | None = None  # before this time
    who: str = ""
    action: Action | None = None
    subject: str = ""
    before: str = ""  # to page on: the place of the last one seen
    limit: int = 50

    def admits(self, entry: AuditEntry) -> bool:
        """Whether an entry is of whom, what and which was asked for."""
        asked = ((self.who, entry.who), (self.action, entry.action), (self.subject, entry.subject))
        return all(not wanted or wanted == found for wanted, found in asked)

    @property
    def places(self) -> tuple[str, str]:
        """The first place that is asked for, and the one that all have to be before."""
        ends = [time_key(self.until)] if self.until is not None else []
        ends += [self.before] if self.before else []
        return time_key(self.since or 0.0), min(ends, default="~")


def time_key(at: float) -> str:
    """A time as a text that sorts as it does."""
    return f"{min(max(at, 0.0), 9_999_999_999.0):017.6f}"


def ending_of(error: BaseException) -> tuple[Ending, str]:
    """How an act ended that raised this."""
    return ("refused" if isinstance(error, (UserError, NotProven)) else "failed"), error_title(error)


def error_title(error: BaseException) -> str:
    """The kind of an error in words, and nothing of its message."""
    if isinstance(error, Exception):
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type(error).__name__).capitalize()
    return "Stopped"


def bounded(details: Details) -> dict[str, Detail]:
    """Details as they may be kept: a few, short, without a password or a key."""
    few = list(details.items())[:MOST_DETAILS]
    return {name: _bounded(value) if isinstance(value, str) else value for name, value in few}


def _bounded(text: str, most: int = LONGEST_TEXT) -> str:
    """A text that any store takes."""
    plain = _KEY.sub(f"{PREFIX}***", without_password(text.encode("utf-8", "replace").decode())).replace("\0", "�")
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
