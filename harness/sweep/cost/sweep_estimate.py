"""What a sweep will cost, before its first call: tokens, dollars and time, from a few questions taken through retrieval.

Nothing that is kept is subtracted: what the stage store has is free, so every figure is an "at most" of its kind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.golden.sets import GoldenSet
from harness.sweep.cost.calls import ONE, Call, CallCost, PricedModel, judge_call_costs
from harness.sweep.cost.estimate import Estimate, total
from harness.sweep.cost.probe import CASES, Probe, index_tokens, probe
from harness.sweep.experiment import Experiment
from harness.sweep.space.bounds import SpaceBounds, hosted
from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.prices import price
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.base import Billed
from serving.pipeline.settings import PipelineSettings

# Assumptions, each told where it was used.
SHARES = (0.05, 0.25, 1.0)  # of max_tokens, as the length of an answer: low, likely, high
CALL_S = (0.5, 2.0, 6.0)  # of a call to a hosted model
SLOWER = 1.5  # than the base's: the slowest mean of a search
BYTES_PER_TOKEN = 2  # at the very least, in every script: English has about four
DOLLARS = {"cost.usd", "usd"}  # numbers that no answer has whose price is not known
FRAME_TOKENS = 50  # roles and separators around a prompt


class SweepEstimate(BaseModel):
    """What a sweep will cost at most, as far as it can be known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int  # still to be run
    finalists: int  # configurations proven on the holdout, the incumbent among them
    cases: Estimate  # scored, of both splits
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


@dataclass(frozen=True)
class SweepEstimator:
    """Adds up what a probe has found over all trials that an experiment may come to."""

    experiment: Experiment
    factory: PipelineFactory
    golden: GoldenSet
    firsts: tuple[RagConfig, ...]  # the base, and the champion where there is one
    finished: int = 0  # trials that an earlier process has scored

    async def estimate(self) -> SweepEstimate:
        """The whole sweep's price."""
        asked = self.golden.tune().head(self.experiment.cases).cases
        if not asked:
            raise DataError(f"The tune split of {self.golden.id} has no cases; a set this small cannot be split.")
        found = await probe(self.factory, self.firsts[0], asked[:CASES])
        reach = SpaceBounds(self.experiment, self.firsts)
        return _Sum(self.experiment, self.factory, self.golden.cases, reach, found, asked, self._held_out, self.finished).whole()

    @property
    def _held_out(self) -> int:
        return sum(self.golden.split_of(case) == "holdout" for case in self.golden.cases)


