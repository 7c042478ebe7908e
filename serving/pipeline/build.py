"""Builds a pipeline from a configuration and an index."""

from collections.abc import Callable
from dataclasses import replace

from langchain_core.embeddings import Embeddings

from serving.pipeline.answer.answerer import Answerer
from serving.pipeline.artefacts import Artefacts, FolderArtefacts, collect_artefacts
from serving.pipeline.cache import CACHES
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard import CHECKS
from serving.pipeline.guard.advice import ADVICE
from serving.pipeline.guard.base import Side
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.guard.passage_guard import PassageGuard
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.billed_embeddings import BilledEmbeddings
from serving.pipeline.models.connect import LOCAL, ConnectedChat, connect_chat
from serving.pipeline.models.prices import price_list
from serving.pipeline.parts import Digests, Parts
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS, NARROWINGS, RERANKERS, REWRITERS, SEARCHERS
from serving.pipeline.retrieve.retriever import Retriever
from serving.pipeline.route import DOMAINS, ESCALATIONS, ROUTERS
from serving.pipeline.route.domain import RouterWithDomain
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage
from serving.storage.open import open_storage

Connect = Callable[[Spec, PipelineSettings], ConnectedChat]


def config_digest(config: RagConfig, corpus_digest: str, prompts: PromptLibrary) -> str:
    """The digest of everything that decides an answer."""
    return config.digest(corpus=corpus_digest, prompts=prompts.texts_of(config))


def build_pipeline(
    config: RagConfig,
    index: OpenIndex,
    prompts: PromptLibrary,
    settings: PipelineSettings,
    *,
    clock: Clock | None = None,
    release_digest: str = "",
    artefacts: Artefacts | None = None,
    connect: Connect = connect_chat,
) -> RagPipeline:
    """A pipeline that answers by `config` over `index`, with the chat models that `connect` gives.

    Every plug-in is a new instance, so that a cache belongs to this pipeline alone. An artefact that the configuration names and
        `artefacts` (by default the folder below home) lacks is an error.
    """
    retrieve = config.retrieve
    source: Artefacts = artefacts or FolderArtefacts(settings.artefact_folder)
    collect_artefacts(config, source)
    parts = _parts(config, index, prompts, settings, source, clock or SystemClock(), release_digest)
    chats = {tier: connect(spec, settings) for tier, spec in config.answer.models.items()}
    parts = replace(parts, fusion=FUSIONS.build(retrieve.fusion, parts=parts), chats=chats)
    return RagPipeline(
        digests=parts.digests,
        index=index,
        input_guard=_guard("input", config, parts),
        passage_guard=PassageGuard(_guard("passages", config, parts)),
        output_guard=_guard("output", config, parts),
        cache=CACHES.build(config.cache.lookup, parts=parts),
        retriever=Retriever(
            retrieve,
            searcher=SEARCHERS.build(retrieve.search, parts=parts),
            reranker=RERANKERS.build(retrieve.reranker, parts=parts),
            store=parts.store,
            narrowing=NARROWINGS.build(retrieve.narrow, parts=parts),
            embedding=_question_price(config, parts.embeddings),
        ),
        router=RouterWithDomain(ROUTERS.build(config.route.router, parts=parts), DOMAINS.build(config.route.domain, parts=parts)),
        escalation=ESCALATIONS.build(config.route.escalate, parts=parts),
        answerer=Answerer(config.answer, prompts=prompts, chats=chats, clock=parts.clock.seconds),
        clock=parts.clock,
        guide_refusals=config.guard.guide_refusals,
        rewriter=REWRITERS.build(retrieve.rewrite, parts=parts),
        fallback=config.answer.fallback,
    )


def _parts(
    config: RagConfig,
    index: OpenIndex,
    prompts: PromptLibrary,
    settings: PipelineSettings,
    artefacts: Artefacts,
    clock: Clock,
    release_digest: str,
) -> Parts:
    """The dependencies of every plug-in; the fusion is a plug-in itself and is added when it is built."""
    corpus, texts = index.manifest.corpus_digest, prompts.texts_of(config)
    return Parts(
        settings=settings,
        store=index.store,
        embeddings=_billed(index.embeddings, config.index.embedder, settings),
        embedder=config.index.embedder.name,
        prompts=prompts,
        artefacts=artefacts,
        storage=open_storage(str(settings.home / "parts"), settings),
        clock=clock,
        digests=Digests(config.digest(corpus=corpus, prompts=texts), index.digest, corpus, digest_of(texts), release_digest),
    )


def build_guard(side: Side, config: RagConfig, settings: PipelineSettings) -> GuardChain:
    """The checks of one side alone, without an index."""
    embedder = config.index.embedder
    model = EMBEDDINGS.build(embedder, name=embedder.name, settings=settings).connect()
    return _guard(
        side, config, Parts(settings, embeddings=model, embedder=embedder.name, artefacts=FolderArtefacts(settings.artefact_folder))
    )


def _guard(side: Side, config: RagConfig, parts: Parts) -> GuardChain:
    """The checks of one side; those named `none` are placeholders for a sweep and are left out."""
    specs = {"input": config.guard.input, "passages": config.guard.passages, "output": config.guard.output}[side]
    checks = {name: CHECKS.build(spec, parts=parts) for name, spec in specs.items() if spec.name != "none"}
    for name, check in checks.items():
        if side not in check.sides:
            raise ConfigError(f"guard.{side}.{name}: the check {specs[name].name!r} is for guard.{' and guard.'.join(check.sides)} only.")
        cuts = getattr(check, "cuts", False)  # out of what is read of a passage
        if side == "passages" and check.rewrites and not cuts:  # citations are places in documents
            raise ConfigError(f"guard.passages.{name}: a passage is read as it stands or not at all. Set an action other than 'mask'.")
        if side != "passages" and cuts:
            raise ConfigError(f"guard.{side}.{name}: action 'cut' is for passages. Write flag or block.")
    return GuardChain(
        side,
        checks,
        clock=parts.clock.seconds,
        on_error=config.guard.on_error,
        block_message=config.guard.block_message,
        timeout_s=config.guard.timeout_ms / 1000,
        advice={name: ADVICE.get(specs[name].name, "") for name in checks} if side == "input" else None,
    )


def _billed(embeddings: Embeddings, spec: Spec, settings: PipelineSettings) -> Embeddings:
    """The index's embedding model; a hosted one records its usage."""
    if spec.name.startswith(LOCAL):
        return embeddings
    source = EMBEDDINGS.build(spec, name=spec.name, settings=settings)
    return BilledEmbeddings(embeddings, source, spec.name, price_list(settings))


def _question_price(config: RagConfig, embeddings: Embeddings | None) -> Callable[[str], Usage] | None:
    """The usage of a question's vector, which a cached search reports as well."""
    embeds = getattr(SEARCHERS.load(config.retrieve.search.name), "embeds", True)
    return embeddings.usage if embeds and isinstance(embeddings, BilledEmbeddings) else None
