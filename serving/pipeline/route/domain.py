"""Chooses the domain whose prompt family answers: that of the first passages, or one that a classifier predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from serving.pipeline.fitted.domain_classifier import ClassifierParams, DomainClassifier
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.route.base import DomainChoice, Router
from serving.pipeline.types import Hit, Query, Route


class HitsDomain:
    """The domain that most of the first passages are of."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def domain(self, query: Query, hits: Sequence[Hit]) -> str:
        """Empty: the passages decide."""
        return ""


class ClassifierDomain:
    """The domain that the question is likely of; where none is likely enough, the passages decide."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[ClassifierParams]] = ClassifierParams

    def __init__(self, params: ClassifierParams, parts: Parts) -> None:
        self._classifier = DomainClassifier(params, parts, "route.domain")

    async def domain(self, query: Query, hits: Sequence[Hit]) -> str:
        """The domain, or empty."""
        guess = await self._classifier.guess(query)
        return guess.domain if guess else ""


@dataclass(frozen=True, slots=True)
class RouterWithDomain:
    """A router whose routes name the question's domain as well."""

    inner: Router
    choice: DomainChoice

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        """The inner router's tier, with the domain."""
        route = await self.inner.route(query, hits)
        domain = await self.choice.domain(query, hits)
        return replace(route, domain=domain, reason=f"{route.reason}; asked of {domain}") if domain else route
