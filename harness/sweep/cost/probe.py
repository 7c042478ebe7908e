"""A few questions taken through retrieval, routing and packing before a sweep begins: what its prompts will weigh, for nothing."""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.sweep.space.bounds import answer_models, hosted
from serving.pipeline.answer.pack import estimate_tokens, pack_passages
from serving.pipeline.config import RagConfig
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.base import Billed

CASES = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """What the base made of a few questions; means, where nothing else is said."""

    passage_tokens: float = 0.0  # of a prompt's passages with what frames them
    passages: float = 0.0  # how many of them
    full: bool = False  # some found no room, so that a larger context would hold more
    answer_tokens: float | None = None  # where the models that answer are local
    tier_shares: Mapping[str, float] = field(default_factory=dict)  # of the questions
    ms: float = 0.0  # of all that runs on this machine, the median: the first question also loads models
    index_seconds: float = 0.0  # 0 where the index was there already


async def probe(factory: PipelineFactory, config: RagConfig, cases: Sequence[Case]) -> Probe:
    """Take some cases through a configuration; local models stand in for hosted ones, which are neither asked nor connected."""
    chats = {f"answer.models.{tier}.name": "local:echo" for tier, spec in answer_models(config).items() if not _free(spec)}
    retrieval = {}
    if hosted(config.index.embedder.name):
        retrieval["index.embedder.name"] = "local:hashing"
    if issubclass(RERANKERS.load(config.retrieve.reranker.name), Billed):
        retrieval["retrieve.reranker.name"] = "none"
    local = config.replace(chats | retrieval)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if retrieval:  # whose index is thrown away
            settings = factory.settings.model_copy(update={"indexes": str(Path(folder) / "indexes")})
            factory = PipelineFactory(settings, factory.corpus, factory.prompts, factory.index_progress)
        begin = time.monotonic()
        await factory.index(local)
        built = time.monotonic() - begin
        pipeline = await factory.pipeline(local)
        traces = [await pipeline.answer(case.query) for case in cases]
    packed = [pack_passages(trace.hits, config.answer.context_tokens) for trace in traces]
    output_tokens = [use.output_tokens for trace in traces for use in trace.usage if use.calls]
    tiers = Counter(trace.route.tier for trace in traces if trace.route)
    return Probe(
        passage_tokens=fmean(estimate_tokens(one.text) for one in packed),
        passages=fmean(len(trace.passages) for trace in traces),
        full=any(one.dropped or one.truncated for one in packed),
        answer_tokens=fmean(output_tokens) if output_tokens and all(_free(spec) for spec in config.tiers().values()) else None,
        tier_shares={tier: count / len(traces) for tier, count in tiers.items()},
        ms=median(trace.milliseconds for trace in traces),
        index_seconds=built,
    )


def _free(spec: Spec) -> bool:
    """Whether a chat model may be asked for nothing: it runs here, and follows no script that asking would use up."""
    return not hosted(spec.name) and not getattr(CHAT_MODELS.load(spec.name), "stateful", False)
