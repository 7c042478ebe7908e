"""What a router promises, and what decides that an answer is tried once more."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from serving.pipeline.types import Answer, Hit, Query, Route


class Router(Protocol):
    """Chooses a tier from the question and what was found, without calling a model."""

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route: ...


class DomainChoice(Protocol):
    """Chooses the domain whose prompt family answers."""

    async def domain(self, query: Query, hits: Sequence[Hit]) -> str:
        """A domain; empty: that of the first passages."""
        ...


class Escalation(Protocol):
    """Decides whether an answer is given up for one of a dearer tier, which is then the answer: at most once for a question."""

    withholds: ClassVar[bool]  # whether an answer may be given up, so that no text may be shown before that is decided

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        """The route of the second try, with its reason; None: the answer stays."""
        ...
