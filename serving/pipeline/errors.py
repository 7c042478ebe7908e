"""The exceptions of Touchstone, as one tree.

TouchstoneError            exit code
├── UserError                  2      the user's mistake: the message names the mend
│   ├── ConfigError                   an unknown key, a wrong type, a value out of range
│   │   └── RequestError              a model refused a request: for its parameters, or for this one input
│   ├── DataError                     a document, a golden line, a file that is not what it says
│   │   └── RefusedFile                   one file that cannot be read as text; the others are read
│   └── PromptError                   a prompt file or its variables
├── NotProven                  1      no passed gate's decision allows this promotion
├── InfrastructureError        3      the machinery failed; nothing was scored, trying again may help
│   ├── ModelError                    a chat or embedding model
│   │   └── ThrottledError            it answered "slow down" until the last retry
│   ├── StoreError                    an index, a folder, a bucket, a disk
│   │   ├── LockedError                   another process holds a lock
│   │   └── NotRecorded                   the audit trail cannot be written, so an act was not done
│   └── TrackingError                 the MLflow server or database
└── IntegrityError             3      bytes are not the bytes their digest promises
"""

from typing import ClassVar

from serving.pipeline.redact import without_password


class TouchstoneError(Exception):
    """Every expected failure; `str(error)` is a message for the user."""

    exit_code: ClassVar[int] = 3

    def __str__(self) -> str:
        return without_password(super().__str__())


class UserError(TouchstoneError):
    """Something the user can mend; the message says how."""

    exit_code = 2


class ConfigError(UserError):
    """The configuration does not fit its schema."""


class RequestError(ConfigError):
    """A model refused this request; where it accepts others, this input is too long or not allowed."""


class DataError(UserError):
    """A file of the user's is missing, malformed or contradicts itself."""


class RefusedFile(DataError):
    """One file cannot be read as text, or not within its limits; the corpus is read without it and lists it as skipped."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class PromptError(UserError):
    """A prompt is missing, malformed or lacks a variable."""


class NotProven(TouchstoneError):
    """No passed gate's decision allows this promotion; the message says which is missing and what to run."""

    exit_code = 1


class InfrastructureError(TouchstoneError):
    """A part outside this process failed; a score must never be made of it."""


class ModelError(InfrastructureError):
    """A chat or embedding model did not answer."""


class ThrottledError(ModelError):
    """A model kept answering "slow down"."""


class StoreError(InfrastructureError):
    """An index, a folder or a bucket could not be read or written."""


class LockedError(StoreError):
    """Another process holds a lock, or took it over."""


class NotRecorded(StoreError):
    """The audit trail cannot be written, so the act that it must record was not carried out."""


class TrackingError(InfrastructureError):
    """MLflow could not be reached, or rejected a request."""


class IntegrityError(TouchstoneError):
    """Something on disk is not what its digest promises."""
