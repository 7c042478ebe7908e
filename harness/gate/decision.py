"""What a gate decided: plain values, with the numbers that each rule was decided by."""

from dataclasses import dataclass, field
from typing import Literal

from serving.pipeline.codec import Codec

Outcome = Literal["pass", "fail", "unjudged"]
State = Literal["pass", "fail", "infrastructure"]
EXIT_CODES: dict[State, int] = {"pass": 0, "fail": 1, "infrastructure": 3}


@dataclass(frozen=True, slots=True)
class SliceRuling:
    """One slice of a rule that looks at several."""

    name: str
    value: float | None
    count: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule found."""

    id: str
    rule: str
    subject: str
    outcome: Outcome
    reason: str
    advisory: bool = False
    why: str = ""
    value: float | None = None  # what was held against the threshold
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
        """Whether it alone makes the gate fail."""
        return self.outcome == "fail" and not self.advisory

    @property
    def word(self) -> str:
        """The outcome in a word or two."""
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
    """What a gate decided, of what, against what."""

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
    simulated: bool = False  # the money is that of models stood in for
    changes: CaseChanges = field(default_factory=CaseChanges)
    reproduce: str = ""
    decided_at: str = ""
    valid_hours: int = 168  # for how long it allows a promotion

    @property
    def exit_code(self) -> int:
        """0: it holds; 1: it does not; 3: it could not be told."""
        return EXIT_CODES[self.state]

    def ruling(self, ident: str) -> Ruling:
        """The ruling of a rule."""
        return next(ruling for ruling in self.rulings if ruling.id == ident)


PLAIN = Codec(Decision)
