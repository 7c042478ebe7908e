"""Score what answers questions on cases: concurrent, bounded, and a crash of one case is a row, not the end."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.evaluation.subject import Subject
from harness.evaluation.unseen import leave_unseen_out
from harness.golden.case import Case
from harness.golden.sets import Split
from harness.judges.tools import Tools
from harness.metrics import is_judged, metric
from harness.results.report import CaseError, CaseResult, EvalReport, Header
from harness.results.score import JudgedMetric, Metric, Score
from harness.stage_store.base import StageStore
from harness.stage_store.score import CachedScores
from serving.pipeline.errors import DataError, InfrastructureError, IntegrityError, RequestError, TouchstoneError, UserError
from serving.pipeline.types import Trace

Progress = Callable[[int, int], None]  # cases done, cases in all
REFUSED = RequestError.__name__
JUDGE_REFUSED = "the judge took no such request"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """How cases are scored: by which metrics, how many at a time, how long each may take."""

    metrics: Sequence[str]
    concurrency: int = 4
    case_timeout_s: float = 120.0
    tools: Tools | None = None  # for the metrics that need an embedding model or a judge
    stages: StageStore | None = None  # where scores are kept
    part: bool = False  # of a larger evaluation: whoever puts it together decides what it means that a model refused every request

    @property
    def versions(self) -> dict[str, str]:
        """The version of each metric."""
        return {name: metric(name, self.tools).version for name in self.metrics}

    @property
    def judge(self) -> str:
        """Name and id of the judge that is asked; empty where none is."""
        return f"{self.tools.judge.name} {self.tools.judge.id}" if self.tools and self.tools.judge else ""

    async def run(self, subject: Subject, split: Split, progress: Progress | None = None) -> EvalReport:
        """Have every case of the split answered, and score it; rows come in the split's order whatever finished first."""
        if not split.cases:
            raise DataError(f"The {split.name} split of {split.golden} has no cases; a set this small cannot be split.")
        scorers = [metric(name, self.tools) for name in self.metrics]
        clock, begin = subject.clock, subject.clock.seconds()
        started = clock.now().isoformat(timespec="seconds")
        turn = asyncio.Semaphore(1 if subject.serial else self.concurrency)  # who waits is let in first come, first served
        done = 0

        async def one(case: Case) -> CaseResult:
            nonlocal done
            async with turn:
                result = await self._case(subject, case, scorers)
            done += 1
            if progress:
                progress(done, len(split.cases))
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(case)) for case in split.cases]
        except* TouchstoneError as errors:  # a mistake in the settings, or a store out of reach, is the same for every case
            raise errors.exceptions[0] from None
        rows = [task.result() for task in tasks]
        if not self.part:
            refuse_refused(rows)
        identity = subject.identity
        if identity.is_app:
            rows = leave_unseen_out(rows)
        header = Header(
            config=dict(identity.config),
            config_digest=identity.config_digest,
            index_digest=identity.index_digest,
            corpus_digest=identity.corpus_digest,
            golden=split.golden,
            golden_digest=split.golden_digest,
            split=split.name,
            split_digest=split.digest,
            metrics=tuple(scorer.name for scorer in scorers),
            metric_versions={scorer.name: scorer.version for scorer in scorers},
            directions={scorer.name: scorer.direction for scorer in scorers},
            amounts=tuple(scorer.name for scorer in scorers if scorer.range != (0.0, 1.0)),
            judge=self.judge,
            prompts_digest=identity.prompts_digest,
            app=identity.name,
            started_at=started,
            seconds=round(clock.seconds() - begin, 3),
        )
        return EvalReport(header, tuple(rows))

    async def _case(self, subject: Subject, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> CaseResult:
        try:
            async with asyncio.timeout(self.case_timeout_s):
                trace = await subject.answer(case.query)
        except UserError as error:
            if not isinstance(error, RequestError):  # one refused request may be this question's fault
                raise
            return _unanswered(case, scorers, CaseError(REFUSED, str(error), infrastructure=False))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():  # the evaluation itself is stopped
                raise
            return _unanswered(case, scorers, _error(error, self.case_timeout_s))
        except Exception as error:  # noqa: BLE001 — whatever one case did, the others are still worth scoring
            return _unanswered(case, scorers, _error(error, self.case_timeout_s))
        return await self._score(trace, case, scorers)

    async def _score(self, trace: Trace, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> CaseResult:
        """Every score of one trace; those known from before are not computed again, and a judge or a store out of reach is an outage."""
        judge_id = self.tools.judge.id if self.tools and self.tools.judge else ""
        kept = CachedScores.of(self.stages, trace, case, scorers, judge_id) if self.stages else None
        known = kept.find() if kept else {}
        new = [scorer for scorer in scorers if scorer.name not in known]
        plain = [scorer for scorer in new if not is_judged(scorer)]
        asking = [scorer for scorer in new if is_judged(scorer)]
        computed: list[_Scored] = []
        if plain:  # others may wait for a model meanwhile
            computed += await asyncio.to_thread(lambda: [_computed(scorer, trace, case) for scorer in plain])
        computed += await asyncio.gather(*(_asked(scorer, trace, case) for scorer in asking))
        if kept:
            kept.keep([one.score for one in computed if one.sound])
        known |= {one.score.metric: one.score for one in computed}
        outage = next((one.outage for one in computed if one.outage), None)
        return CaseResult(case, tuple(known[scorer.name] for scorer in scorers), trace, outage)


def refuse_refused(rows: Sequence[CaseResult]) -> None:
    """A `RequestError` where a model refused every case: the mistake lies in the settings, not in a question; likewise for a judge."""
    if rows and all(refused(row) for row in rows):
        assert rows[0].error
        raise RequestError(f"{rows[0].error.message} (So it was with all {len(rows)} cases.)")
    for place in range(len(rows[0].scores) if rows else 0):
        scores = [row.scores[place] for row in rows if row.trace]
        if scores and all(score.value is None and score.reason.startswith(JUDGE_REFUSED) for score in scores):
            raise RequestError(f"{scores[0].metric}: {scores[0].reason}")


def refused(row: CaseResult) -> bool:
    """Whether a model refused this case's request as it is."""
    return row.error is not None and row.error.kind == REFUSED


def _unanswered(case: Case, scorers: Sequence[Metric | JudgedMetric], error: CaseError) -> CaseResult:
    return CaseResult(case, tuple(Score(scorer.name, None, f"no answer: {error.message}") for scorer in scorers), error=error)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A score, whether it would be the same if it were computed again, and the outage that left it out."""

    score: Score
    sound: bool
    outage: CaseError | None = None


def _computed(scorer: Metric, trace: Trace, case: Case) -> _Scored:
    try:
        score = scorer.score(trace, case)
    except UserError:
        raise
    except (InfrastructureError, IntegrityError) as error:  # of a store or a model that the metric needs
        message = f"{scorer.name} could not be computed: {error}"
        return _Scored(Score(scorer.name, None, message), sound=False, outage=CaseError(type(error).__name__, message, infrastructure=True))
    except Exception as error:  # noqa: BLE001 — a metric that raises leaves its own score out, no other
        return _Scored(Score(scorer.name, None, f"{type(error).__name__}: {error}"), sound=False)
    return _checked(score, sound=True)


async def _asked(scorer: JudgedMetric, trace: Trace, case: Case) -> _Scored:
    """A judge's score; one that it could not give is asked for again the next time."""
    try:
        score = await scorer.ask(trace, case)
    except UserError as error:
        if not isinstance(error, RequestError):
            raise
        return _Scored(Score(scorer.name, None, f"{JUDGE_REFUSED}: {error}"), sound=False)
    except InfrastructureError as error:
        message = f"the judge was out of reach: {error}"
        return _Scored(Score(scorer.name, None, message), sound=False, outage=CaseError(type(error).__name__, message, infrastructure=True))
    except Exception as error:  # noqa: BLE001 — likewise
        return _Scored(Score(scorer.name, None, f"{type(error).__name__}: {error}"), sound=False)
    return _checked(score, sound=score.value is not None)


def _checked(score: Score, *, sound: bool) -> _Scored:
    if score.value is not None and not math.isfinite(score.value):
        return _Scored(
            Score(score.metric, None, "the metric gave " + ("NaN" if math.isnan(score.value) else str(score.value))), sound=False
        )
    return _Scored(score, sound)


def _error(error: BaseException, timeout_s: float) -> CaseError:
    if isinstance(error, TimeoutError):
        return CaseError("Timeout", f"no answer within {timeout_s:g} s", infrastructure=True)
    message = str(error) if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
    return CaseError(type(error).__name__, message, infrastructure=isinstance(error, InfrastructureError | IntegrityError))
