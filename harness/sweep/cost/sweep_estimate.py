"""What a sweep will cost, before its first call: tokens, dollars and time, from a sample of its configurations.

Nothing is subtracted for what the stage store has already: that is free, so every figure is an "at most" of its kind.
"""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from harness.evaluation.factory import PipelineFactory
from harness.golden.sets import GoldenSet
from harness.sweep.cost.calls import ModelPrice, judged_metrics
from harness.sweep.cost.case_cost import SHARES, CasePrices, reranking_usage
from harness.sweep.cost.estimate import Estimate, spread
from harness.sweep.cost.probe import CASES, probe
from harness.sweep.cost.timed import timed_answers, timed_cases
from harness.sweep.experiment import Experiment
from harness.sweep.space.bounds import SpaceModels, answer_models, dearest, hosted, sample
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, PromptError
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.prices import price_list
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

# Assumptions; each that was used is named in `assumed`.
CALL_S = (0.5, 2.0, 6.0)  # of a call to a hosted model: low, likely, high
SLOWER = 1.5  # than the base's: the slowest mean of a search
CUT_CHARACTERS = 200_000  # of the corpus, cut by each recipe of the sample
DOLLARS = {"cost.usd", "usd"}  # numbers that no answer has whose price is not known


class SweepEstimate(BaseModel):
    """What a sweep will cost at most, as far as it can be known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int  # still to be run
    finalists: int  # configurations proven on the holdout, the incumbent among them
    cases: Estimate  # scored, of both splits
    timed: int = 0  # answers computed for the finalists' times alone
    indexes: int  # different ones, at most
    input_tokens: Estimate
    output_tokens: Estimate
    usd: Estimate
    seconds: Estimate
    case_usd: float  # the most that one case may cost
    index_usd: float  # the most that one index may cost
    proof_usd: float  # what is kept for the proof on the holdout
    simulated: bool = False  # the money is that of models stood in for
    hosted: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    prices: str = ""  # which ones: sources, date and digest


async def estimate_sweep(
    experiment: Experiment, factory: PipelineFactory, golden: GoldenSet, starts: Sequence[RagConfig], finished: int = 0
) -> SweepEstimate:
    """The price of what is still to do; `starts` are the base and the champion, `finished` counts the trials that are paid for."""
    settings, tune = factory.settings, golden.tune().head(experiment.cases).cases
    if not tune:
        raise DataError(f"The tune split of {golden.id} has no cases; a set this small cannot be split.")
    configs = [config for config in sample(experiment, starts) if _has_prompt(config, experiment, factory)]
    names = SpaceModels.of(experiment, starts)
    specs = {spec.name: spec for config in configs for spec in answer_models(config).values()}
    chats = [ModelPrice.of(specs.get(name) or Spec(name=name), settings) for name in names.chats]
    _refuse_unpriced(experiment, [model.name for model in chats if not model.known])
    known = _known_prices(experiment, settings, chats, names.embedders, configs)

    probed = await probe(factory, starts[0], tune[:CASES])
    prices = CasePrices(experiment, factory, golden, probed)
    costs = [prices.case(config) for config in [*configs, dearest(configs, experiment, prices.case_usd)]]
    case_usd = spread([cost.usd for cost in costs])
    step = max(1, sum(len(one.text) for one in factory.corpus.documents) // CUT_CHARACTERS)
    index_usd = [prices.index_usd(config, step) for config in configs]

    trials, finalists = max(0, max(experiment.trials, len(starts)) - finished), len(starts) + experiment.finalists
    held_out = sum(golden.split_of(case) == "holdout" for case in golden.cases)
    cases = _cases(experiment, len(tune), held_out, len(starts), finished)
    timed = timed_answers(timed_cases(experiment, configs, len(golden.tune().cases)), finalists)
    answers = cases + Estimate(likely=timed, high=timed)
    indexes = _indexes(experiment, configs)
    built = Estimate(low=1, likely=max(1, indexes // 2), high=indexes) if trials else Estimate()
    return SweepEstimate(
        trials=trials,
        finalists=finalists,
        cases=cases,
        timed=timed,
        indexes=indexes,
        input_tokens=answers * spread([cost.input_tokens for cost in costs]),
        output_tokens=answers * spread([cost.output_tokens for cost in costs]),
        usd=answers * case_usd + built * Estimate(low=min(index_usd), likely=index_usd[0], high=max(index_usd)),
        seconds=cases * _case_seconds(experiment, settings, probed.ms, spread([cost.hosted_calls for cost in costs]))
        + _timed_seconds(timed, probed.ms, spread([cost.hosted_calls for cost in costs]))
        + Estimate(likely=indexes // 2, high=max(0, indexes - 1)) * probed.index_seconds,
        case_usd=case_usd.bound,
        index_usd=max(index_usd),
        # a block is sent only where its bound is left, so that much must be left for the last one
        proof_usd=finalists * held_out * case_usd.high
        + min(experiment.block, held_out) * case_usd.bound
        + (timed * case_usd.bound if experiment.timing_cases else 0.0),
        simulated=any(model.simulated for model in chats),
        hosted=(hosted_names := tuple(filter(hosted, known))),
        unpriced=tuple(name for name, priced in known.items() if not priced),
        prices=price_list(settings).label,
        assumed=(
            *([f"an answer of {SHARES[0]:.0%} to {SHARES[2]:.0%} of max_tokens"] if probed.answer_tokens is None else []),
            *([f"{CALL_S[0]:g} to {CALL_S[2]:g} s a hosted call"] if hosted_names else []),
        ),
    )


def _has_prompt(config: RagConfig, experiment: Experiment, factory: PipelineFactory) -> bool:
    """Whether its prompt is there; a `PromptError` where it is not, and no condition of the space may have been meant to avoid it."""
    try:
        return bool(factory.prompts.texts(config.answer.prompt))
    except PromptError:
        if any(knob.range.when for knob in experiment.knobs if knob.target.startswith("answer.prompt.")):
            return False
        raise


def _cases(experiment: Experiment, tune: int, held_out: int, starts: int, finished: int) -> Estimate:
    """How many cases are scored: with every trial given up at its first look, and with none; the base and the champion always run."""
    trials, rules, block = max(0, max(experiment.trials, starts) - finished), experiment.pruner, experiment.block
    whole = max(0, min(trials, starts - finished))
    first_look = tune if rules.name == "none" else min(tune, math.ceil(rules.startup / block) * block)
    most = trials * tune + (starts + min(trials + finished, experiment.finalists)) * held_out
    return Estimate(low=whole * tune + (trials - whole) * first_look + starts * held_out, likely=most, high=most)


def _indexes(experiment: Experiment, configs: Sequence[RagConfig]) -> int:
    """How many different indexes the trials may come to: as many as the sample has, or more where there are more trials than that."""
    found = len({config.digest("index") for config in configs})
    return min(experiment.trials, math.ceil(found * max(1.0, experiment.trials / len(configs))))


def _known_prices(
    experiment: Experiment, settings: PipelineSettings, chats: Sequence[ModelPrice], embedders: Sequence[str], configs: Sequence[RagConfig]
) -> dict[str, bool]:
    """Every model that may be asked, and whether its price is known: those that answer, embed, rerank and judge."""
    known = {model.name: model.known for model in chats}
    for name in filter(hosted, embedders):
        source = EMBEDDINGS.build(Spec(name=name), name=name, settings=settings)
        known[name] = price_list(settings).tokens(source.price_model, 1, 0) is not None
    known |= {use.model: use.priced for config in configs if (use := reranking_usage(config, settings))}
    return known | {metric.model.name: metric.model.known for metric in judged_metrics(experiment, settings)}


def _refuse_unpriced(experiment: Experiment, names: Sequence[str]) -> None:
    """A `ConfigError` where dollars decide, and an answer's are not known: such a trial would have no value."""
    for role, numbers in (("objective", experiment.objective), ("constraint", experiment.constraints)):
        for number in DOLLARS.intersection(numbers) if names else ():
            raise ConfigError(
                f"The {role} {number!r} has no value where the price of {', '.join(names)} is not known. "
                f"Take the {role} out, or choose models with a known price."
            )


def _timed_seconds(answers: int, ms: float, calls: Estimate) -> Estimate:
    """One answer after the other, in this process."""
    low, likely, high = CALL_S
    one = Estimate(low=1, likely=1, high=SLOWER) * (ms / 1000) + calls * Estimate(low=low, likely=likely, high=high)
    return Estimate(likely=answers, high=answers) * one


def _case_seconds(experiment: Experiment, settings: PipelineSettings, ms: float, calls: Estimate) -> Estimate:
    """Here as long as the probe took; elsewhere as long as calls are assumed to take, or as the provider's limits make them."""
    workers = experiment.engine.worker_count
    lanes = workers * min(experiment.concurrency, settings.model_concurrency)
    pause = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
    low, likely, high = (max(seconds / lanes, pause) for seconds in CALL_S)
    return Estimate(low=1, likely=1, high=SLOWER) * (ms / 1000 / workers) + calls * Estimate(low=low, likely=likely, high=high)
