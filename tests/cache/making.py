"""Caches and contexts for tests of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.pipeline.cache import CACHES
from serving.pipeline.cache.base import CacheContext, CacheEntry
from serving.pipeline.clock import SystemClock
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.parts import Digests
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, Query, Route
from tests.support.parts import some_parts
from tests.support.redis import a_secret

DIGESTS = Digests("config", "index", "corpus", "prompts", "release")
ENTRY = CacheEntry(Answer("28 days"), route=Route("lite", "because"), writer="trace-1")
STATEFUL = [name for name in CACHES.names() if CACHES.load(name).stateful]  # type: ignore[attr-defined]
EVERY = [f"{name} {place}" for name in STATEFUL for place in ("in process", "on redis")]
START = 1_800_000_000.0


class Turned(SystemClock):
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 0.0

    def seconds(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime.fromtimestamp(START + self.at, UTC)


def make(kind: str, request: pytest.FixtureRequest) -> "Maker":
    """How a cache of a kind is made: "semantic on redis"; all that are made by one call share what they keep there."""
    name, _, place = kind.partition(" ")
    shared = {"redis": request.getfixturevalue("shared_redis").url, "cache_secret": a_secret()} if place == "on redis" else {}
    return Maker(name, shared)


@dataclass(frozen=True)
class Maker:
    """Makes caches of a kind that share what they keep, if they keep it on Redis."""

    name: str
    shared: Mapping[str, Any]

    def __call__(self, clock: Any = None, *, audit: float = 0.0, **params: Any) -> Any:
        settings = PipelineSettings(_env_file=None, cache_audit=audit, **self.shared)
        parts = some_parts(clock=clock or Turned(), settings=settings, embeddings=HashingEmbeddings(64), digests=DIGESTS)
        return CACHES.build(Spec(name=self.name, **params), parts=parts)


def context(query: Query, digests: Digests = DIGESTS, version: str = "7") -> CacheContext:
    return CacheContext.of(query, digests, version)


async def put(cache: Any, query: Query, entry: CacheEntry = ENTRY) -> None:
    await cache.put(query, context(query), entry)


async def get(cache: Any, query: Query) -> Any:
    """What is found; a miss leads nobody."""
    lookup = await cache.get(query, context(query))
    lookup.flight.end()
    return lookup
