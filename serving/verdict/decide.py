"""The verdict on a candidate: every measure's interval held against its margin, and one word and sentence of all."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from serving.release.channel import Mode
from serving.verdict.bounds import (
    Numbers,
    Observations,
    drawn,
    log_wealth,
    lower_bound,
    more_needed,
    paired,
    shares,
    skewed_draws,
    upper_bound,
)
from serving.verdict.callers import DrawnCaller
from serving.verdict.rules import MEASURED, UNASKED, WORDS, MeasureName, VerdictRules

Outcome = Literal["worse", "no worse", "better", "undecided", "not measured"]
Verdict = Literal["worse", "no worse", "better", "undecided"]
PRICED: Final = 50  # callers whose mean cost is the scale of what later ones cost
DEAREST: Final = 4.0  # times that mean: a question that costs more counts as this much
SKEWED: Final = 0.001  # how seldom a draw as it should be is called skewed
FORECAST: Final = 20  # callers from which on their own values tell how many more are needed
UNJUDGED: Final[dict[Mode, str]] = {  # modes that no verdict can be given on, and what to do instead
    "blue-green": "A blue-green candidate is asked nothing, so nothing is known of it. Try it as a canary or a shadow.",
    "interleave": "Interleaved answers have passages of both releases, and are no release's own. Try it as a canary or a shadow.",
}
FEWEST: Final = 5  # callers of each release before any measure is called no worse


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing that was measured of both releases."""

    name: MeasureName
    outcome: Outcome
    margin: float
    reason: str
    candidate: float | None = None  # means over callers; the cost in dollars
    stable: float | None = None
    difference: float | None = None
    low: float | None = None  # the difference is above it, and those of all measures are, at every look
    high: float | None = None  # the difference is below it, at every look
    needed: int = 0  # about how many callers more would decide; 0: none, or nobody can tell


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """Whether a candidate is worse, no worse or better than the stable release, or nobody knows yet."""

    verdict: Verdict
    reason: str
    measures: tuple[Measured, ...] = ()
    callers: int = 0  # whose turn was over
    candidate_callers: int = 0
    questions: int = 0  # of these callers
    candidate_questions: int = 0
    needed: int = 0  # about how many questions more would decide; 0: none, or nobody can tell
    notes: tuple[str, ...] = ()


def decide(
    callers: Sequence[DrawnCaller],
    mode: Mode,
    rules: VerdictRules,
    *,
    weight: float = 0.5,
    notes: Sequence[str] = (),
    unread: Collection[MeasureName] = (),
) -> CandidateVerdict:
    """The verdict by what callers met, in the order of their arrival. It may be asked after every one of them.

    What is there and was not read is undecided: nobody may be called no worse by what was left out.
    The weight is the present one: it tells how many will be needed while nobody has come yet.
    """
    asked = MEASURED[mode]
    measures = tuple(_unread(name, rules) if name in unread else _measure(name, callers, mode, rules, len(asked)) for name in asked)
    measures += tuple(_unmeasured(name, why, rules) for name, why in UNASKED.items() if asked and name not in asked)
    chosen = [caller for caller in callers if caller.chosen]
    questions = sum(len(caller.questions) for caller in callers)
    counted = CandidateVerdict(
        "undecided",
        "",
        measures,
        callers=len(callers),
        candidate_callers=len(chosen),
        questions=questions,
        candidate_questions=sum(len(caller.questions) for caller in chosen),
        notes=tuple(notes),
    )
    worse = [one for one in measures if one.outcome == "worse"]
    if worse:
        return replace(counted, verdict="worse", reason=" ".join(one.reason for one in worse))
    if mode in UNJUDGED:
        return replace(counted, reason=UNJUDGED[mode])
    if mode == "canary" and (skew := _skew(callers)):
        return replace(counted, reason=skew)
    return _agreed(counted, rules) if callers else _nobody_yet(counted, mode, weight, rules)


