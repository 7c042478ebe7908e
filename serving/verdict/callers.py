"""What callers met: each an observation by itself, since which release answers is drawn once for a caller and not for a question.

A caller is whoever a draw is kept for (the `session` of a request, else the key's owner). What a caller asks within one turn, from the
first question on, counts once the turn is over, as the mean of its questions; what comes later counts no more. So a caller who asks a
thousand questions alike, or goes on asking because of an answer, is one caller, in the order of arrival, with values that never change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from serving.pipeline.types import Draw
from serving.release.channel import Mode
from serving.traces.record import FAILED, Feedback
from serving.traces.summary import TraceSummary
from serving.verdict.rules import MeasureName, VerdictRules

FAILURE: Final[dict[MeasureName, float]] = {"failed": 1.0, "degraded": 0.0, "refused": 0.0, "incidents": 0.0, "slow": 0.0}
STABLE, CANARY, SHADOW = "stable", "canary", "shadow"


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """One question of a caller, measured."""

    trace: str
    tenant: str
    values: Mapping[MeasureName, float]  # from 0 to 1, the cost in dollars; of a pair the shadow's
    shown: Mapping[MeasureName, float] = field(default_factory=dict)  # of a pair: the same of the answer that was shown


@dataclass(slots=True)
class DrawnCaller:
    """A caller's turn."""

    at: float  # when it began
    chosen: bool  # whether the candidate answers
    weight: float  # the chance of that
    questions: list[AskedQuestion] = field(default_factory=list)

    def mean(self, name: MeasureName, *, shown: bool = False) -> float | None:
        """The mean of what is known of its questions; None where nothing is."""
        of = [one.shown if shown else one.values for one in self.questions]
        known = [values[name] for values in of if name in values]
        return sum(known) / len(known) if known else None


class CallerLedger:
    """Gathers callers from traces that come the oldest first."""

    def __init__(self, release: str, mode: Mode, rules: VerdictRules) -> None:
        self._release = release
        self._mode = mode
        self._rules = rules
        self._callers: dict[float, DrawnCaller] = {}
        self._shown: dict[str, Mapping[MeasureName, float]] = {}  # of answers that a shadow may be paired with
        self.first = self.last = 0.0

    def add(self, summaries: Iterable[TraceSummary]) -> None:
        """Count traces, later ones than those before."""
        for one in summaries:
            self.first, self.last = self.first or one.at, one.at
            if one.draw is None or (one.draw.candidate, one.draw.mode) != (self._release, self._mode):
                continue  # asked of a server that had not loaded the candidate, or outside the trial
            if self._mode == SHADOW:
                self._add_shadow(one, one.draw)
            elif self._mode == CANARY and 0.0 < one.draw.weight < 1.0:
                self._put(one, one.draw, one.draw.share < one.draw.weight, self._measured(one), {})

    def tenants(self) -> list[str]:
        """Whose questions were counted."""
        return sorted({outcome.tenant for caller in self._callers.values() for outcome in caller.questions})

    def waiting(self, now: float) -> int:
        """How many callers' turn is not over."""
        return sum(caller.at + self._rules.turn_s > now for caller in self._callers.values())

    def callers(self, now: float, feedback: Sequence[Feedback] | None) -> list[DrawnCaller]:
        """Those whose turn is over, in the order of their arrival; without feedback nothing is known of complaints."""
        over = [caller for caller in self._callers.values() if caller.at + self._rules.turn_s <= now]
        if self._mode != CANARY or feedback is None:
            return over
        complained_at: dict[str, float] = {}  # when somebody first complained of an answer
        for one in feedback:
            if one.complains:
                complained_at[one.trace_id] = min(one.at, complained_at.get(one.trace_id, one.at))
        return [self._complained(caller, complained_at) for caller in over]

    def _complained(self, caller: DrawnCaller, complained_at: Mapping[str, float]) -> DrawnCaller:
        end = caller.at + self._rules.turn_s
        known = [
            AskedQuestion(one.trace, one.tenant, {**one.values, "complaints": float(complained_at.get(one.trace, end + 1.0) <= end)})
            for one in caller.questions
        ]
        return DrawnCaller(caller.at, caller.chosen, caller.weight, known)

    def _add_shadow(self, one: TraceSummary, draw: Draw) -> None:
        if one.role == STABLE and draw.share < draw.weight:
            self._shown[one.id] = self._measured(one)
        elif one.role in (SHADOW, FAILED) and (shown := self._shown.pop(one.pair, None)) is not None:
            values = {name: value for name, value in self._measured(one).items() if name in shown}
            shown = {name: value for name, value in shown.items() if name in values}
            if one.disagreement is not None:
                values["disagreements"] = float(bool(one.disagreement))
            self._put(one, draw, True, values, shown)

    def _put(
        self, one: TraceSummary, draw: Draw, chosen: bool, values: Mapping[MeasureName, float], shown: Mapping[MeasureName, float]
    ) -> None:
        caller = self._callers.setdefault(draw.share, DrawnCaller(one.at, chosen, draw.weight))
        if caller.chosen == chosen and one.at <= caller.at + self._rules.turn_s:
            caller.questions.append(AskedQuestion(one.id, one.tenant, values, shown))

    def _measured(self, one: TraceSummary) -> dict[MeasureName, float]:
        if one.role == FAILED:  # a pair is known in nothing else; of a caller's questions it is one that was no refusal and the like
            return {"failed": 1.0} if self._mode == SHADOW else FAILURE.copy()
        values: dict[MeasureName, float] = {
            "failed": 0.0,
            "degraded": float(one.degraded and not one.refused),
            "refused": float(one.refused),
            "incidents": float(bool(one.incidents)),
            "slow": float(one.milliseconds > self._rules.slow_ms),
        }
        if one.priced:
            values["cost"] = one.usd
        return values
