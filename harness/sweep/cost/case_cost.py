"""What one case costs under one configuration, and what that configuration's index costs."""

from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from harness.evaluation.factory import PipelineFactory
from harness.golden.sets import GoldenSet
from harness.sweep.cost.calls import CallCost, MetricCalls, ModelPrice, call_cost, judged_metrics
from harness.sweep.cost.estimate import Estimate, total
from harness.sweep.cost.probe import Probe
from harness.sweep.experiment import Experiment
from harness.sweep.space.bounds import hosted
from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.config import RagConfig
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.context import indexed_text
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.prices import price_list
from serving.pipeline.parts import Parts
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.base import Billed
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage

SHARES = (0.05, 0.25, 1.0)  # of max_tokens, as the length of an answer: low, likely, high
BYTES_PER_TOKEN = 2  # at the very least, in every script: English has about four
TRIED_AGAIN = 0.25  # of the questions, where a cheap tier's answer may be given up for a dearer one's: assumed
FRAME_TOKENS = 50  # roles and separators around a prompt


@dataclass
class CasePrices:
    """Prices one configuration at a time; without a probe of the base only the bounds are meant."""

    experiment: Experiment
    factory: PipelineFactory
    golden: GoldenSet
    probe: Probe = field(default_factory=Probe)
    _case_usd: dict[str, float] = field(default_factory=dict)
    _index_tokens: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def case_usd(self, config: RagConfig) -> float:
        """The most that one case may cost: what is reserved for it."""
        key = config.model_dump_json()
        if key not in self._case_usd:  # asked for with each block of a trial
            self._case_usd[key] = self.case(config).usd.bound
        return self._case_usd[key]

    def case(self, config: RagConfig) -> CallCost:
        """What one case takes: its answer, its judges, its question's vector, the reranking of its candidates."""
        answer, passages = self._answer(config), self._passages(config)
        parts = [answer, *(metric.cost(answer, passages) for metric in self._judged)]
        reranking = reranking_usage(config, self.factory.settings)
        return CallCost(
            input_tokens=total(part.input_tokens for part in parts),
            output_tokens=total(part.output_tokens for part in parts),
            usd=total([*(part.usd for part in parts), self._question_usd(config), Estimate.exactly(reranking.usd if reranking else 0.0)]),
            hosted_calls=total(part.hosted_calls for part in parts),
        )

    def index_usd(self, config: RagConfig, step: int = 1) -> float:
        """The most that the vectors of its index may cost, by every `step`-th document; for a local model nothing is cut."""
        key = config.index.chunker.model_dump_json(), config.index.context, step
        if not (per_token := embedding_usd(config, self.factory.settings)):
            return 0.0
        if key not in self._index_tokens:
            chunker = CHUNKERS.build(config.index.chunker)
            chunks = (chunk for document in self.factory.corpus.documents[::step] for chunk in chunker.split(document))
            self._index_tokens[key] = step * sum(estimate_tokens(indexed_text(chunk, config.index.context)) for chunk in chunks)
        return self._index_tokens[key] * per_token * self._bytes_per_character * BYTES_PER_TOKEN

    def _answer(self, config: RagConfig) -> CallCost:
        """The call that answers, by whichever model the router may choose, and a second one where answers may be given up."""
        shares = {tier: self.probe.tier_shares.get(tier, 0.0) for tier in config.tiers()}
        if not any(shares.values()):
            shares = dict.fromkeys(shares, 1.0)
        models = [
            (ModelPrice.of(spec, self.factory.settings), shares[tier] / sum(shares.values())) for tier, spec in config.tiers().items()
        ]
        low, likely, high = (share * config.answer.max_tokens for share in SHARES)
        if (answered := self.probe.answer_tokens) is not None:
            low, likely = min(answered, low), min(answered, high)
        prompt, reply = self._prompt_tokens(config), Estimate(low=low, likely=likely, high=high, bound=high)
        once = call_cost(models, prompt, reply)
        if config.route.escalate.name == "none" or len(models) == 1:
            return once
        dearest = max(models, key=lambda model: call_cost([model], prompt, reply).usd.bound)
        again = call_cost([dearest], prompt, reply, Estimate(likely=TRIED_AGAIN, high=1, bound=1))
        before = call_cost([model for model in models if model is not dearest], prompt, reply)  # the dearest is the end of every climb
        most = {name: max(getattr(once.usd, name), getattr(before.usd, name) + getattr(again.usd, name)) for name in ("high", "bound")}
        return CallCost(
            input_tokens=once.input_tokens + again.input_tokens,
            output_tokens=once.output_tokens + again.output_tokens,
            usd=Estimate(low=once.usd.low, likely=once.usd.likely + again.usd.likely, **most),
            hosted_calls=once.hosted_calls + again.hosted_calls,
        )

    def _prompt_tokens(self, config: RagConfig) -> Estimate:
        """Template, question and passages, for which `context_tokens` is the limit."""
        templates = [len(text) for text in self.factory.prompts.texts(config.answer.prompt).values()]
        questions = [len(case.question) for case in self.golden.cases]
        room, found, ratio = config.answer.context_tokens, self.probe.passage_tokens, self._length_ratio(config)
        most = room if ratio is None or self.probe.full else min(found * max(1.0, ratio), room)
        rest = fmean(templates) / 4 + fmean(questions) / 4
        return Estimate(
            low=rest + min(found * min(1.0, ratio or 0.5), room),
            likely=rest + min(found * (ratio or 1.0), room),
            high=max(templates) / 4 + (fmean(questions) / 4 + most) * self._bytes_per_character,
            bound=(max(templates) + max(questions) + 4 * room) * self._bytes_per_character / BYTES_PER_TOKEN + FRAME_TOKENS,
        )

    def _passages(self, config: RagConfig) -> Estimate:
        """How many passages a judge may be shown."""
        most, likely = _hits(config), max(1.0, self.probe.passages * (self._length_ratio(config) or 1.0))
        return Estimate(low=1, likely=min(likely, most), high=most, bound=most)

    def _length_ratio(self, config: RagConfig) -> float | None:
        """How many times as much text retrieval may find as the probed base's; `None` where chunkers of two kinds are compared."""
        base, hits = self.experiment.config, _hits(config) / _hits(self.experiment.config)
        if config.index.chunker == base.index.chunker:
            return hits
        size, own = config.index.chunker.params.get("size"), base.index.chunker.params.get("size")
        return hits * size / own if config.index.chunker.name == base.index.chunker.name and size and own else None

    def _question_usd(self, config: RagConfig) -> Estimate:
        """The vector of a question."""
        tokens, per_token = [estimate_tokens(case.question) for case in self.golden.cases], embedding_usd(config, self.factory.settings)
        likely, high = fmean(tokens) * per_token, max(tokens) * per_token * self._bytes_per_character
        return Estimate(low=likely, likely=likely, high=high, bound=high * BYTES_PER_TOKEN)

    @cached_property
    def _judged(self) -> list[MetricCalls]:
        return judged_metrics(self.experiment, self.factory.settings)

    @cached_property
    def _bytes_per_character(self) -> float:
        """Of the text that has most; 1 in English, 3 in Chinese, which has as many more tokens than are counted by the character."""
        texts = [*(one.text for one in self.factory.corpus.documents), *(case.question for case in self.golden.cases)]
        return max((len(text.encode("utf-8", "replace")) / len(text) for text in texts if text), default=1.0)


def embedding_usd(config: RagConfig, settings: PipelineSettings) -> float:
    """Dollars of a token embedded; 0 by a local model, and where the price is not known."""
    spec = config.index.embedder
    if not hosted(spec.name):
        return 0.0
    source = EMBEDDINGS.build(spec, name=spec.name, settings=settings)
    return (price_list(settings).tokens(source.price_model, 1_000_000, 0) or 0.0) / 1_000_000


def reranking_usage(config: RagConfig, settings: PipelineSettings) -> Usage | None:
    """What reranking the candidates of one question takes; `None` where it is free."""
    spec, most = config.retrieve.reranker, max(config.retrieve.candidates, config.retrieve.top_k)
    if not issubclass(RERANKERS.load(spec.name), Billed):
        return None
    reranker = RERANKERS.build(spec, parts=Parts(settings))
    assert isinstance(reranker, Billed)
    return reranker.usage([None] * most)  # type: ignore[list-item]  # only how many there are counts


def _hits(config: RagConfig) -> int:
    """Passages that a question finds, at most."""
    return config.retrieve.top_k * (1 + 2 * config.retrieve.neighbours)
