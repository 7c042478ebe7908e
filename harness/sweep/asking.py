"""What one case asks of chat models: the tokens and dollars of its answer, and of its judges."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judges import judge_spec
from harness.judges.llm import LlmJudge
from harness.metrics import METRICS
from harness.sweep.between import Between
from harness.sweep.experiment import Experiment
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.prices import price
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

TASK_TOKENS = 500  # of a judge's prompt, beside what is judged
VERDICT_TOKENS = (20, 80)  # of a judge's reply: low, likely
LIBRARY_CALLS = 3  # that a metric of ragas or deepeval makes
PER_PASSAGE = ("judge_context_relevance",)  # metrics that ask once for each passage


@dataclass(frozen=True, slots=True)
class Priced:
    """A chat model, and whose prices apply."""

    name: str
    price_model: str
    simulated: bool

    @classmethod
    def of(cls, spec: Spec, settings: PipelineSettings) -> "Priced":
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

    input_tokens: Between
    output_tokens: Between
    largest: float  # of its input
    limit: float  # of its output


@dataclass(frozen=True, slots=True)
class Asking:
    """What one case takes of the models that do one kind of work."""

    models: tuple[Priced, ...]
    calls: float
    input_tokens: Between
    output_tokens: Between
    usd: Between
    dearest_usd: float  # the most that one case may cost

    @classmethod
    def of(
        cls, call: Call, models: Sequence[Priced], likely: Sequence[tuple[Priced, float]], *, calls: float = 1.0, most: float = 1.0
    ) -> "Asking":
        """The cheapest of the models at the least tokens, the dearest at the most; `most` are the calls that one case can come to."""
        asked, said = call.input_tokens, call.output_tokens
        usd = Between(
            low=min(model.usd(asked.low, said.low) for model in models),
            likely=sum(share * model.usd(asked.likely, said.likely) for model, share in likely),
            high=max(model.usd(asked.high, said.high) for model in models),
        )
        dearest = most * max(model.usd(call.largest, call.limit) for model in models)
        return cls(tuple(models), calls, asked * calls, said * calls, usd * calls, dearest)


def judging(experiment: Experiment, settings: PipelineSettings, answer: Call, passages: tuple[float, float]) -> list[Asking]:
    """What the judges of one case take; nothing where no chat model judges. `passages`: how many are likely, how many at most."""
    metrics = [name.partition("@")[0] for name in experiment.metrics]
    asking = [name for name in metrics if getattr(METRICS.load(name), "needs_judge", False)]
    spec = judge_spec(experiment.judge) if experiment.judge else None
    if not asking or spec is None or spec.name != "llm":
        return []
    params = LlmJudge.Params.model_validate(spec.params)
    judge = Priced.of(params.model, settings)
    own = [name for name in asking if name.startswith("judge_")]
    each = sum(passages[0] if name in PER_PASSAGE else 1.0 for name in own) * params.repeats
    most = sum(passages[1] if name in PER_PASSAGE else 1.0 for name in own) * params.repeats
    library = LIBRARY_CALLS * (len(asking) - len(own))
    tokens = Between(low=TASK_TOKENS, likely=TASK_TOKENS, high=TASK_TOKENS)
    judged = Call(
        input_tokens=tokens + answer.input_tokens * Between(low=0, likely=1, high=1) + answer.output_tokens,
        output_tokens=Between(low=VERDICT_TOKENS[0], likely=VERDICT_TOKENS[1], high=params.max_tokens),
        largest=2 * TASK_TOKENS + answer.largest + answer.limit + params.max_tokens,
        limit=params.max_tokens,
    )
    return [Asking.of(judged, [judge], [(judge, 1.0)], calls=each + library, most=(most + library) * (params.retries + 1))]
