"""Other scores of the same examples, and chance: what a score must beat."""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.calibrate.calibrate import CurvePoint, curve_point
from harness.calibrate.exposure import Exposure, columns_of
from harness.calibrate.labelled import LabelledDecision, RiskLimit

CHANCE = "chance"
POINTS = 60


def baseline_curves(
    examples: Sequence[LabelledDecision], limit: RiskLimit, baselines: Mapping[str, Sequence[float]]
) -> dict[str, tuple[CurvePoint, ...]]:
    """The curve of each baseline, and that of acting by chance, which is the same wherever it acts as often."""
    curves = {name: _curve(Exposure(columns_of(examples, scores), limit)) for name, scores in baselines.items()}
    every = Exposure(columns_of(examples, [0.0] * len(examples)), limit)
    whole = curve_point(every, 0)
    rates = np.linspace(0.0, 1.0, 11)[1:]
    per_decision = limit.kind == "per_decision"
    curves[CHANCE] = tuple(
        CurvePoint(
            threshold=1.0 - rate,
            actions=round(rate * whole.actions),
            action_rate=rate * whole.action_rate,
            risk=whole.risk * rate if per_decision else whole.risk,
            upper=whole.upper,
            benefit=whole.benefit * rate,
            oracle_share=None if whole.oracle_share is None else whole.oracle_share * rate,
        )
        for rate in rates.tolist()
    )
    return curves


def _curve(exposure: Exposure) -> tuple[CurvePoint, ...]:
    count = len(exposure.thresholds)
    places = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int)).tolist()
    return tuple(curve_point(exposure, place) for place in places)
