"""A few questions taken through retrieval, routing and packing before a sweep begins: what its prompts will weigh, for nothing."""

import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.sweep.space.bounds import hosted
from serving.pipeline.answer.answerer import Answerer
from serving.pipeline.answer.pack import estimate_tokens, pack
from serving.pipeline.config import RagConfig
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.context import Context, indexed_text
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.connect import connect_chat
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.base import Billed

CASES = 8
ECHO = Spec.model_validate({"name": "local:echo", "text": "."})


@dataclass(frozen=True, slots=True)
class Probe:
    """What the base made of a few questions."""

    prompt_tokens: float  # a question, on average
    passage_tokens: float  # of these, the passages with what frames them
    full: bool  # some found no room, so that a larger context would hold more
    passages: float  # how many of them
    answer_tokens: float | None  # where the models that answer are local
    tier_shares: Mapping[str, float]  # of the questions, by the tier that answered
    ms: float  # of all that runs on this machine
    index_seconds: float  # 0 where the index was there already


async def probe(factory: PipelineFactory, config: RagConfig, cases: Sequence[Case]) -> Probe:
    """Take some cases through a configuration; hosted models are neither asked nor connected."""
    thinking = all(_free(spec) for spec in config.tiers().values())
    async with _stand_in(factory, config) as (place, local):
        begin = time.monotonic()
        await place.index(local)
        built = time.monotonic() - begin
        pipeline = await place.pipeline(local)
        if not thinking:
            pipeline = _silent(pipeline, place, local)
        traces = [await pipeline.answer(case.query) for case in cases]
    packed = [pack(trace.hits, config.answer.context_tokens) for trace in traces]
    said = [use.output_tokens for trace in traces for use in trace.usage if use.calls]
    return Probe(
        prompt_tokens=fmean(estimate_tokens(trace.prompt) for trace in traces),
        passage_tokens=fmean(estimate_tokens(one.text) for one in packed),
        full=any(one.dropped or one.truncated for one in packed),
        passages=fmean(len(trace.passages) for trace in traces),
        answer_tokens=fmean(said) if thinking and said else None,
        tier_shares={
            tier: fmean(trace.route is not None and trace.route.tier == tier for trace in traces) for tier in config.answer.models
        },
        ms=median(trace.milliseconds for trace in traces),  # the first one also loads models
        index_seconds=built,
    )


def index_tokens(corpus: Corpus, chunker: Spec, contexts: Sequence[Context]) -> dict[Context, int]:
    """The tokens that an embedding model reads for an index of chunks, by what is put before each."""
    cut = CHUNKERS.build(chunker)
    chunks = [chunk for document in corpus.documents for chunk in cut.split(document)]
    return {context: sum(estimate_tokens(indexed_text(chunk, context)) for chunk in chunks) for context in contexts}


@asynccontextmanager
async def _stand_in(factory: PipelineFactory, config: RagConfig) -> AsyncIterator[tuple[PipelineFactory, RagConfig]]:
    """The factory itself; where retrieval would ask a hosted model, one with local parts and a folder of its own for its index."""
    changes = {}
    if hosted(config.index.embedder):
        changes["index.embedder.name"] = "local:hashing"
    if issubclass(RERANKERS.load(config.retrieve.reranker.name), Billed):
        changes["retrieve.reranker.name"] = "none"
    if not changes:
        yield factory, config
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = factory.settings.model_copy(update={"indexes": str(Path(folder) / "indexes")})
        yield (
            PipelineFactory(settings, factory.corpus, factory.prompts, factory.building, stages=None),
            config.replace(_all_local(changes, config)),
        )


def _all_local(changes: dict[str, str], config: RagConfig) -> dict[str, str]:
    """With hosted chat models replaced as well: without a stage store they would be connected at once."""
    return changes | {f"answer.models.{tier}.name": ECHO.name for tier, spec in config.answer.models.items() if hosted(spec)}


def _silent(pipeline: RagPipeline, factory: PipelineFactory, config: RagConfig) -> RagPipeline:
    """The same pipeline with models that say nothing."""
    silent = connect_chat(ECHO, factory.settings)
    chats = dict.fromkeys(config.answer.models, silent)
    answerer = Answerer(config.answer, prompts=factory.prompts, chats=chats, clock=pipeline.clock.seconds)
    return replace(pipeline, answerer=answerer)


def _free(spec: Spec) -> bool:
    """Whether a chat model may be asked for nothing: it runs here, and follows no script that asking would use up."""
    return not hosted(spec) and not getattr(CHAT_MODELS.load(spec.name), "stateful", False)
