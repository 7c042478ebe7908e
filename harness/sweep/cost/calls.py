"""Calls of chat models, priced: the one that answers, and those of the judges."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judges import judge_spec
from harness.judges.llm import LlmJudge
from harness.judges.tasks import Tasks
from harness.metrics import METRICS
from harness.metrics.structured import TRIES
from harness.sweep.cost.estimate import Estimate
from harness.sweep.experiment import Experiment
from harness.sweep.space.bounds import hosted
from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.prices import PriceList, price_list
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

VERDICT_TOKENS = (20, 80)  # of a judge's reply: low, likely
LIBRARY_TOKENS = 1500  # of a prompt of ragas or deepeval, beside what is judged: they come with examples
LIBRARY_CALLS = 4  # that a metric of theirs makes
LIBRARY_REPLY = 3  # times an answer's length: they have it repeated statement by statement, with reasons
PER_PASSAGE = ("judge_context_relevance", "ragas_llm_context_precision")  # metrics that ask once for each passage
ONE = Estimate.exactly(1)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """A chat model, and whose prices apply."""

    name: str
    price_model: str
    simulated: bool
    prices: PriceList

    @classmethod
    def of(cls, spec: Spec, settings: PipelineSettings) -> "ModelPrice":
        """By the model's own source, which is not connected."""
        source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
        return cls(spec.name, source.price_model, source.simulated, price_list(settings))

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        """Dollars of a call; 0 where the price is not known."""
        return self.prices.tokens(self.price_model, round(input_tokens), round(output_tokens)) or 0.0

    @property
    def known(self) -> bool:
        """Whether its price is known."""
        return self.prices.tokens(self.price_model, 1, 1) is not None


@dataclass(frozen=True, slots=True)
class CallCost:
    """What calls take: tokens, dollars, and how many of them leave this machine."""

    input_tokens: Estimate
    output_tokens: Estimate
    usd: Estimate
    hosted_calls: Estimate


def call_cost(
    shares: Sequence[tuple[ModelPrice, float]], input_tokens: Estimate, output_tokens: Estimate, calls: Estimate = ONE
) -> CallCost:
    """Calls by one of several models, each with its likely share: the low and the high end are the cheapest's and the dearest's."""
    usd = Estimate(
        low=min(model.usd(input_tokens.low, output_tokens.low) for model, _ in shares),
        likely=sum(share * model.usd(input_tokens.likely, output_tokens.likely) for model, share in shares),
        high=max(model.usd(input_tokens.high, output_tokens.high) for model, _ in shares),
        bound=max(model.usd(input_tokens.bound, output_tokens.bound) for model, _ in shares),
    )
    any_hosted = any(hosted(model.name) for model, _ in shares)
    return CallCost(input_tokens * calls, output_tokens * calls, usd * calls, calls if any_hosted else Estimate())


@dataclass(frozen=True, slots=True)
class MetricCalls:
    """How one judged metric asks its chat model."""

    model: ModelPrice
    prompt_tokens: float  # beside what is judged
    calls: int
    tries: int  # of a call whose reply cannot be read
    max_tokens: float  # of a reply
    answers: float  # of a reply, in answers' lengths, where that is more
    per_passage: bool

    def cost(self, answer: CallCost, passages: Estimate) -> CallCost:
        """What it takes to judge one answer with so many passages."""
        texts = passages if self.per_passage else ONE
        limit = max(self.max_tokens, self.answers * answer.output_tokens.bound)
        share = Estimate(low=0, likely=1 / texts.likely, high=1 / texts.high, bound=1 / texts.high)  # of the passages, in each call
        again = Estimate(bound=self.prompt_tokens + limit)  # a reply that could not be read is shown once more
        prompt = Estimate.exactly(self.prompt_tokens) + answer.input_tokens * share + answer.output_tokens + again
        reply = Estimate(low=VERDICT_TOKENS[0], likely=VERDICT_TOKENS[1], high=limit, bound=limit)
        calls = Estimate.exactly(self.calls).model_copy(update={"bound": self.calls * self.tries})
        return call_cost([(self.model, 1.0)], prompt, reply, texts * calls)


def judged_metrics(experiment: Experiment, settings: PipelineSettings) -> list[MetricCalls]:
    """How an experiment's metrics ask a judge; none where no chat model judges."""
    spec = judge_spec(experiment.judge) if experiment.judge else None
    if spec is None or spec.name != "llm":
        return []
    params = LlmJudge.Params.model_validate(spec.params)
    model, tasks = ModelPrice.of(params.model, settings), Tasks(settings.prompts)
    longest = max(estimate_tokens(tasks.get(name).prompt.text) for name in tasks.names())
    found = []
    for name in (metric.partition("@")[0] for metric in experiment.metrics):
        if getattr(METRICS.load(name), "needs_judge", False):
            ours = longest, params.repeats, params.retries + 1, params.max_tokens, 0
            theirs = LIBRARY_TOKENS, LIBRARY_CALLS, TRIES, params.max_tokens, LIBRARY_REPLY
            found.append(MetricCalls(model, *(ours if name.startswith("judge_") else theirs), per_passage=name in PER_PASSAGE))
    return found
