"""The contracts of routers, domain choices and escalations."""

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
    """Decides whether an answer is replaced by one of a dearer tier, at most once per question."""

    withholds: ClassVar[bool]  # whether an answer may be replaced, so that no text is streamed before that is decided

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        """The route of the second try, with its reason; None: the answer stays."""
        ...
