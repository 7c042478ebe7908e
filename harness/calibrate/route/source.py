"""Labelled decisions of a router: on which questions the cheap tier may answer, from what both tiers made of them."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.calibrate.labelled import ARTEFACT, DecisionTerms, LabelledDecision, LabelledDecisions
from harness.calibrate.route.curve import oracle_share, routing_curve
from harness.calibrate.route.fit import fit, predict
from harness.calibrate.route.outcomes import METRIC, Outcome, Outcomes, read_outcomes
from harness.calibrate.route.training import Training, training_of
from harness.calibrate.source import SourceRequest
from harness.calibrate.split import fit_split
from harness.settings import HarnessSettings
from harness.stats import compare_paired
from harness.stats.clusters import Numbers
from serving.pipeline.artefacts import keep_artefact
from serving.pipeline.config import IndexConfig
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec
from serving.pipeline.route import ROUTERS
from serving.pipeline.route.gain import FittedGain
from serving.pipeline.route.signals import SIGNALS_VERSION
from serving.pipeline.route.tiers import TierParams, dear_domain

LITTLE = 0.01  # of quality: tiers that differ less are no choice worth a router


class RouterSource:
    """Two evaluations of one golden set, each by one tier alone, or files of outcomes; fits on one part, gives the other."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which model, what it is judged by, and which questions the dear tier answers anyway."""

        model: Literal["logistic", "tfidf", "knn", "stacked"] = Field(default="stacked", description="the router that is fitted")
        metric: str = Field(default=METRIC, description="a metric from 0 to 1 that both evaluations have; what is lost is lost of it")
        fit_share: float = Field(default=0.5, gt=0.0, lt=1.0, description="share of the questions that is fitted on; the rest calibrates")
        dear_domains: tuple[str, ...] = Field(default=("legal",), description="domains that the dear tier always answers")
        embedder: str = Field(default="local:minilm", description="for files of outcomes; evaluations name theirs")
        tiers: tuple[str, ...] = Field(default=(), description="cheap and dear tier by name; evaluations name theirs")

    def __init__(self, params: Params, settings: HarnessSettings) -> None:
        if params.tiers and len(params.tiers) != 2:
            raise ConfigError(f"tiers: the cheap tier and the dear one are named, not {', '.join(params.tiers)}. Calibrate step by step.")
        self._params = params
        self._settings = settings

    async def decisions(self, request: SourceRequest) -> LabelledDecisions:
        """Every question of the calibration part with its score: minus what the dear tier is expected to gain."""
        params = self._params
        outcomes = read_outcomes(request.files, params.metric)
        tiers = params.tiers or outcomes.tiers
        embedder = _embedder(outcomes, params.embedder)
        training = training_of(outcomes, embedder.name, lambda texts: self._embed(embedder, texts))
        if request.fitted is not None:
            kept: list[int] = list(range(len(training)))
            gain, fit_count, notes = FittedGain.model_validate(dict(request.fitted)), 0, list(outcomes.notes)
        else:
            times = [row.at for row in outcomes.rows]
            sides = fit_split(training.groups, times if all(times) else (), fit_share=params.fit_share)
            if not sides.calibration:
                raise DataError("No questions are left to calibrate on. Lower fit_share, or add cases.")
            request.progress("questions fitted on", 0, len(sides.fit))
            gain, fit_count, kept = fit(params.model, training.take(sides.fit)), len(sides.fit), list(sides.calibration)
            notes = [*outcomes.notes, *_notes(tiers, training, gain, sides.fit)]
            digest = keep_artefact(self._settings.artefact_folder, gain.model_dump(mode="json"))
            notes.append(f"The model without a threshold is the artefact {digest}: for a sweep over route.router.threshold.")
        part = training.take(kept)
        scores = np.clip(predict(gain.model, part), -1.0, 1.0).round(4)
        lengths = np.array([float(len(text)) for text in part.texts])
        notes.append(_order_text(scores, lengths, part.gains, tiers))
        rules = TierParams(dear_domains=params.dear_domains)
        rows = [outcomes.rows[place] for place in kept]
        prices = _saving(outcomes.rows)
        return LabelledDecisions(
            stage="router",
            examples=tuple(
                _decision(row, group, -float(score), prices, ruled=dear_domain(rules, row.hits) is not None)
                for row, group, score in zip(rows, part.groups, scores, strict=True)
            ),
            scorer=f"{gain.model.kind} {ROUTERS.load(gain.model.kind).version} signals {SIGNALS_VERSION}",
            data={
                f"{path.parent.name}/{path.name}": sha256_file(path)
                for path in request.files  # every evaluation's is cases.jsonl
            },
            low=-1.0,
            high=1.0,
            kind="per_decision",
            wording=DecisionTerms("questions", f"questions that {tiers[0]} answers", f"{params.metric} lost", "cost saved"),
            fitted=gain.model_dump(mode="json"),
            fit_count=fit_count,
            config={
                "route.router.name": gain.model.kind,
                "route.router.tiers": list(tiers),
                "route.router.dear_domains": list(params.dear_domains),
                "route.router.calibrated": ARTEFACT,
            },
            baselines={"question length": [-float(len(row.question)) for row in rows], "chance": _chance(len(rows))},
            notes=tuple(notes),
        )

    def _embed(self, embedder: Spec, texts: Sequence[str]) -> Vectors:
        model = connect_embeddings(embedder, self._settings)
        return unit([model.embed_query(text) for text in texts], len(texts))


