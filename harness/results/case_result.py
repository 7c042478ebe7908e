"""One case of an evaluation: its trace and scores, or its error."""

from dataclasses import dataclass

from harness.golden.case import Case
from harness.results.display import Display
from harness.results.score import Score
from harness.stats.text import number_text
from serving.pipeline.types import Trace


@dataclass(frozen=True, slots=True)
class CaseError:
    """Why a case has no trace."""

    kind: str  # the exception's name
    message: str
    infrastructure: bool  # True: a retry may help; never a judgement of quality


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: its trace and scores, or an error; both where the pipeline answered and a judge failed."""

    case: Case
    scores: tuple[Score, ...] = ()
    trace: Trace | None = None
    error: CaseError | None = None

    def value(self, metric: str) -> float | None:
        """A metric's value for this case."""
        return next((score.value for score in self.scores if score.metric == metric), None)

    @property
    def display(self) -> Display:
        """The question, the answer, and every score."""
        answer = self.trace.answer.text if self.trace else f"no answer: {self.error.message}" if self.error else "no answer"
        scores = [(score.metric, number_text(score.value), score.reason) for score in self.scores]
        return Display(f"CaseResult {self.case.id}: {self.case.question}", ("metric", "score", "reason"), scores, (answer,))

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html
