"""Loads a release into memory, verifies it against its digest, and warms it up."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from serving.app.settings import AppSettings
from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.store import DocumentStore
from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.build import build_pipeline
from serving.pipeline.errors import InfrastructureError, IntegrityError
from serving.pipeline.index.build import OpenIndex, open_index
from serving.pipeline.index.parse import Parser
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.types import Query
from serving.release.bundle import Release, load_release, open_releases

WARM_UP = Query("What is this service for?", id="warm-up")


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """A release that is ready to answer."""

    release: Release
    pipeline: RagPipeline
    loaded_at: str
    documents: IndexedDocuments | None = None  # what is added to its corpus

    @property
    def digest(self) -> str:
        """Digest of what is in memory, recomputed from it; `load` has seen that it is the release's."""
        return self.pipeline.config_digest

    @property
    def evidence(self) -> str:
        """Digest of the evidence that it was loaded by."""
        return self.release.newest_evidence


async def load(
    settings: AppSettings,
    digest: str,
    before: LoadedRelease | None = None,
    *,
    evidence: str | None = None,
    documents: DocumentStore | None = None,
) -> LoadedRelease:
    """Load, verify and warm up a release; the embedding model of the one before is reused if it is the same.

    Added documents that its index configuration has no chunks of are indexed before it takes over from the one before, and right
    after where there was none.
    """
    release = await load_verified(settings, digest, evidence)
    embedder = release.config.index.embedder
    same_embedder = before is not None and before.release.config.index.embedder == embedder
    embeddings = before.pipeline.index.embeddings if before is not None and same_embedder else None
    index = await open_index(release.config, release.index.corpus_digest, settings=settings, embeddings=embeddings)
    verify_index(release, index)
    added = IndexedDocuments(documents or open_documents(settings), release.config, index)
    await added.refresh()
    if before is not None and added.missing():
        await _catch_up(added, settings)
    index = replace(index, store=added.store)
    artefacts = BundledArtefacts(release.artefacts, release.place)
    pipeline = await asyncio.to_thread(
        build_pipeline, release.config, index, release.prompts, settings, release_digest=digest, artefacts=artefacts
    )
    if pipeline.config_digest != digest:
        raise IntegrityError(f"Release {digest} was promoted, but what was loaded hashes to {pipeline.config_digest}.")
    async with asyncio.timeout(settings.request_timeout_s):
        await pipeline.answer(WARM_UP, use_cache=False)  # else a shared cache answers, and nothing is warm
    return LoadedRelease(release, pipeline, datetime.now(UTC).isoformat(timespec="seconds"), added)


async def _catch_up(documents: IndexedDocuments, settings: AppSettings) -> None:
    """Index what was added, for a while; what is left then is indexed while the release answers."""
    with Parser() as parser, suppress(TimeoutError, InfrastructureError):
        async with asyncio.timeout(settings.catch_up_s):
            await documents.catch_up(parser if settings.index_documents else None)


async def load_verified(settings: AppSettings, digest: str, evidence: str | None) -> Release:
    """A release from its storage, every file and the evidence that its channel names checked."""
    return await asyncio.to_thread(lambda: load_release(open_releases(settings.releases, settings), digest, evidence=evidence))


def verify_index(release: Release, index: OpenIndex) -> None:
    """Raise unless the index is the one that the release was evaluated with."""
    recipe = release.config.digest("index", corpus=index.manifest.corpus_digest)
    if recipe != release.index.recipe:
        raise IntegrityError(
            f"Release {release.digest} was proven on the index {release.index.recipe}; what was opened hashes to {recipe}."
        )
    for field in ("recipe", "corpus_digest", "embedder_version", "dimensions", "documents", "chunks"):
        expected, actual = getattr(release.index, field), getattr(index.manifest, field)
        if expected != actual:
            raise IntegrityError(f"Release {release.digest} was proven on an index with {field} {expected!r}; the one here has {actual!r}.")
