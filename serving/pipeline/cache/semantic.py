"""A cache of answers to questions that mean the same."""

from typing import ClassVar, Final

from pydantic import Field

from serving.pipeline.cache.answers import AnswerCache, AnswerCacheParams, CacheState
from serving.pipeline.cache.audit import ShadowAudit
from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.cache.equivalence import equivalence_of
from serving.pipeline.cache.keys import EntryKey
from serving.pipeline.cache.reuse import ReuseRule, Scorer
from serving.pipeline.checks.equivalence.verifier import BUILT_IN, VERIFIER_SCORER
from serving.pipeline.digest import digest_bytes
from serving.pipeline.errors import InfrastructureError
from serving.pipeline.fitted.calibrated import threshold_of
from serving.pipeline.index.base import Vectors
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.types import Query

_LADDER: Final = ("full", "raised", "exact", "off")
_NEIGHBOURS: Final = 4  # looked at, nearest first


class SemanticCache:
    """The same question first; then the nearest one whose answer the guards and the score let pass."""

    version: ClassVar[str] = f"1+{VERIFIER_SCORER.removeprefix('verifier ')}-{digest_bytes(BUILT_IN.read_bytes())[:6]}"  # guards, verifier
    stateful: ClassVar[bool] = True

    class Params(AnswerCacheParams):
        """Which questions mean the same, how long and how many answers are cached, and which."""

        max_entries: int = Field(default=10_000, ge=1, le=1_000_000, description="the least recently used are forgotten first")
        scorer: Scorer = Field(
            default="verifier", description="what the threshold is held against: the verifier's probability, or the cosine"
        )
        threshold: float | None = Field(
            default=0.9, ge=0.0, le=1.0, description="score from which an answer is given again; null: the calibrated one"
        )
        calibrated: Artefact | None = Field(
            default=None, description="a calibrated threshold with its proof, used where `threshold` is null"
        )
        least_similarity: float = Field(default=0.6, ge=0.0, le=1.0, description="cosine below which no question is looked at")

    def __init__(self, params: Params, parts: Parts) -> None:
        judges = equivalence_of(params.scorer, params.calibrated, parts.artefacts)
        scorer = f"{judges.name} on {parts.embedder}"  # as it was calibrated
        threshold = threshold_of(params.threshold, params.calibrated, parts.artefacts, "cache", scorer, "cache.lookup")
        rule = ReuseRule(judges, threshold, params.least_similarity)
        self._rules = {"full": rule, "raised": rule.raised()}
        self._question = parts.question
        self._answers = AnswerCache(params, parts, _LADDER, vectors=parts.question)

    @property
    def audit(self) -> ShadowAudit:
        """What answers a sample of hits again."""
        return self._answers.audit

    async def get(self, query: Query, context: CacheContext) -> CacheLookup:
        """The answer to this question, or to one that means the same, in this very context."""
        answers = self._answers
        key = answers.key(query, context)
        hit = await answers.exact(key)
        reach = answers.reach(key)
        if reach == "off":
            return CacheLookup(reason="reach: off")
        if hit is not None:
            return CacheLookup(hit)
        found = await self._nearest(query, key, reach) if reach in self._rules else CacheLookup(reason=f"reach: {reach}")
        return found if found.hit is not None else await answers.missed(key, found)

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None:
        """Keep an answer in place of an older one."""
        answers = self._answers
        await answers.put(answers.key(query, context), query, entry, await self._vector(query.text))

    async def drop(self, query: Query, context: CacheContext, hit: CacheHit) -> None:
        """Forget the answer of a hit."""
        answers = self._answers
        await answers.backend.drop(answers.key(query, context))
        if hit.kind == "semantic":
            await answers.backend.drop(answers.key_of(hit.question, context))

    async def forget_document(self, document_id: str) -> int:
        """Forget what was written from a document; how many answers that were."""
        return await self._answers.backend.clear(document=document_id)

    def state(self) -> CacheState:
        """The state of this cache."""
        return self._answers.state()

    async def aclose(self) -> None:
        """End what runs beside queries."""
        await self._answers.aclose()

    async def _nearest(self, query: Query, key: EntryKey, reach: str) -> CacheLookup:
        """The answer of the nearest question whose answer may be given; or why that of the nearest one may not."""
        backend, rule, full = self._answers.backend, self._rules[reach], self._rules["full"]
        vector = await self._vector(query.text)
        nearest: float | None = None
        reason = "new"
        for neighbour in await backend.near(key, vector, _NEIGHBOURS) if vector is not None else ():
            if neighbour.similarity < rule.least_similarity:  # so are the others
                return CacheLookup(None, nearest or round(neighbour.similarity, 6), reason if nearest else "far")
            found = await backend.read(EntryKey(key.release, key.scope, neighbour.name))
            if found is None:
                continue
            if neighbour.name == key.question:  # kept since the exact look-up
                return CacheLookup(CacheHit(found.entry, 1.0, found.age_s, "exact", found.question))
            refusal = rule.refusal(query.text, neighbour, found.question)
            if not refusal:
                return CacheLookup(CacheHit(found.entry, round(neighbour.similarity, 6), found.age_s, "semantic", found.question))
            if nearest is None:
                lowered = rule is not full and not full.refusal(query.text, neighbour, found.question)
                nearest, reason = round(neighbour.similarity, 6), f"reach: {reach}, {refusal}" if lowered else refusal
        return CacheLookup(None, nearest, reason)

    async def _vector(self, text: str) -> Vectors | None:
        """A question's vector; while its model is down the look-up is exact, and the search reports the outage."""
        try:
            return await self._question.vector(text)
        except InfrastructureError:
            return None
