"""Choosing a threshold: the most beneficial one whose risk is shown to be below the level, or none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.calibrate.bounds import counted_p_values, labels_needed, least_labels, p_value, p_value_above, upper_bound
from harness.calibrate.exposure import Exposure, columns_of
from harness.calibrate.families import family_notes
from harness.calibrate.labelled import LabelledDecision, RiskLimit, check_decisions, instant
from harness.calibrate.walk import TestedThreshold, WalkStart, starts_for, walk
from harness.progress import TaskProgress, silent
from serving.pipeline.errors import DataError

CURVE_POINTS = 120  # of the report's curve
SLOW_POINTS = 40  # where a bound is no binomial's
DRIFT_ERROR = 0.01  # how often a drift in time is told where there is none


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What one threshold does to the labelled decisions; each group counts once."""

    threshold: float
    actions: int  # decisions that act
    action_rate: float
    risk: float  # as seen
    upper: float  # its bound, of this threshold alone at the stated confidence
    benefit: float  # per decision
    oracle_share: float | None  # of the benefit of one who acts exactly where nothing is lost


@dataclass(frozen=True, slots=True)
class ThresholdCalibration:
    """The chosen threshold with its proof, or the reason why there is none."""

    limit: RiskLimit
    threshold: float | None
    reason: str  # why there is none; empty where there is one
    point: CurvePoint | None  # at the chosen threshold
    bound: float | None  # of its risk, at the error that it was tested with
    tested_at: float | None  # that error
    curve: tuple[CurvePoint, ...]  # from careful to careless
    examples: int
    groups: int
    deciding: int  # groups that the risk is of where it is per decision: of a guard's the harmless texts
    least: int  # labels that act (per action) or decide (per decision), without a loss, that the limit takes at least
    needed: int | None = None  # about so many labels like these in all would give a threshold; None: none would, or there is one
    starts: tuple[WalkStart, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoThreshold:
    """Why there is no threshold, and about how many labels like these would give one."""

    text: str = ""
    needed: int | None = None


def calibrate(
    examples: Sequence[LabelledDecision],
    limit: RiskLimit,
    *,
    grid: Sequence[float] = (),
    starts: Sequence[WalkStart] = (),
    curve_points: int | None = None,
    progress: TaskProgress = silent,
) -> ThresholdCalibration:
    """Choose a threshold from these examples, none of which may have been fitted on.

    Tested are all their scores, or the values of `grid` where it is given. On new data of the same kind the risk of the chosen
    threshold is above the level with a chance of at most 1 − confidence; nothing is assumed of the scores.
    """
    if not examples:
        raise DataError(f"No labelled decisions. {sizes_text(limit)}")
    check_decisions(examples, limit)
    exposure = Exposure(columns_of(examples), limit, grid=grid)
    chosen_starts = tuple(starts) or default_starts(exposure)
    passed = passing(exposure, chosen_starts, progress)
    best = max(passed, key=lambda one: exposure.benefit(one.place), default=None)
    most = curve_points or (CURVE_POINTS if exposure.counted else SLOW_POINTS)
    places = _curve_places(len(exposure.thresholds), most, best)
    curve: dict[int, CurvePoint] = {}
    for place in places:
        curve[place] = curve_point(exposure, place)
        progress("points of the curve", len(curve), len(places))
    why = NoThreshold() if best else _why_none(exposure, places, len(chosen_starts))
    return ThresholdCalibration(
        limit=limit,
        threshold=float(exposure.thresholds[best.place]) if best else None,
        reason=why.text,
        point=curve[best.place] if best else None,
        bound=upper_bound(exposure.sample(best.place), best.tested_at) if best else None,
        tested_at=best.tested_at if best else None,
        curve=tuple(curve.values()),
        examples=len(examples),
        groups=exposure.groups,
        deciding=exposure.deciding,
        least=least_labels(limit.level, limit.error, limit.high),
        needed=why.needed,
        starts=chosen_starts,
        notes=_notes(examples, limit, float(exposure.thresholds[best.place])) if best else (),
    )


def default_starts(exposure: Exposure) -> tuple[WalkStart, ...]:
    """Where the walk begins: for a risk per decision at the top, for one per action at a few sizes."""
    limit = exposure.limit
    if limit.kind == "per_decision":
        return (WalkStart(0.0, limit.error),)
    return starts_for(exposure.groups, limit.level, limit.error, limit.high)


def passing(exposure: Exposure, starts: Sequence[WalkStart], progress: TaskProgress = silent) -> list[TestedThreshold]:
    """The thresholds whose risk is shown to be below the level."""
    limit = exposure.limit
    if exposure.counted:
        counts = exposure.actions if limit.kind == "per_action" else np.full_like(exposure.actions, exposure.deciding)
        chances = counted_p_values(exposure.lost(), counts, limit.level / limit.high)
        return walk(exposure.acting.tolist(), starts, lambda place: float(chances[place]))

    def chance(place: int) -> float:
        progress("thresholds tested", place, len(exposure.thresholds))
        return p_value(exposure.sample(place), limit.level)

    return walk(exposure.acting.tolist(), starts, chance)


def curve_point(exposure: Exposure, place: int) -> CurvePoint:
    """One threshold's point of the curve."""
    sample, benefit = exposure.sample(place), exposure.benefit(place)
    return CurvePoint(
        threshold=float(exposure.thresholds[place]),
        actions=int(exposure.actions[place]),
        action_rate=exposure.action_rate(place),
        risk=sample.risk,
        upper=upper_bound(sample, exposure.limit.error),
        benefit=benefit,
        oracle_share=benefit / exposure.oracle if exposure.oracle > 0.0 else None,
    )


def sizes_text(limit: RiskLimit) -> str:
    """How many labels a limit takes at least, in a sentence."""
    what = "labelled decisions that act" if limit.kind == "per_action" else "labelled decisions"
    least = least_labels(limit.level, limit.error, limit.high)
    return f"{percent(limit.level)} with {percent(limit.confidence)} confidence needs at least {least:,} {what} without an error."


def percent(share: float) -> str:
    """A share in percent, with as many digits as it takes."""
    return f"{100 * share:.3g} %"


def _curve_places(count: int, most: int, best: TestedThreshold | None) -> list[int]:
    places = set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()) if count else set()
    return sorted(places | ({best.place} if best else set()))


