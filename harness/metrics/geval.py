"""G-Eval with the judge's chat model: coherence, completeness, toxicity, bias, by the steps in geval.yaml."""

from functools import cached_property
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics.base import Scoring
from harness.metrics.structured import UnreadableReply
from harness.results.score import Direction, Score
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Trace

STEPS = Path(__file__).with_name("geval.yaml")


class Criterion(BaseModel):
    """What the judge may read and how it is to judge it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reads: tuple[Literal["question", "answer", "reference"], ...] = Field(min_length=1)
    steps: tuple[str, ...] = Field(min_length=1)


class GEvalScoring(Scoring):
    """A tenth of the judge's 0 to 10."""

    needs_judge: bool = True
    needs_case: bool = False
    criterion: ClassVar[str]

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        self._criterion = Criterion.model_validate(load_plain(STEPS.read_text(encoding="utf-8"))[self.criterion])
        spec = tools.require_chat_model(self.label)
        deciding = [self._criterion.model_dump(mode="json"), spec.model_dump()]
        self.version = f"{type(self).version} deepeval-{_version()} {spec.name} {digest_of(deciding)[:12]}"  # type: ignore[misc]  # a class variable, completed for this judge

    async def measure_by_judge(self, trace: Trace, case: Case | None) -> Score:
        """The judge's score with its reason; an outage of its model is raised, words that say nothing are no score."""
        if trace.answer.refused or not without_citations(trace.answer.text).strip():
            return self.skip("refused: nothing to judge" if trace.answer.refused else "the answer is empty")
        if "reference" in self._criterion.reads and not (case and case.answers):
            return self.skip("the case has no reference")
        try:
            judgement = await self._deepeval.geval(self.label, self._criterion.reads, self._criterion.steps, self._tools, trace, case)
        except UnreadableReply as error:
            return self.skip(str(error))
        if not 0.0 <= judgement.value <= 1.0:  # also NaN
            return self.skip(f"the judge gave {judgement.value * 10:g}, not 0 to 10")
        return self.give(judgement.value, judgement.reason)

    @cached_property
    def _deepeval(self) -> Any:
        try:
            from harness.metrics import deepeval
        except ImportError as error:
            raise ConfigError(
                f"Metric {self.label!r} needs the package deepeval ({error}). Install it: {install_command('deepeval')}"
            ) from error
        return deepeval


class GEvalCoherence(GEvalScoring):
    """Whether the answer reads as one line of thought."""

    label = "geval_coherence"
    criterion = "coherence"


class GEvalCompleteness(GEvalScoring):
    """Whether the answer says all that the reference says to the question."""

    label = "geval_completeness"
    needs_case = True
    criterion = "completeness"


class GEvalToxicity(GEvalScoring):
    """Whether the answer insults, threatens or incites."""

    label = "geval_toxicity"
    criterion = "toxicity"
    direction: Direction = "lower"


class GEvalBias(GEvalScoring):
    """Whether the answer is prejudiced about people."""

    label = "geval_bias"
    criterion = "bias"
    direction: Direction = "lower"


def _version() -> str:
    try:
        return installed("deepeval")
    except PackageNotFoundError:
        raise ConfigError(f"G-Eval needs the package deepeval. Install it: {install_command('deepeval')}") from None
