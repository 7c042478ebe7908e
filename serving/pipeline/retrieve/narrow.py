"""Narrowing: a question is searched in every allowed domain, or only in the one that a classifier is sure of."""

from dataclasses import replace
from typing import ClassVar

from serving.pipeline.fitted.domain_classifier import ClassifierParams, DomainClassifier
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Query


class NoNarrowing:
    """Searches every domain that the principal may see and the query names."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def narrow(self, query: Query) -> Query:
        """The query as it is."""
        return query


class DomainNarrowing:
    """Searches only the question's domain where a classifier is sure of it; never adds a domain."""

    version: ClassVar[str] = "1"
    Params: ClassVar[type[ClassifierParams]] = ClassifierParams

    def __init__(self, params: ClassifierParams, parts: Parts) -> None:
        self._classifier = DomainClassifier(params, parts, "retrieve.narrow")

    async def narrow(self, query: Query) -> Query:
        """The query with the likely domain, where the principal may see it and the query names no domain or that one among others."""
        if len(query.domains) == 1:
            return query
        guess = await self._classifier.guess(query)
        if guess is None or (query.domains and guess.domain not in query.domains):
            return query
        if query.principal.domains is not None and guess.domain not in query.principal.domains:
            return query
        return replace(query, domains=(guess.domain,))