def _why_none(exposure: Exposure, places: Sequence[int], starts: int) -> NoThreshold:
    """Why no threshold passed, and about how many labels would let one."""
    limit = exposure.limit
    least = least_labels(limit.level, limit.error, limit.high)
    needed = _labels_in_all(exposure, places, starts)
    most = float(exposure.acting[-1]) if limit.kind == "per_action" and len(places) else exposure.deciding
    if most < least:
        return NoThreshold(f"{_labels_text(most)} too few. {sizes_text(limit)}", max(needed or least, least))
    uppers = {place: upper_bound(exposure.sample(place), limit.error) for place in places}
    nearest = min(places, key=lambda place: (uppers[place], place))
    seen = (
        f"nearest to it is {float(exposure.thresholds[nearest]):.4g}, where {int(exposure.actions[nearest]):,} of the labels act and the "
        f"risk seen is {percent(exposure.sample(nearest).risk)}; it may be as high as {percent(uppers[nearest])}"
    )
    if needed is None:
        more = "More labels like these would not help: the risk seen is above the level wherever something acts."
    else:
        more = f"About {needed:,} labels like these in all may do."
    return NoThreshold(f"At no threshold is the risk shown to be below {percent(limit.level)}: {seen}. {more}", needed)


def _labels_text(count: float) -> str:
    return f"{count:,.0f} labelled decision{'s are' if count != 1 else ' is'}"


def _labels_in_all(exposure: Exposure, places: Sequence[int], starts: int) -> int | None:
    """About how many labels like these let a threshold pass; twice these where a threshold would pass by itself, but not in its turn."""
    limit, found = exposure.limit, list[int]()
    for place in places:
        sample = exposure.sample(place)
        needed = labels_needed(sample, limit.level, limit.error / starts)
        if needed is not None:
            found.append(round(needed * exposure.groups / len(sample.losses)))
    fewest = min(found, default=None)
    return 2 * exposure.groups if fewest is not None and fewest <= exposure.groups else fewest


def _notes(examples: Sequence[LabelledDecision], limit: RiskLimit, threshold: float) -> tuple[str, ...]:
    return (*_drift(examples, limit, threshold), *family_notes(examples, limit, threshold))


def _drift(examples: Sequence[LabelledDecision], limit: RiskLimit, threshold: float) -> tuple[str, ...]:
    """A note where the newer half of the labels contradicts the level at the chosen threshold."""
    if not all(one.at for one in examples):
        return ()
    ordered = sorted(examples, key=lambda one: (instant(one.at, one.id), one.id))
    newer = ordered[len(ordered) // 2 :]
    exposure = Exposure(columns_of(newer), limit, grid=[threshold])
    if not len(exposure.thresholds):
        return ()
    sample = exposure.sample(0)
    if p_value_above(sample, limit.level, limit.low) > DRIFT_ERROR:
        return ()
    since = newer[0].at
    return (f"The labels since {since} alone have a risk of {percent(sample.risk)}, above the level: the data drifts. Label newer ones.",)
