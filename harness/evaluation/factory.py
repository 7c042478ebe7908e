"""The factory of pipelines: from a configuration, a corpus, the prompts and the stage store."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.subject import PipelineSubject
from harness.golden.sets import Split
from harness.results.report import EvalReport
from harness.stage_store.base import StageStore
from harness.stage_store.chat import CachedChat, cached_chat
from harness.stage_store.chunks import CachedChunks
from harness.stage_store.embed import CachedEmbeddings, cached_embeddings
from harness.stage_store.endpoint import endpoints_of
from harness.stage_store.retrieve import CachedRetriever
from harness.stage_store.search import CachedSearches
from serving.pipeline.artefacts import Artefacts
from serving.pipeline.build import build_pipeline, config_digest
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.build import OpenIndex, ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.prices import price_list
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.progress import Progress
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve.retriever import Retriever
from serving.pipeline.settings import PipelineSettings

INDEXES_OPEN = 3  # of a process: trials come back to the last few


@dataclass
class PipelineFactory:
    """Builds pipelines; each index is built once and shared by the configurations that use it."""

    settings: PipelineSettings
    corpus: Corpus
    prompts: PromptLibrary
    index_progress: Progress | None = None
    stage_store: StageStore | None = None  # none: everything is computed each time
    replay_only: bool = False  # hosted models answer from the stage store or not at all
    artefacts: Artefacts | None = None  # of a release; none: those of this machine
    computed: bool = False  # no stored search or answer is used, so that times are real; only the documents' vectors are reused
    _open: OrderedDict[str, OpenIndex] = field(default_factory=OrderedDict)  # the last used come last
    _embeddings: dict[str, CachedEmbeddings] = field(default_factory=dict)  # by model: indexes share what it keeps in memory
    _chunks: CachedChunks | None = None
    _chats: dict[str, ConnectedChat] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # an evaluation starts with empty caches, shares nothing with a server, and scores the configuration alone
        self.settings = self.settings.model_copy(update={"redis": "", "cache_audit": 0.0})
        if self.replay_only and self.stage_store is None:
            raise ConfigError("--replay-only answers from the stage store: leave --no-store out.")

    def digest(self, config: RagConfig) -> str:
        """The digest of everything that decides this configuration's answers."""
        return config_digest(config, self.corpus.digest, self.prompts)

    async def index(self, config: RagConfig) -> OpenIndex:
        """The index of a configuration; built when it is not there yet."""
        key = config.digest("index", corpus=self.corpus.digest)
        if key not in self._open:
            opened = await ensure_index(
                self.corpus, config, settings=self.settings, embeddings=self._embeddings_of(config), progress=self.index_progress
            )
            self._open.setdefault(key, opened)
            while len(self._open) > INDEXES_OPEN:
                self._open.popitem(last=False)[1].close()  # a pipeline that still uses it opens it again
        self._open.move_to_end(key)
        return self._open[key]

    def _embeddings_of(self, config: RagConfig) -> CachedEmbeddings | None:
        """The index's model behind the stage store; none without one."""
        if self.stage_store is None:
            return None
        spec = config.index.embedder
        key = digest_of(spec.model_dump(mode="json"))
        if key not in self._embeddings:
            self._embeddings[key] = cached_embeddings(spec, self.settings, self.stage_store, replay_only=self.replay_only)
        return self._embeddings[key]

    async def pipeline(self, config: RagConfig, ranked: int = 0) -> RagPipeline:
        """A pipeline that answers by this configuration; its traces also have the first `ranked` places of the ranking."""
        index, stage_store = await self.index(config), self.stage_store
        if stage_store is None:
            return with_ranking(build_pipeline(config, index, self.prompts, self.settings, artefacts=self.artefacts), ranked)
        if self.computed:
            chat = partial(self._computing_chat, stage_store)
            index = _computing(index)
            pipeline = build_pipeline(config, index, self.prompts, self.settings, connect=chat, artefacts=self.artefacts)
            return with_ranking(pipeline, ranked)

        self._chunks = chunks = self._chunks or CachedChunks(stage_store)
        cached_index = replace(index, store=CachedSearches(index.store, stage_store, chunks, index.digest, exact=_exact(index)))
        chat = partial(self._chat, stage_store)
        pipeline = build_pipeline(config, cached_index, self.prompts, self.settings, connect=chat, artefacts=self.artefacts)
        pipeline = with_ranking(pipeline, ranked)
        models = (config.index.embedder.name, config.retrieve.reranker.name)
        endpoints = [endpoint for name in models for endpoint in endpoints_of(name, self.settings)]
        digest = "|".join([config.digest("retrieve", corpus=self.corpus.digest), *endpoints])
        cached = CachedRetriever(pipeline.retriever, stage_store, chunks, digest, ranked, price_list(self.settings))
        return replace(pipeline, retriever=cached)

    async def subject(self, config: RagConfig, ranked: int = 0) -> PipelineSubject:
        """A configuration as the subject of an evaluation: a new pipeline, without state of other evaluations."""
        return PipelineSubject(await self.pipeline(config, ranked), config, digest_of(self.prompts.texts_of(config)))

    def _chat(self, stage_store: StageStore, spec: Spec, settings: PipelineSettings) -> ConnectedChat:
        """One model for all configurations that name it; a scripted model is new for each."""
        key = digest_of(spec.model_dump(mode="json"))
        chat = self._chats.get(key) or cached_chat(spec, settings, stage_store, replay_only=self.replay_only)
        if isinstance(chat.model, CachedChat):
            self._chats[key] = chat
        return chat

    def _computing_chat(self, stage_store: StageStore, spec: Spec, settings: PipelineSettings) -> ConnectedChat:
        """The model behind the stage store, loaded once for both; in a replay, its stored answers."""
        chat = self._chat(stage_store, spec, settings)
        cached = chat.model if isinstance(chat.model, CachedChat) else None
        return chat if cached is None or cached.replay_only else replace(chat, model=cached.connect())

    async def evaluate(self, config: RagConfig, split: Split, evaluator: Evaluator, progress: Progress | None = None) -> EvalReport:
        """Score a configuration on a split."""
        return await evaluator.run(await self.subject(config, evaluator.ranked), split, progress)


def _computing(index: OpenIndex) -> OpenIndex:
    """An index that computes the vectors of questions, and uses no stored ones."""
    embeddings = index.embeddings
    return replace(index, embeddings=embeddings.computing) if isinstance(embeddings, CachedEmbeddings) else index


def with_ranking(pipeline: RagPipeline, depth: int) -> RagPipeline:
    """A pipeline whose traces also have the first places of the ranking, where it has our retriever."""
    retriever = pipeline.retriever
    return replace(pipeline, retriever=retriever.with_ranking(depth)) if isinstance(retriever, Retriever) else pipeline


def _exact(index: OpenIndex) -> bool:
    """Whether the vector search is exact, so that a longer list begins with the shorter one."""
    above = index.manifest.index.store.params.get("ann_above")
    return above is None or index.manifest.chunks <= int(above)
