"""What is measured of a candidate, and by which rules it is judged."""

from dataclasses import dataclass, field
from typing import Final, Literal

from serving.pipeline.errors import ConfigError
from serving.release.channel import Mode

MeasureName = Literal["failed", "degraded", "refused", "incidents", "complaints", "slow", "cost", "disagreements"]

WORDS: Final[dict[MeasureName, str]] = {
    "failed": "questions without an answer",
    "degraded": "answers with passages alone, since no model answered",
    "refused": "refusals",
    "incidents": "answers in which a check intervened",
    "complaints": "answers with a thumb down or a correction",
    "slow": "answers slower than the stated time",
    "cost": "the cost of a question",
    "disagreements": "answers that say something else than those shown",
}
MEASURED: Final[dict[Mode, tuple[MeasureName, ...]]] = {
    "canary": ("failed", "degraded", "refused", "incidents", "complaints", "slow", "cost"),
    "shadow": ("failed", "refused", "incidents", "slow", "cost", "disagreements"),
    "interleave": (),
    "blue-green": (),
}
UNASKED: Final[dict[MeasureName, str]] = {
    "degraded": "A shadow is asked only what the stable release answered by a model, and fails where no model answers.",
    "complaints": "Nobody sees the answers of a shadow.",
    "disagreements": "No question was answered by both releases.",
}
RATE_MARGIN: Final = 0.05
MARGINS: Final[dict[MeasureName, float]] = {
    "failed": RATE_MARGIN,
    "degraded": RATE_MARGIN,
    "refused": RATE_MARGIN,
    "incidents": RATE_MARGIN,
    "complaints": RATE_MARGIN,
    "slow": RATE_MARGIN,
    "cost": 0.2,  # of the mean cost of a question
    "disagreements": 0.2,
}


@dataclass(frozen=True, slots=True)
class VerdictRules:
    """How sure a verdict has to be, and of what."""

    alpha: float = 0.05  # the chance of ever saying "worse" of what is not, and as much of ever saying "no worse" of what is
    margins: dict[MeasureName, float] = field(default_factory=lambda: dict(MARGINS))
    slow_ms: float = 5000.0
    turn_s: float = 600.0  # what a caller asks within this time from the first question on is one observation
    at_least: int = 50  # questions that the candidate has to have answered before it is called no worse

    @classmethod
    def of(cls, *, alpha: float, margin: float | None, slow_ms: float, minutes: float, at_least: int) -> "VerdictRules":
        """Rules as they are asked for; `margin` is that of every share, the cost and disagreements keep their own."""
        for name, given in (("alpha", alpha), ("margin", margin)):
            if given is not None and not 0.0 < given < 1.0:
                raise ConfigError(f"The {name} of a verdict is a share between 0 and 1, not {given!r}.")
        if min(slow_ms, minutes, at_least) < 0:
            raise ConfigError("Times and counts of a verdict are 0 or above.")
        own = ("cost", "disagreements")
        margins = {name: default if margin is None or name in own else margin for name, default in MARGINS.items()}
        return cls(alpha, margins, slow_ms, 60.0 * minutes, at_least)
