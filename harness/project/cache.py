"""The cache that the processes of a deployment share: warming, counting and clearing it."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from harness.golden.lines import read_rows, refuse
from harness.golden.load import load_golden
from harness.resolve import CHANNEL, NamedConfig, resolve_word
from harness.settings import HarnessSettings
from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.build import build_pipeline
from serving.pipeline.cache.open import shared_keys
from serving.pipeline.cache.redis_backend import RedisBackend
from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.cache.warm import WarmedQuestion, warm
from serving.pipeline.clock import SystemClock
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.build import open_index
from serving.pipeline.progress import Progress
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.check import check_redis
from serving.pipeline.types import PUBLIC, Principal, Query
from serving.release.bundle import load_release, open_releases


class ReviewedQuestion(BaseModel):
    """A line of a file of reviewed questions: one wording and others that ask the very same, and for whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    variants: tuple[str, ...] = ()
    tenant: str = PUBLIC
    groups: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def query(self) -> Query:
        """The question as it is asked."""
        return Query(self.question, Principal("cache warm", self.tenant, frozenset(self.groups)), self.domains, self.metadata)


@dataclass(frozen=True, slots=True)
class SharedCacheSize:
    """What is in a shared cache."""

    entries: dict[str, int]  # by the digest of the configuration
    bytes: int
    lowered: dict[str, int]  # how often the reach of a configuration's cache was lowered


def reviewed_questions(source: str, settings: HarnessSettings) -> list[ReviewedQuestion]:
    """The questions of a JSON Lines file, or those of a golden set, where cases of one group are wordings of one question."""
    path = Path(source)
    if path.suffix != ".jsonl":
        return _of_golden(source, settings)
    problems: list[str] = []
    found = [row for _, row in read_rows(path, ReviewedQuestion, problems)]
    refuse(problems)
    if not found:
        raise DataError(f"{path} has no question. A line is {json.dumps({'question': '…', 'variants': ['…']}, ensure_ascii=False)}")
    return found


async def warm_cache(
    questions: list[ReviewedQuestion], channel: str, settings: HarnessSettings, progress: Progress
) -> list[WarmedQuestion]:
    """Answer questions by the release of a channel, into the cache that its processes share."""
    await (await _connect(settings)).aclose()  # else nothing would be kept, question after question
    named = resolve_word(f"{CHANNEL}{channel}", settings)
    assert isinstance(named, NamedConfig)
    release = load_release(open_releases(settings.releases, settings), named.release, evidence=named.evidence)
    if release.config.cache.lookup.name == "none":
        raise ConfigError(f"The release of channel {channel!r} caches nothing: its cache.lookup is none.")
    index = await open_index(release.config, release.index.corpus_digest, settings=settings)
    artefacts = BundledArtefacts(release.artefacts, release.place)
    quiet = settings.model_copy(update={"cache_audit": 0.0})
    pipeline = build_pipeline(release.config, index, release.prompts, quiet, release_digest=release.digest, artefacts=artefacts)
    results: list[WarmedQuestion] = []
    try:
        for question in questions:
            results.append(await warm(pipeline, question.query, question.variants))
            progress(len(results), len(questions))
    finally:
        await pipeline.aclose()
        index.close()
    return results


async def shared_cache_size(settings: HarnessSettings) -> SharedCacheSize:
    """What is in the cache that processes share."""
    backend = await _connect(settings)
    try:
        size = await backend.size()
        return SharedCacheSize(dict(size.entries), size.bytes or 0, await backend.releases())
    finally:
        await backend.aclose()


async def clear_shared_cache(settings: HarnessSettings, *, document: str = "", release: str = "") -> int:
    """Forget all that processes share, what was written from a document, or by a release."""
    backend = await _connect(settings)
    try:
        return await backend.clear(document=document, release=release)
    finally:
        await backend.aclose()


async def restore_reach(settings: HarnessSettings, release: str = "") -> list[str]:
    """Give caches whose reach was lowered all of it back; the digests of their configurations."""
    backend = await _connect(settings)
    try:
        lowered = [digest for digest, steps in (await backend.releases()).items() if steps and release in ("", digest)]
        await asyncio.gather(*(backend.restore(digest) for digest in lowered))
        return sorted(lowered)
    finally:
        await backend.aclose()


def _shared_backend(settings: HarnessSettings) -> RedisBackend:
    """The cache on Redis; a mistake where each process has its own."""
    if not settings.redis:
        raise ConfigError("Each process caches answers in its own memory, out of reach from here. Share them: set TOUCHSTONE_REDIS.")
    return RedisBackend(RedisLink(RedisAddress.of(settings), timeout_s=5.0), shared_keys(settings), SystemClock(), ttl_s=1.0, max_entries=1)


async def _connect(settings: HarnessSettings) -> RedisBackend:
    """The shared cache, once its Redis has answered."""
    backend = _shared_backend(settings)
    await check_redis(backend.link.address)
    return backend


def _of_golden(name: str, settings: HarnessSettings) -> list[ReviewedQuestion]:
    groups: dict[str, list[str]] = {}
    readers: dict[str, tuple[str, ...]] = {}
    for case in load_golden(settings.datasets, name).cases:
        key = case.group or case.id
        groups.setdefault(key, []).append(case.question)
        readers.setdefault(key, case.principal_groups)
    return [ReviewedQuestion(question=first, variants=tuple(rest), groups=readers[key]) for key, (first, *rest) in groups.items()]
