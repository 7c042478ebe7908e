"""Score a pipeline on cases: concurrent, bounded, and a crash of one case is a row, not the end."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.golden.case import Case
from harness.golden.sets import Split
from harness.metrics import judged, metric
from harness.metrics.base import JudgedMetric, Metric, Score
from harness.metrics.tools import Tools
from harness.results import CaseError, CaseResult, EvalReport, Header
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError, InfrastructureError, IntegrityError, TouchstoneError, UserError
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.types import Trace

Progress = Callable[[int, int], None]  # cases done, cases in all


@dataclass(frozen=True, slots=True)
class Evaluator:
    """How cases are scored: by which metrics, how many at a time, how long each may take."""

    metrics: Sequence[str]
    concurrency: int = 4
    case_timeout_s: float = 120.0
    tools: Tools | None = None  # for the metrics that need an embedding model or a judge

    async def run(self, pipeline: RagPipeline, config: RagConfig, split: Split, progress: Progress | None = None) -> EvalReport:
        """Answer and score every case of the split; rows come in the split's order whatever finished first."""
        if not split.cases:
            raise DataError(f"The {split.name} split of {split.golden} has no cases; a set this small cannot be split.")
        scorers = [metric(name, self.tools) for name in self.metrics]
        clock, begin = pipeline.clock, pipeline.clock.seconds()
        started = clock.now().isoformat(timespec="seconds")
        turn = asyncio.Semaphore(self.concurrency)
        done = 0

        async def one(case: Case) -> CaseResult:
            nonlocal done
            async with turn:
                result = await self._case(pipeline, case, scorers)
            done += 1
            if progress:
                progress(done, len(split.cases))
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(case)) for case in split.cases]
        except* UserError as errors:  # a mistake in the settings is the same mistake for every case
            raise errors.exceptions[0] from None
        rows = [task.result() for task in tasks]
        header = Header(
            config=config.complete().model_dump(mode="json"),
            config_digest=pipeline.config_digest,
            index_digest=pipeline.index.digest,
            corpus_digest=pipeline.index.manifest.corpus_digest,
            golden=split.golden,
            golden_digest=split.golden_digest,
            split=split.name,
            split_digest=split.digest,
            metrics=tuple(scorer.name for scorer in scorers),
            metric_versions={scorer.name: scorer.version for scorer in scorers},
            directions={scorer.name: scorer.direction for scorer in scorers},
            judge=f"{self.tools.judge.name} {self.tools.judge.id}" if self.tools and self.tools.judge else "",
            started_at=started,
            seconds=round(clock.seconds() - begin, 3),
        )
        return EvalReport(header, tuple(rows))

    async def _case(self, pipeline: RagPipeline, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> CaseResult:
        try:
            async with asyncio.timeout(self.case_timeout_s):
                trace = await pipeline.answer(case.query)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 — whatever one case did, the others are still worth scoring
            found = _error(error, self.case_timeout_s)
            return CaseResult(case, tuple(Score(scorer.name, None, f"no answer: {found.message}") for scorer in scorers), error=found)
        return CaseResult(case, tuple([await _score(scorer, trace, case) for scorer in scorers]), trace)


async def _score(scorer: Metric | JudgedMetric, trace: Trace, case: Case) -> Score:
    try:
        score = await scorer.ask(trace, case) if judged(scorer) else scorer.score(trace, case)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 — a metric that raises leaves its own score out, no other
        return Score(scorer.name, None, f"{type(error).__name__}: {error}")
    if score.value is not None and math.isnan(score.value):
        return Score(scorer.name, None, "the metric gave NaN")
    return score


def _error(error: Exception, timeout_s: float) -> CaseError:
    if isinstance(error, TimeoutError):
        return CaseError("Timeout", f"no answer within {timeout_s:g} s", infrastructure=True)
    message = str(error) if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {error}"
    return CaseError(type(error).__name__, message, infrastructure=isinstance(error, InfrastructureError | IntegrityError))