@dataclass(frozen=True)
class _Sum:
    experiment: Experiment
    factory: PipelineFactory
    every: Sequence[Case]
    reach: SpaceBounds
    probe: Probe
    asked: Sequence[Case]
    held_out: int
    finished: int

    def whole(self) -> SweepEstimate:
        experiment, reach = self.experiment, self.reach
        trials = max(0, max(experiment.trials, len(reach.firsts)) - self.finished)  # the base and the champion always run
        finalists = len(reach.firsts) + experiment.finalists
        cases, call = self._cases(trials), self._call()
        answering, judges = self._answering(call), judge_call_costs(experiment, self.factory.settings, call, self._passages)
        each = [answering, *judges]
        one_usd = total([*(one.usd for one in each), self._question_usd(), self._rerank_usd()])
        paid = [spec for spec in reach.embedders if hosted(spec)]
        index_usd, indexes = self._index_usd(paid), Estimate(low=1, likely=max(1, reach.indexes // 2), high=reach.indexes)
        case_usd = sum(one.dearest_usd for one in each) + self._question_usd().high * BYTES_PER_TOKEN + self._rerank_usd().high
        names, unpriced = self._names(judges), self._unpriced(each)
        self._refuse_unpriced(self._unpriced([answering]))
        return SweepEstimate(
            trials=trials,
            finalists=finalists,
            cases=cases,
            indexes=reach.indexes,
            input_tokens=cases * total(one.input_tokens for one in each),
            output_tokens=cases * total(one.output_tokens for one in each),
            usd=cases * one_usd + (indexes * index_usd if trials else Estimate()),
            seconds=self._seconds(cases, any(hosted(spec) for spec in reach.chats), judges),
            case_usd=case_usd,
            index_usd=index_usd.high * BYTES_PER_TOKEN,
            # a block is sent only where its dearest price is left, so that much must be left for the last one
            proof_usd=finalists * self.held_out * one_usd.high + min(experiment.block, self.held_out) * case_usd,
            simulated=any(one.simulated for one in answering.models),
            hosted=names,
            unpriced=unpriced,
            assumed=self._assumed(names),
        )

    def _cases(self, trials: int) -> Estimate:
        """How many cases are scored: with every trial given up at its first look, and with none."""
        rules, block, count = self.experiment.pruner, self.experiment.block, len(self.asked)
        firsts = max(0, min(trials, len(self.reach.firsts) - self.finished))
        first_look = count if rules.name == "none" else min(count, math.ceil(rules.startup / block) * block)
        proof = (len(self.reach.firsts), len(self.reach.firsts) + min(trials + self.finished, self.experiment.finalists))
        most = trials * count + proof[1] * self.held_out
        return Estimate(low=firsts * count + (trials - firsts) * first_look + proof[0] * self.held_out, likely=most, high=most)

    def _answering(self, call: Call) -> CallCost:
        """One answer, by whichever model."""
        settings, shares = self.factory.settings, self.probe.tier_shares
        models = [PricedModel.of(spec, settings) for spec in self.reach.chats]
        tiers = self.reach.firsts[0].answer.models
        return CallCost.of(call, models, [(PricedModel.of(spec, settings), shares[tier]) for tier, spec in tiers.items()], calls=ONE)

    def _call(self) -> Call:
        """The call that answers, over all that the space can reach."""
        probe, reach, base = self.probe, self.reach, self.reach.firsts[0].answer
        templates = [estimate_tokens(text) for text in reach.prompts(self.factory.prompts)]
        frame = probe.prompt_tokens - probe.passage_tokens
        question = sum(estimate_tokens(case.question) for case in self.every) / len(self.every)
        own = estimate_tokens(self.factory.prompts.get(base.prompt.name, base.prompt.version).text)
        factors = reach.passages()
        room = reach.context_tokens
        most = room if factors is None or probe.full else min(probe.passage_tokens * factors[1], room)
        texts = max(frame - own, question) + max(most, probe.passage_tokens)
        least = probe.passage_tokens * min(1.0, factors[0] if factors else 0.5)
        asked = Estimate(
            low=max(0.0, frame - own + min(templates)) + least,
            likely=probe.prompt_tokens,
            high=max(templates) + texts * self._bytes_per_character,
        )
        limits = reach.max_tokens
        said = Estimate(low=SHARES[0] * limits[0], likely=SHARES[1] * base.max_tokens, high=SHARES[2] * limits[1])
        if probe.answer_tokens is not None:
            said = Estimate(low=min(probe.answer_tokens, said.low), likely=probe.answer_tokens, high=said.high)
        characters = 4 * max(templates) + max(len(case.question) for case in self.every) + 4 * room
        largest = characters * self._bytes_per_character / BYTES_PER_TOKEN + FRAME_TOKENS
        return Call(asked, said, largest, limits[1])

    @property
    def _passages(self) -> Estimate:
        found = max(1.0, self.probe.passages)
        return Estimate(low=1, likely=found, high=max(found, self.reach.hits))

    @cached_property
    def _bytes_per_character(self) -> float:
        """Of the text that has most; 1 in English, 3 in Chinese, which has as many more tokens than are counted by the character."""
        texts = [*(one.text for one in self.factory.corpus.documents), *(case.question for case in self.every)]
        return max((len(text.encode("utf-8", "replace")) / len(text) for text in texts if text), default=1.0)

    def _question_usd(self) -> Estimate:
        """What the vector of a question costs."""
        tokens = [estimate_tokens(case.question) for case in self.every]
        prices = [self._embedding(spec, 1.0) for spec in self.reach.embedders]
        most = max(tokens) * self._bytes_per_character
        return Estimate(low=min(prices) * min(tokens), likely=prices[0] * sum(tokens) / len(tokens), high=max(prices) * most)

    def _rerank_usd(self) -> Estimate:
        candidates = max(self.reach.values("retrieve.candidates") + self.reach.values("retrieve.top_k"))
        prices = [_reranking(spec, self.factory.settings, candidates)[0] for spec in self.reach.rerankers]
        return Estimate(low=min(prices), likely=prices[0], high=max(prices))

    def _index_usd(self, paid: Sequence[Spec]) -> Estimate:
        """What the vectors of one index cost; the corpus is cut as each end of the space cuts it, and embedded by each model."""
        if not paid:
            return Estimate()
        contexts = self.reach.values("index.context")
        tokens = [index_tokens(self.factory.corpus, spec, contexts) for spec in self.reach.chunkers]
        prices = [self._embedding(spec, 1.0) for spec in self.reach.embedders]
        every = [count for counts in tokens for count in counts.values()]
        most = max(every) * self._bytes_per_character
        return Estimate(low=min(prices) * min(every), likely=prices[0] * tokens[0][contexts[0]], high=max(prices) * most)

    def _embedding(self, spec: Spec, tokens: float) -> float:
        if not hosted(spec):
            return 0.0
        source = EMBEDDINGS.build(spec, name=spec.name, settings=self.factory.settings)
        return (price(source.price_model, 1_000_000, 0) or 0.0) * tokens / 1_000_000

    def _seconds(self, cases: Estimate, asks: bool, judges: Sequence[CallCost]) -> Estimate:
        """Here as long as the probe took; elsewhere as long as calls are assumed to take, or as the provider's limits make them."""
        experiment, settings = self.experiment, self.factory.settings
        workers = experiment.engine.at_once
        here = Estimate(low=1, likely=1, high=SLOWER) * (self.probe.ms / 1000 / workers)
        calls = total([*([ONE] if asks else []), *(one.calls for one in judges)])
        lanes = workers * min(experiment.concurrency, settings.model_concurrency)
        pause = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
        low, likely, high = (max(seconds / lanes, pause) for seconds in CALL_S)
        build = self.probe.index_seconds
        return cases * (here + calls * Estimate(low=low, likely=likely, high=high)) + Estimate(
            likely=build * (self.reach.indexes // 2), high=build * max(0, self.reach.indexes - 1)
        )

    def _names(self, judges: Sequence[CallCost]) -> tuple[str, ...]:
        """Every hosted model."""
        models = [spec.name for spec in (*self.reach.chats, *self.reach.embedders) if hosted(spec)]
        models += [_reranking(spec, self.factory.settings, 1)[1] for spec in self.reach.rerankers]
        models += [model.name for one in judges for model in one.models if hosted(Spec(name=model.name))]
        return tuple(dict.fromkeys(name for name in models if name))

    def _unpriced(self, each: Sequence[CallCost]) -> tuple[str, ...]:
        """The models whose price nobody knows."""
        settings = self.factory.settings
        names = [model.name for one in each for model in one.models if not model.known]
        embedders = [
            (spec.name, EMBEDDINGS.build(spec, name=spec.name, settings=settings)) for spec in self.reach.embedders if hosted(spec)
        ]
        names += [name for name, source in embedders if price(source.price_model, 1, 0) is None]
        names += [name for spec in self.reach.rerankers for _, name, known in [_reranking(spec, settings, 1)] if not known]
        return tuple(dict.fromkeys(names))

    def _refuse_unpriced(self, names: Sequence[str]) -> None:
        """A `ConfigError` where dollars decide, and an answer's are not known: such a trial would have no value."""
        for role, numbers in (("objective", self.experiment.objective), ("constraint", self.experiment.constraints)):
            for number in DOLLARS.intersection(numbers) if names else ():
                raise ConfigError(
                    f"The {role} {number!r} has no value where the price of {', '.join(names)} is not known. "
                    f"Take the {role} out, or choose models with a known price."
                )

    def _assumed(self, names: Sequence[str]) -> tuple[str, ...]:
        told = [f"an answer of {SHARES[0]:.0%} to {SHARES[2]:.0%} of max_tokens"] if self.probe.answer_tokens is None else []
        return (*told, *([f"{CALL_S[0]:g} to {CALL_S[2]:g} s a hosted call"] if names else []))


def _reranking(spec: Spec, settings: PipelineSettings, passages: int) -> tuple[float, str, bool]:
    """Dollars of reranking so many passages, by whom where it is paid for, and whether the price is known."""
    if not issubclass(RERANKERS.load(spec.name), Billed):
        return 0.0, "", True
    reranker = RERANKERS.build(spec, parts=Parts(settings))
    assert isinstance(reranker, Billed)
    use = reranker.usage([None] * passages)  # type: ignore[list-item]  # only how many there are counts
    return use.usd, use.model, use.priced
