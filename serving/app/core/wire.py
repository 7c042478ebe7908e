"""The base of all request and response bodies, and what several of them share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Wire(BaseModel):
    """A request or response body."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemOut(Wire):
    """A failure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
