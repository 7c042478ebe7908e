"""What one case asks of chat models: the tokens and dollars of its answer, and of its judges."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judges import judge_spec
from harness.judges.llm import LlmJudge
from harness.judges.tasks import Tasks
from harness.metrics import METRICS
from harness.metrics.structured import TRIES
from harness.sweep.cost.estimate import Estimate
from harness.sweep.experiment import Experiment
from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.prices import price
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

VERDICT_TOKENS = (20, 80)  # of a judge's reply: low, likely
LIBRARY_TOKENS = 1500  # of a prompt of ragas or deepeval, beside what is judged: they come with examples
LIBRARY_CALLS = 4  # that a metric of theirs makes
LIBRARY_REPLY = 3  # times an answer's length: they have it repeated statement by statement, with reasons
PER_PASSAGE = ("judge_context_relevance", "ragas_llm_context_precision")  # metrics that ask once for each passage
ONE = Estimate(low=1, likely=1, high=1)


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A chat model, and whose prices apply."""

    name: str
    price_model: str
    simulated: bool

    @classmethod
    def of(cls, spec: Spec, settings: PipelineSettings) -> "PricedModel":
        """By the model's own source, which is not connected."""
        source = CHAT_MODELS.build(spec, name=spec.name, settings=settings)
        return cls(spec.name, source.price_model, source.simulated)

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        """Dollars of a call; 0 where the price is not known."""
        return price(self.price_model, round(input_tokens), round(output_tokens)) or 0.0

    @property
    def known(self) -> bool:
        """Whether its price is known."""
        return price(self.price_model, 1, 1) is not None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its tokens as far as they are known, and the most they can be."""

    input_tokens: Estimate
    output_tokens: Estimate
    largest: float  # of its input
    limit: float  # of its output


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one case takes of the models that do one kind of work."""

    models: tuple[PricedModel, ...]
    calls: Estimate
    input_tokens: Estimate
    output_tokens: Estimate
    usd: Estimate
    dearest_usd: float  # the most that one case may cost

    @classmethod
    def of(
        cls, call: Call, models: Sequence[PricedModel], likely: Sequence[tuple[PricedModel, float]], *, calls: Estimate, most: float = 1.0
    ) -> "CallCost":
        """The cheapest of the models at the least tokens, the dearest at the most; `most` are the calls that one case can come to."""
        asked, said = call.input_tokens, call.output_tokens
        usd = Estimate(
            low=min(model.usd(asked.low, said.low) for model in models),
            likely=sum(share * model.usd(asked.likely, said.likely) for model, share in likely),
            high=max(model.usd(asked.high, said.high) for model in models),
        )
        dearest = most * max(model.usd(call.largest, call.limit) for model in models)
        return cls(tuple(models), calls, asked * calls, said * calls, usd * calls, dearest)


@dataclass(frozen=True, slots=True)
class _Judge:
    """How a kind of metric asks its chat model."""

    model: PricedModel
    task_tokens: float  # of a prompt, beside what is judged
    calls: int  # of a metric
    limit: float  # of a reply
    tries: int

    def of(self, metrics: int, answer: Call, parts: Estimate) -> CallCost:
        """What so many metrics take for one case; `parts` are the texts that each judges one by one, 1 where it judges the whole."""
        task, share = self.task_tokens, Estimate(low=0, likely=1 / parts.likely, high=1 / parts.high)
        judged = Call(
            input_tokens=Estimate(low=task, likely=task, high=task) + answer.input_tokens * share + answer.output_tokens,
            output_tokens=Estimate(low=VERDICT_TOKENS[0], likely=VERDICT_TOKENS[1], high=self.limit),
            largest=2 * task + answer.largest / parts.high + answer.limit + self.limit,
            limit=self.limit,
        )
        calls = parts * (metrics * self.calls)
        return CallCost.of(judged, [self.model], [(self.model, 1.0)], calls=calls, most=calls.high * self.tries)


def judge_call_costs(experiment: Experiment, settings: PipelineSettings, answer: Call, passages: Estimate) -> list[CallCost]:
    """What the judges of one case take; nothing where no chat model judges. `passages`: how many there are to judge."""
    metrics = [name.partition("@")[0] for name in experiment.metrics]
    asking = [name for name in metrics if getattr(METRICS.load(name), "needs_judge", False)]
    spec = judge_spec(experiment.judge) if experiment.judge else None
    if not asking or spec is None or spec.name != "llm":
        return []
    params = LlmJudge.Params.model_validate(spec.params)
    model, tasks = PricedModel.of(params.model, settings), Tasks(settings.prompts)
    task_tokens = max(estimate_tokens(tasks.get(name).prompt.text) for name in tasks.names())
    ours = _Judge(model, task_tokens, params.repeats, params.max_tokens, params.retries + 1)
    library = _Judge(model, LIBRARY_TOKENS, LIBRARY_CALLS, max(params.max_tokens, LIBRARY_REPLY * answer.limit), TRIES)
    kinds = [(ours, [name for name in asking if name.startswith("judge_")])]
    kinds += [(library, [name for name in asking if not name.startswith("judge_")])]
    found = []
    for judge, names in kinds:
        single = sum(name in PER_PASSAGE for name in names)
        found += [judge.of(len(names) - single, answer, ONE)] if single < len(names) else []
        found += [judge.of(single, answer, passages)] if single else []
    return found
