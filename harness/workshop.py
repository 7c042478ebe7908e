"""Where configurations become running pipelines: a corpus, the prompts, and the indexes opened so far."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from harness.evaluate import Evaluator, Progress
from harness.golden.sets import Split
from harness.results import EvalReport
from harness.stages.base import Kept
from harness.stages.chat import KeptChat, kept_chat
from harness.stages.chunks import KeptChunks
from harness.stages.embed import kept_embeddings
from harness.stages.endpoint import asked_at
from harness.stages.retrieve import KeptRetriever
from harness.stages.search import KeptSearches
from serving.pipeline.build import build_pipeline, config_digest
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.build import OpenIndex, ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

Building = Callable[[int, int], None]  # documents (or chunks) done, in all


@dataclass
class Workshop:
    """Builds each index once and keeps it open for every configuration that stands on it."""

    settings: PipelineSettings
    corpus: Corpus
    prompts: PromptLibrary
    building: Building | None = None
    stages: Kept | None = None  # where stage outputs are kept; none: everything is computed each time
    replay_only: bool = False  # hosted models answer from there or not at all
    _open: dict[str, OpenIndex] = field(default_factory=dict)
    _chunks: KeptChunks | None = None
    _chats: dict[str, ConnectedChat] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.replay_only and self.stages is None:
            raise ConfigError("--replay-only answers from the stage store: leave --no-store out.")

    def digest(self, config: RagConfig) -> str:
        """The digest of everything that decides this configuration's answers."""
        return config_digest(config, self.corpus.digest, self.prompts)

    async def index(self, config: RagConfig) -> OpenIndex:
        """The index a configuration stands on; built when it is not there yet."""
        key = config.digest("index", corpus=self.corpus.digest)
        if key not in self._open:
            embeddings = None
            if self.stages is not None:
                embeddings = kept_embeddings(config.index.embedder, self.settings, self.stages, replay_only=self.replay_only)
            self._open[key] = await ensure_index(self.corpus, config, settings=self.settings, embeddings=embeddings, progress=self.building)
        return self._open[key]

    async def pipeline(self, config: RagConfig) -> RagPipeline:
        """A pipeline that answers by this configuration."""
        index, stages = await self.index(config), self.stages
        if stages is None:
            return build_pipeline(config, index, self.prompts, self.settings)

        self._chunks = chunks = self._chunks or KeptChunks(stages)
        searched = replace(index, store=KeptSearches(index.store, stages, chunks, index.digest, exact=_exact(index)))
        pipeline = build_pipeline(config, searched, self.prompts, self.settings, connect=partial(self._chat, stages))
        asked = (config.index.embedder.name, config.retrieve.reranker.name)
        places = [place for name in asked for place in asked_at(name, self.settings)]
        digest = "|".join([config.digest("retrieve", corpus=self.corpus.digest), *places])
        return replace(pipeline, retriever=KeptRetriever(pipeline.retriever, stages, chunks, digest))

    def _chat(self, stages: Kept, spec: Spec, settings: PipelineSettings) -> ConnectedChat:
        """One model for all configurations that name it, since it may remember what it read; not one that follows a script."""
        key = digest_of(spec.model_dump(mode="json"))
        chat = self._chats.get(key) or kept_chat(spec, settings, stages, replay_only=self.replay_only)
        if isinstance(chat.model, KeptChat):
            self._chats[key] = chat
        return chat

    async def evaluate(self, config: RagConfig, split: Split, evaluator: Evaluator, progress: Progress | None = None) -> EvalReport:
        """Score a configuration on a split."""
        report = await evaluator.run(await self.pipeline(config), config, split, progress)
        prompts = digest_of(self.prompts.texts(config.answer.prompt))
        return replace(report, header=replace(report.header, prompts_digest=prompts))


def _exact(index: OpenIndex) -> bool:
    """Whether the store compares every vector, so that a longer list begins with the shorter one."""
    above = index.manifest.index.store.params.get("ann_above")
    return above is None or index.manifest.chunks <= int(above)
