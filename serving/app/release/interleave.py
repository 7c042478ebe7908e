"""Two retrievers in one answer: each drafts passages in turn, and what the answer cites tells whose passages were of use."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from serving.app.release.loaded import LoadedRelease
from serving.pipeline.cache.none import NoCache
from serving.pipeline.errors import ConfigError
from serving.pipeline.parts import Parts
from serving.pipeline.pipeline import PassageRetriever
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Hit, Query, SourceRank, Trace

STABLE, CANDIDATE = "team:stable", "team:candidate"  # among a hit's sources: who drafted it
RETRIEVAL = ("index", "retrieve")  # sections in which a candidate may differ


@dataclass(frozen=True, slots=True)
class InterleavedRetriever:
    """Team draft: the two take turns, each with its best passage that is not there yet; who begins each round is a coin of the question."""

    stable: PassageRetriever
    candidate: PassageRetriever

    async def retrieve(self, query: Query) -> RetrievalResult:
        """As many passages as the stable retriever has, of both."""
        one, other = await asyncio.gather(self.stable.retrieve(query), self.candidate.retrieve(query))
        hits = team_draft(one.hits, other.hits, len(one.hits), query.text)
        return replace(one, hits=hits, usage=(*one.usage, *other.usage))


def team_draft(stable: Sequence[Hit], candidate: Sequence[Hit], most: int, seed: str) -> tuple[Hit, ...]:
    """The passages in their common order, ranked from 1, each with its team among its sources."""
    left = {STABLE: list(stable), CANDIDATE: list(candidate)}
    drafted: dict[str, Hit] = {}
    coins = hashlib.sha256(seed.encode("utf-8", "replace")).digest()
    for turn in range(max(len(stable), len(candidate))):
        first = STABLE if coins[turn % len(coins)] & 1 else CANDIDATE
        for team in (first, CANDIDATE if first == STABLE else STABLE):
            hit = next((hit for hit in left[team] if hit.chunk.id not in drafted), None)
            if hit is not None and len(drafted) < most:
                drafted[hit.chunk.id] = replace(hit, sources={**hit.sources, team: SourceRank(hit.rank, hit.score)})
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(drafted.values(), start=1))


def interleaved(stable: LoadedRelease, candidate: LoadedRelease, settings: PipelineSettings) -> LoadedRelease:
    """The stable release with passages of both; refused where they differ in more than retrieval."""
    one, other = stable.release.config, candidate.release.config
    differing = [section for section in one.STAGES if section not in RETRIEVAL and getattr(one, section) != getattr(other, section)]
    if differing:
        raise ConfigError(
            f"Interleaving compares retrieval, and {candidate.digest} differs in {', '.join(differing)} as well. Try it as a canary."
        )
    retriever = InterleavedRetriever(stable.pipeline.retriever, candidate.pipeline.retriever)
    cache = NoCache(NoCache.Params(), Parts(settings))
    return replace(stable, pipeline=replace(stable.pipeline, retriever=retriever, cache=cache))


def credit(trace: Trace) -> dict[str, int]:
    """How many of the passages that an answer cites each team drafted."""
    cited = {citation.chunk_id for citation in trace.answer.citations}
    teams = chain.from_iterable(hit.sources for hit in trace.passages if hit.chunk.id in cited)
    counts = {STABLE: 0, CANDIDATE: 0}
    for team in teams:
        if team in counts:
            counts[team] += 1
    return counts