def _agreed(counted: CandidateVerdict, rules: VerdictRules) -> CandidateVerdict:
    """The verdict where nothing is surely worse."""
    measured = [one for one in counted.measures if one.outcome != "not measured"]
    open_ones = [one for one in measured if one.outcome == "undecided"]
    missing = max(0, rules.at_least - counted.candidate_questions)
    if measured and not open_ones and not missing:
        better = [one for one in measured if one.outcome == "better"]
        reason = " ".join(one.reason for one in better) or f"In {_names(measured)} a loss beyond the margin is ruled out."
        return replace(counted, verdict="better" if better else "no worse", reason=reason)
    each = counted.questions / counted.callers
    share = counted.candidate_questions / counted.questions if counted.candidate_questions else 1.0
    needed = max([math.ceil(max((one.needed for one in open_ones), default=0) * each), math.ceil(missing / share)])
    more = f" About {needed:,} questions more would decide, if they go on alike." if needed else ""
    if not open_ones:
        reason = f"The candidate has answered {counted.candidate_questions} questions that count, of at least {rules.at_least}."
        return replace(counted, needed=needed, reason=reason + more)
    surely = [one.reason for one in open_ones if one.name == "disagreements" and not one.needed]
    return replace(
        counted, needed=needed, reason=" ".join(surely) or f"Not decided by {counted.callers} callers: {_names(open_ones)}.{more}"
    )


def _nobody_yet(counted: CandidateVerdict, mode: Mode, weight: float, rules: VerdictRules) -> CandidateVerdict:
    """No verdict, and how many callers it takes at best: where nothing bad ever happens."""
    reason = f"No caller's turn of {rules.turn_s / 60:g} minutes has been counted yet."
    if mode == "canary" and weight == 1.0:
        return replace(
            counted, reason=f"{reason} At a weight of 100 % nobody is asked of the stable release: there is nothing to compare with."
        )
    none = np.zeros(1)
    best = drawn(none, none > 0.0, none + weight) if mode == "canary" else paired(none)
    margin = min(rules.margins[name] for name in MEASURED[mode] if name not in ("cost", "disagreements"))
    needed = max(1 + (more_needed(best, margin, rules.alpha) or 0), math.ceil(rules.at_least / weight))
    return replace(counted, needed=needed, reason=f"{reason} At least about {needed:,} callers will be needed.")


def _names(measures: Sequence[Measured]) -> str:
    return ", ".join(one.name for one in measures)


def _skew(callers: Sequence[DrawnCaller]) -> str:
    """What is wrong with the draw; empty where nothing is seen."""
    chosen = np.array([caller.chosen for caller in callers], dtype=np.bool_)
    weights = np.array([caller.weight for caller in callers])
    if not callers or skewed_draws(chosen, weights) < math.log(1.0 / SKEWED):
        return ""
    reason = f"The candidate has answered {int(chosen.sum())} of {len(callers)} callers where its weights say about {weights.sum():.0f}"
    return f"{reason}: traces of one release are missing, and nothing can be said by the others."


Known = list[tuple[DrawnCaller, float]]  # callers of whom a measure is known, each with its mean


def _measure(name: MeasureName, callers: Sequence[DrawnCaller], mode: Mode, rules: VerdictRules, count: int) -> Measured:
    """One of so many measures, as far as it is known."""
    known: Known = [(caller, mean) for caller in callers if (mean := caller.mean(name)) is not None]
    if name == "complaints" and known and not any(mean > 0.0 for _, mean in known):
        return _unmeasured(name, "Nobody has complained of an answer, or said anything: silence is no praise.", rules)
    if not known:
        return _unmeasured(name, "Nothing of it is known yet.", rules)
    if name == "cost":
        return _cost(known, mode, rules, count, complete=len(known) == len(callers))
    if name == "disagreements":
        return _disagreements(shares(np.array([min(mean, 1.0) for _, mean in known])), rules.margins[name], rules, count)
    return _difference(name, known, mode, rules, count, margin=rules.margins[name])


def _cost(known: Known, mode: Mode, rules: VerdictRules, count: int, *, complete: bool) -> Measured:
    """What questions cost, on the scale of what those of the first callers did; later callers are compared."""
    if not complete:
        return _unmeasured("cost", "What some questions cost is not known.", rules)
    scale = DEAREST * sum(_cost_of(caller, mean) for caller, mean in known[:PRICED]) / PRICED
    if scale <= 0.0:
        return _unmeasured("cost", "No question is known to have cost anything.", rules)
    margin = rules.margins["cost"]
    if len(known) <= PRICED:
        reason = f"The first {PRICED} callers tell what a question costs; it is compared from then on."
        return Measured("cost", "undecided", margin, reason, needed=PRICED + 1 - len(known))
    return _difference("cost", known[PRICED:], mode, rules, count, margin=margin / DEAREST, scale=scale)


