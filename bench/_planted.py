"""Evaluations with a planted truth: scores of two configurations whose true difference is known, for the benches of verdicts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.golden.case import Case
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from serving.pipeline.types import Answer, Query, Trace, Usage

METRIC = "quality"
Numbers = Any  # an array of floats


@dataclass(frozen=True, slots=True)
class World:
    """Where scores come from: the incumbent's, and those of a configuration that is better or worse by so much."""

    name: str
    about: str
    before: Callable[[np.random.Generator, int], Numbers]
    after: Callable[[np.random.Generator, Numbers, float, Numbers], Numbers]  # (rng, before, gain, a chance of each case's document)


def _redrawn(draw: Callable[[np.random.Generator, int], Numbers], mean: float) -> Callable[..., Numbers]:
    """A configuration that answers some cases again, and those a little better or worse, so that the mean moves by the gain."""

    def after(rng: np.random.Generator, before: Numbers, gain: float, chance: Numbers) -> Numbers:
        share = min(1.0, max(0.2, 1.3 * abs(gain) / min(mean, 1 - mean)))
        fresh = draw(rng, len(before))
        if gain < 0:
            fresh = fresh * (rng.random(len(before)) < 1 + gain / share / mean)
        elif gain > 0:
            fresh = np.where(rng.random(len(before)) < gain / share / (1 - mean), 1.0, fresh)
        return np.where(chance < share, fresh, before)

    return after


def _rarely_lost(rng: np.random.Generator, before: Numbers, gain: float, chance: Numbers) -> Numbers:
    """A little is gained nearly everywhere, and a few cases are lost whole: the kind of loss that few cases do not show."""
    little = 0.02
    if gain > 0:
        return np.where(chance < gain / 0.12, np.minimum(1.0, before + 0.12), before)
    return np.where(chance < (little - gain) / (0.85 + little), 0.0, before + little)


def _binary(rng: np.random.Generator, count: int) -> Numbers:
    return (rng.random(count) < 0.7).astype(float)


def _skewed(rng: np.random.Generator, count: int) -> Numbers:
    return 0.8 + 0.1 * rng.beta(2, 2, count)  # 0.85 on average


def _citations(rng: np.random.Generator, count: int) -> Numbers:
    return rng.choice([0.0, 1 / 3, 0.5, 2 / 3, 1.0], size=count, p=[0.12, 0.08, 0.12, 0.08, 0.6])  # 0.74 on average


WORLDS = (
    World("binary", "0 or 1, 0.7 right; a fifth of the answers or more is drawn anew", _binary, _redrawn(_binary, 0.7)),
    World("skewed", "0.85 ± 0.02; a little more nearly everywhere, a few cases lost whole", _skewed, _rarely_lost),
    World("citations", "0, ⅓, ½, ⅔ or 1, 0.74 on average; a fifth or more drawn anew", _citations, _redrawn(_citations, 0.74)),
)


@dataclass(frozen=True, slots=True)
class Planted:
    """Scores of the incumbent and of others on the same cases, and the document of each case."""

    before: Numbers
    after: tuple[Numbers, ...]
    documents: Numbers  # numbers


def plant(rng: np.random.Generator, world: World, count: int, gains: tuple[float, ...], *, clustered: bool) -> Planted:
    """One draw; `clustered`: three cases a document on average, and a document's cases change together."""
    documents = np.arange(count)
    if clustered:
        sizes = rng.geometric(1 / 3, count)
        documents = np.repeat(np.arange(count), sizes)[:count]
    before = world.before(rng, count)
    after = tuple(world.after(rng, before, gain, rng.random(count)[documents]) for gain in gains)
    return Planted(before, after, documents)


def reports(planted: Planted, dollars: tuple[float, ...]) -> list[EvalReport]:
    """The same as evaluations, the incumbent's first, with what a query costs."""
    cases = [_case(place, int(document)) for place, document in enumerate(planted.documents)]
    return [
        _report(cases, values, usd, f"c{place}")
        for place, (values, usd) in enumerate(zip((planted.before, *planted.after), dollars, strict=True))
    ]


_TRACES: dict[float, Trace] = {}
_CASES: dict[tuple[int, int], Case] = {}


def _case(place: int, document: int) -> Case:
    key = (place, document)
    if key not in _CASES:
        _CASES[key] = Case(id=f"c{place}", question="q", answers=("a",), relevant_ids=(f"d{document}",))
    return _CASES[key]


def _report(cases: list[Case], values: Numbers, usd: float, config: str) -> EvalReport:
    if usd not in _TRACES:
        _TRACES[usd] = Trace("t", Query("q"), "c", "i", answer=Answer("a"), usage=(Usage("m", usd=usd),), milliseconds=100.0)
    trace = _TRACES[usd]
    rows = tuple(CaseResult(case, (Score(METRIC, value),), trace) for case, value in zip(cases, values.tolist(), strict=True))
    return EvalReport(Header({}, config, "i", "k", "g/v1", "g", "holdout", "s", (METRIC,)), rows)
