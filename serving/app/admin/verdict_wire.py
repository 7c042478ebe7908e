"""The verdict on a channel's candidate, as administrators are told it."""

from pydantic import Field

from serving.app.core.wire import Wire
from serving.release.channel import Mode
from serving.verdict.decide import Outcome, Verdict
from serving.verdict.rules import MeasureName


class MeasureOut(Wire):
    """One thing that was measured of a candidate and of the stable release."""

    name: MeasureName
    outcome: Outcome
    reason: str
    margin: float = Field(description="the loss beyond which it is worse: a share; of the cost in dollars, once a question has a price")
    candidate: float | None = Field(description="the mean over callers; null: not measured")
    stable: float | None
    difference: float | None = Field(description="candidate − stable, each caller weighted by the chance of its draw")
    low: float | None = Field(
        description="the difference is above it: of all measures together and at every look, with a chance of 1 − alpha"
    )
    high: float | None = Field(description="the difference is below it: at every look, with a chance of 1 − alpha")
    needed: int = Field(description="about how many callers more would decide; 0: none, or nobody can tell")


class CandidateVerdictOut(Wire):
    """Whether a channel's candidate is as good as its stable release, by the traces of both since it was set."""

    channel: str
    stable: str
    release: str
    mode: Mode
    weight: float
    since: str = Field(description="when the candidate began to be tried in this mode")
    until: str
    verdict: Verdict
    reason: str
    callers: int = Field(description="whose turn is over: all that a caller asks in a turn is one observation")
    candidate_callers: int
    questions: int = Field(description="of these callers, in these turns")
    candidate_questions: int
    needed_questions: int = Field(description="about how many questions more would decide; 0: none, or nobody can tell")
    measures: tuple[MeasureOut, ...]
    notes: tuple[str, ...]
    traces: int = Field(description="that were read")
    complete: bool = Field(description="false: only the first traces since the candidate was set were read, up to `until`")
    alpha: float
    slow_ms: float
    turn_minutes: float
    at_least: int