def _difference(
    name: MeasureName, known: Known, mode: Mode, rules: VerdictRules, count: int, *, margin: float, scale: float = 1.0
) -> Measured:
    """The difference between both releases, against its margin; `scale` is what 1 stands for."""
    means = np.array([min(mean / scale, 1.0) for _, mean in known])
    if mode == "canary":
        chosen = np.array([caller.chosen for caller, _ in known], dtype=np.bool_)
        seen = drawn(means, chosen, np.array([caller.weight for caller, _ in known]))
        candidate, stable = _mean(means[chosen]), _mean(means[~chosen])
        fewest = min(int(chosen.sum()), int((~chosen).sum()))
    else:
        shown = np.array([min((caller.mean(name, shown=True) or 0.0) / scale, 1.0) for caller, _ in known])
        seen, candidate, stable, fewest = paired(means - shown), _mean(means), _mean(shown), len(means)
    one = _compared(name, seen, margin, rules.alpha, count, enough=fewest >= FEWEST)
    scaled = replace(
        one,
        candidate=_scaled(candidate, scale),
        stable=_scaled(stable, scale),
        margin=margin * scale,
        difference=_scaled(one.difference, scale),
        low=_scaled(one.low, scale),
        high=_scaled(one.high, scale),
    )
    return replace(scaled, reason=_sentence(scaled))


def _cost_of(caller: DrawnCaller, mean: float) -> float:
    """What a caller's question costs: of a pair, as the stable release answered it."""
    shown = caller.mean("cost", shown=True)
    return mean if shown is None else shown


def _compared(name: MeasureName, seen: Observations, margin: float, alpha: float, count: int, *, enough: bool) -> Measured:
    """A difference against its margin; more of anything measured is a loss."""
    seen = seen.gathered
    low, high = lower_bound(seen, alpha / count), upper_bound(seen, alpha)
    one = Measured(name, "undecided", margin, "", difference=seen.mean, low=low, high=high)
    if low > margin:
        return replace(one, outcome="worse")
    if enough and log_wealth(seen.negated, 0.0) >= math.log(count / alpha):
        return replace(one, outcome="better")
    if enough and high < margin:
        return replace(one, outcome="no worse")
    forecast = seen if seen.count >= FORECAST else _without_events(seen)
    return replace(one, needed=more_needed(forecast, margin, alpha) or more_needed(seen.negated, -margin, alpha / count) or 0)


def _disagreements(seen: Observations, margin: float, rules: VerdictRules, count: int) -> Measured:
    """The share in which both say something else: which of them is right nobody has measured, so that many alone are no loss."""
    seen = seen.gathered
    low, high = lower_bound(seen, rules.alpha / count, 0.0), upper_bound(seen, rules.alpha, 0.0)
    one = Measured("disagreements", "undecided", margin, "", seen.mean, 0.0, seen.mean, low, high)
    if high < margin:
        return replace(one, outcome="no worse", reason=_sentence(one))
    if low > margin:
        reason = f"Both releases say something else in {seen.mean:.1%} of the pairs, surely in more than {margin:.0%}"
        return replace(one, reason=f"{reason}; which of them is right nobody has measured: read the pairs.")
    return replace(one, needed=more_needed(seen, margin, rules.alpha) or 1, reason=_sentence(one))


def _without_events(seen: Observations) -> Observations:
    """As many observations in which nothing was found: what can be said while there are hardly any."""
    return Observations(np.zeros(1), seen.least[-1:], seen.most[-1:], np.array([float(seen.count)]))


def _unmeasured(name: MeasureName, why: str, rules: VerdictRules) -> Measured:
    return Measured(name, "not measured", rules.margins[name], why)


def _unread(name: MeasureName, rules: VerdictRules) -> Measured:
    return Measured(name, "undecided", rules.margins[name], "There is more of it than is read: look at it, then set the candidate anew.")


def _mean(values: Numbers) -> float | None:
    return float(values.mean()) if len(values) else None


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _sentence(one: Measured) -> str:
    """A measure's outcome in a sentence."""
    what = WORDS[one.name]
    low, high, margin = one.low or 0.0, one.high or 0.0, one.margin

    def amount(value: float) -> str:
        return f"${value:.6f}" if one.name == "cost" else f"{100 * value:.1f} points"

    found = f"{what}: {_shown(one.name, one.candidate)} by the candidate, {_shown(one.name, one.stable)} by the stable release"
    found = found[0].upper() + found[1:]
    match one.outcome:
        case "worse":
            return f"{found}; surely more by {amount(low)} at least, beyond the margin of {amount(margin)}."
        case "better":
            return f"{found}; surely fewer." if one.name != "cost" else f"{found}; surely less."
        case "no worse":
            return f"{found}; more by {amount(high)} at most, within the margin of {amount(margin)}."
        case _:
            return f"{found}; the difference is between {amount(low)} and {amount(high)}, the margin {amount(margin)}."


def _shown(name: MeasureName, value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"${value:.6f}" if name == "cost" else f"{value:.1%}"