def _decision(row: Outcome, group: str, score: float, saving: bool, *, ruled: bool) -> LabelledDecision:
    """What the cheap tier's answer loses and saves; nothing where a rule sends the question to the dear tier anyway."""
    saved = 1.0
    if saving and row.dear_usd:
        saved = max(0.0, 1.0 - (row.cheap_usd or 0.0) / row.dear_usd)
    return LabelledDecision(row.id, score, 0.0 if ruled else row.gain, 0.0 if ruled else saved, group, row.at)


def _saving(rows: Sequence[Outcome]) -> bool:
    """Whether every question's cost is known, so that savings are of money and not of questions."""
    return all(row.cheap_usd is not None and row.dear_usd for row in rows)


def _embedder(outcomes: Outcomes, named: str) -> Spec:
    config = outcomes.config.get("index")
    return IndexConfig.model_validate(config).embedder if config else Spec(name=named)


def _chance(count: int) -> list[float]:
    chance: list[float] = np.random.default_rng(0).random(count).tolist()
    return chance


def _order_text(expected: Numbers, lengths: Numbers, gains: Numbers, tiers: Sequence[str]) -> str:
    """RouteLLM's measures of the order in which questions are given to the dear tier, beside that of their length."""
    own, by_length = routing_curve(expected, gains), routing_curve(lengths, gains)
    length = max(by_length.average_recovered, routing_curve(-lengths, gains).average_recovered)
    calls = f"CPT(50) {own.calls_for(0.5):.0%}, CPT(80) {own.calls_for(0.8):.0%}"
    best = f"who knew both answers would give {oracle_share(gains):.0%} to {tiers[0]}"
    return f"APGR {own.average_recovered:.3f} (question length {length:.3f}, chance .5), {calls}; {best}."


def _notes(tiers: Sequence[str], training: Training, gain: FittedGain, fitted: Sequence[int]) -> list[str]:
    """What the tiers are worth beside each other, and what the model learned of it."""
    cheap, dear = tiers
    gained = compare_paired(training.cheap.tolist(), training.dear.tolist(), training.groups)
    interval = f"{gained.low:+.3f} to {gained.high:+.3f}"
    notes = [f"{dear} gains {gained.difference:+.3f} ({interval}) over {cheap} on {len(training)} questions."]
    if gained.low <= LITTLE:
        notes.append(f"{dear} is not seen to be better by more than {LITTLE:g}: choosing at random may save as much as a router does.")
    expected = predict(gain.model, training.take(fitted))
    if float(np.std(expected)) < 1e-3:
        notes.append("The model found no sign by which questions differ: it expects the same gain of all of them.")
    return notes
