"""The decision of a gate: plain values, with the numbers of each rule."""

from dataclasses import dataclass, field
from typing import Literal

from serving.pipeline.codec import Codec

Outcome = Literal["pass", "fail", "unjudged"]
State = Literal["pass", "fail", "infrastructure"]
EXIT_CODES: dict[State, int] = {"pass": 0, "fail": 1, "infrastructure": 3}


@dataclass(frozen=True, slots=True)
class SliceRuling:
    """The outcome of one slice of a rule."""

    name: str
    value: float | None
    count: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Ruling:
    """The outcome of one rule, with its numbers."""

    id: str
    rule: str
    subject: str
    outcome: Outcome
    reason: str
    advisory: bool = False
    why: str = ""
    mean: float | None = None  # of the metric; what was judged may be an end of its interval, or a percentile
    value: float | None = None  # what the threshold was compared with
    low: float | None = None
    high: float | None = None
    statistic: str = ""  # low or high: it is an end of the interval; p95: a percentile
    threshold: float | None = None
    margin: float | None = None
    count: int = 0  # cases (or questions) it stands on
    of: int = 0  # of so many
    parts: tuple[SliceRuling, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether it makes the gate fail."""
        return self.outcome == "fail" and not self.advisory

    @property
    def outcome_text(self) -> str:
        """The outcome as people read it."""
        if self.outcome == "unjudged":
            return "not judged"
        return f"{self.outcome} (advisory)" if self.advisory else self.outcome


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A case that the candidate and the champion answered differently well."""

    case: str
    question: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class CaseChanges:
    """How single cases moved against the champion, by one metric."""

    metric: str = ""
    largest: tuple[CaseChange, ...] = ()  # the losses first
    lost: int = 0  # cases that flipped to the worse: by half of the way from 0 to 1 or more
    won: int = 0  # to the better


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a gate on a configuration."""

    gate: str
    gate_digest: str
    state: State
    message: str
    golden: str
    split: str
    rulings: tuple[Ruling, ...]
    golden_digest: str = ""
    split_digest: str = ""
    config_digest: str = ""
    champion_digest: str = ""  # of the champion's configuration; "" when there was none to compare with
    cases: int = 0
    errors: int = 0
    outages: int = 0
    simulated: bool = False  # prices are those of hosted models that local ones stand in for
    changes: CaseChanges = field(default_factory=CaseChanges)
    reproduce: str = ""
    decided_at: str = ""
    valid_hours: int = 168  # for how long it allows a promotion

    @property
    def exit_code(self) -> int:
        """0: it passed; 1: it failed; 3: an outage left it undecided."""
        return EXIT_CODES[self.state]

    def ruling(self, ident: str) -> Ruling:
        """The ruling of a rule."""
        return next(ruling for ruling in self.rulings if ruling.id == ident)


DECISION_CODEC = Codec(Decision)
