"""How good an order of questions is for routing: RouteLLM's measures, and what may be saved at a bounded loss."""

from dataclasses import dataclass

import numpy as np

from harness.stats.clusters import Numbers

Z95 = 1.6448536269514722  # one-sided


@dataclass(frozen=True, slots=True)
class RoutingCurve:
    """Questions from the one that gains least from the dear tier to the one that gains most, as a router orders them."""

    gains: Numbers  # what the dear tier really gained, in that order

    @property
    def losses(self) -> Numbers:
        """The mean loss against always-dear when the first 0, 1, 2, … questions go to the cheap tier."""
        return np.concatenate([[0.0], np.cumsum(self.gains)]) / len(self.gains)

    @property
    def recovered(self) -> Numbers:
        """The share of the gap between the tiers that is kept (RouteLLM's PGR) when the last 0, 1, 2, … questions go to the dear tier."""
        whole = float(self.gains.sum())
        kept = np.concatenate([[0.0], np.cumsum(self.gains[::-1])])
        return kept / whole if whole else np.ones(len(kept))

    @property
    def average_recovered(self) -> float:
        """RouteLLM's APGR: the mean of the share over all shares of dear calls; .5 for a blind router."""
        kept = self.recovered
        return float(((kept[1:] + kept[:-1]) / 2).mean())

    def calls_for(self, share: float) -> float:
        """RouteLLM's CPT: the least share of dear calls that keeps this share of the gap."""
        return int(np.argmax(self.recovered >= share - 1e-12)) / len(self.gains)


def routing_curve(expected: Numbers, gains: Numbers) -> RoutingCurve:
    """The curve of a router that expects these gains, compared with what came of them."""
    return RoutingCurve(gains[np.argsort(expected, kind="stable")])


def oracle_share(gains: Numbers) -> float:
    """The share of the questions that one who knew both answers would give to the cheap tier: all on which the dear one gains nothing."""
    return float((gains <= 0.0).mean())


def bounded_threshold(expected: Numbers, gains: Numbers, margin: float, *, steps: int = 400) -> float:
    """The largest expected gain at which the cheap tier may answer; minus infinity where there is none.

    There, and at every smaller one that is tried, the one-sided 95 % bound (normal) of the loss is within the margin.
    """
    order = np.argsort(expected, kind="stable")
    value, lost = expected[order], gains[order]
    count = len(value)
    best = -np.inf
    for place in np.unique(np.linspace(0, count - 1, min(steps, count)).astype(int)):
        taken = np.where(value <= value[place], lost, 0.0)
        if taken.mean() + Z95 * taken.std(ddof=1) / np.sqrt(count) > margin:
            break
        best = float(value[place])
    return best


def loss_and_saving(expected: Numbers, gains: Numbers, threshold: float) -> tuple[float, float]:
    """The mean loss against always-dear, and the share of the questions that the cheap tier answers."""
    cheap = expected <= threshold
    return float(np.where(cheap, gains, 0.0).mean()), float(cheap.mean())
