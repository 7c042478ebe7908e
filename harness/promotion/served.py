"""Opens what a channel's server answers from: the release's bundle over its own index, with the documents added since."""

from dataclasses import dataclass, replace
from typing import Protocol

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import with_ranking
from harness.evaluation.subject import PipelineSubject
from harness.golden.sets import Split
from harness.results.report import EvalReport
from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.build import build_pipeline
from serving.pipeline.digest import digest_of
from serving.pipeline.index.build import OpenIndex, open_index
from serving.pipeline.progress import Progress
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import Release


@dataclass(frozen=True, slots=True)
class SearchedIndex:
    """The index that a server searches, and what differs from the release's own."""

    index: OpenIndex
    documents_added: int = 0
    documents_removed: int = 0
    corpus_version: str = ""  # of every change since; "": there is none


class OpenSearchedIndex(Protocol):
    """Opens the index that a server of a release searches."""

    async def __call__(self, release: Release, settings: PipelineSettings) -> SearchedIndex: ...


async def served_index(release: Release, settings: PipelineSettings) -> SearchedIndex:
    """What a server searches now: the index that the release was proven on, with the documents added and without those removed since."""
    own = await open_index(release.config, release.index.corpus_digest, settings=settings)
    documents = IndexedDocuments(open_documents(settings), release.config, own)
    await documents.refresh()
    view = documents.view
    return SearchedIndex(replace(own, store=documents.store), view.added, view.removed, view.version)


async def evaluate_release(
    release: Release,
    searched: SearchedIndex,
    split: Split,
    evaluator: Evaluator,
    settings: PipelineSettings,
    progress: Progress | None = None,
) -> EvalReport:
    """Score a release as it is served; every question is answered by the pipeline, none by a shared cache."""
    alone = settings.model_copy(update={"redis": "", "cache_audit": 0.0})
    artefacts = BundledArtefacts(release.artefacts, release.place)
    pipeline = build_pipeline(release.config, searched.index, release.prompts, alone, release_digest=release.digest, artefacts=artefacts)
    prompts = digest_of(release.prompts.texts_of(release.config))
    subject = PipelineSubject(with_ranking(pipeline, evaluator.ranked), release.config, prompts)
    try:
        return await evaluator.run(subject, split, progress)
    finally:
        await pipeline.aclose()
