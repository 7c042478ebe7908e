"""Scores a subject on cases: concurrently, within a time limit each; a crash of one case is a row with its error."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.evaluation.subject import PipelineSubject, Subject
from harness.evaluation.unseen import drop_unseen_scores
from harness.golden.case import Case, PriorTurn
from harness.golden.sets import Split
from harness.judges.tools import Tools
from harness.metrics import is_judged, metric, ranking_depth
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import JudgedMetric, Metric, Score
from harness.stage_store.base import StageStore
from harness.stage_store.score import CachedScores
from serving.pipeline.errors import DataError, InfrastructureError, IntegrityError, RequestError, TouchstoneError, UserError
from serving.pipeline.models.prices import PACKAGE, price_list
from serving.pipeline.progress import Progress
from serving.pipeline.redact import without_password
from serving.pipeline.types import GuardAction, Trace

CASE_TIMEOUT_S = 120.0
REFUSED = RequestError.__name__
JUDGE_REFUSED = "the judge took no such request"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores cases by metrics, several at a time, each within a time limit."""

    metrics: Sequence[str]
    concurrency: int = 4
    case_timeout_s: float = CASE_TIMEOUT_S
    tools: Tools | None = None  # for the metrics that need an embedding model or a judge
    stage_store: StageStore | None = None  # of scores
    part: bool = False  # of a larger evaluation, whose caller checks whether a model refused every request

    @property
    def versions(self) -> dict[str, str]:
        """The version of each metric."""
        return {name: metric(name, self.tools).version for name in self.metrics}

    @property
    def ranked(self) -> int:
        """How many places of the ranking the metrics look at."""
        return ranking_depth(self.metrics)

    @property
    def judge(self) -> str:
        """Name and id of the judge that is asked; empty where none is."""
        return f"{self.tools.judge.name} {self.tools.judge.id}" if self.tools and self.tools.judge else ""

    async def run(self, subject: Subject, split: Split, progress: Progress | None = None) -> EvalReport:
        """Answer and score every case of the split; rows are in the split's order."""
        if not split.cases:
            raise DataError(f"The {split.name} split of {split.golden} has no cases; a set this small cannot be split.")
        scorers = [metric(name, self.tools) for name in self.metrics]
        clock, start_s = subject.clock, subject.clock.seconds()
        started = clock.now().isoformat(timespec="seconds")
        slots = asyncio.Semaphore(1 if subject.serial else self.concurrency)  # first come, first served
        done = 0

        async def scored(case: Case) -> CaseResult:
            nonlocal done
            async with slots:
                result = await self._case(subject, case, scorers)
            done += 1
            if progress:
                progress(done, len(split.cases))
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scored(case)) for case in split.cases]
        except* TouchstoneError as errors:  # a mistake in the settings or an outage of a store is the same for every case
            raise errors.exceptions[0] from None
        rows = [task.result() for task in tasks]
        if not self.part:
            raise_if_all_refused(rows)
        identity = subject.identity
        if identity.is_app:
            rows = drop_unseen_scores(rows)
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
            seconds=round(clock.seconds() - start_s, 3),
            prices="" if identity.is_app else (price_list(self.tools.settings) if self.tools else PACKAGE).label,
        )
        return EvalReport(header, tuple(rows))

    async def _case(self, subject: Subject, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> CaseResult:
        try:
            async with asyncio.timeout(self.case_timeout_s):
                trace = await subject.answer(case.query)
        except UserError as error:
            if not isinstance(error, RequestError):  # a refused request may be due to this question only
                raise
            return _unanswered(await _masked(subject, case), scorers, CaseError(REFUSED, str(error), infrastructure=False))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():  # the evaluation itself is stopped
                raise
            return _unanswered(await _masked(subject, case), scorers, _case_error(error, self.case_timeout_s))
        except Exception as error:  # noqa: BLE001 — a crash of one case does not end the others
            return _unanswered(await _masked(subject, case), scorers, _case_error(error, self.case_timeout_s))
        return await self._score(trace, case, scorers)

    async def _score(self, trace: Trace, case: Case, scorers: Sequence[Metric | JudgedMetric]) -> CaseResult:
        """Every score of one trace, from the stage store where it is there; a failed judge or store is an outage."""
        judge_id = self.tools.judge.id if self.tools and self.tools.judge else ""
        cached_scores = CachedScores.of(self.stage_store, trace, case, scorers, judge_id) if self.stage_store else None
        scores = cached_scores.find() if cached_scores else {}
        new = [scorer for scorer in scorers if scorer.name not in scores]
        computed_metrics = [scorer for scorer in new if not is_judged(scorer)]
        judged_metrics = [scorer for scorer in new if is_judged(scorer)]
        results: list[_MetricResult] = []
        if computed_metrics:  # so that other cases can wait for a model meanwhile
            results += await asyncio.to_thread(lambda: [_compute(scorer, trace, case) for scorer in computed_metrics])
        results += await asyncio.gather(*(_ask_judge(scorer, trace, case) for scorer in judged_metrics))
        if cached_scores:
            cached_scores.store_all([result.score for result in results if result.cacheable])
        scores |= {result.score.metric: result.score for result in results}
        outage = next((result.outage for result in results if result.outage), None)
        return CaseResult(_as_guarded(case, trace), tuple(scores[scorer.name] for scorer in scorers), trace, outage)


def _as_guarded(case: Case, trace: Trace) -> Case:
    """The case with its question, and those before it, as the guard left them: results are written down."""
    changed = any(one.side == "input" and one.action in (GuardAction.MASK, GuardAction.BLOCK) for one in trace.guard)
    if not changed or not trace.query.text.strip():
        return case
    history = tuple(PriorTurn(question=turn.question or "-", answer=turn.answer) for turn in trace.query.history)
    return case.model_copy(update={"question": trace.query.text, "history": history})


async def _masked(subject: Subject, case: Case) -> Case:
    """The same for a case without a trace."""
    if not isinstance(subject, PipelineSubject):
        return case
    question = await subject.masked(case.question)
    turns = [PriorTurn(question=await subject.masked(turn.question), answer=await subject.masked(turn.answer)) for turn in case.history]
    same = question == case.question and tuple(turns) == case.history
    return case if same else case.model_copy(update={"question": question, "history": tuple(turns)})


def raise_if_all_refused(rows: Sequence[CaseResult]) -> None:
    """A `RequestError` where the model or the judge refused the requests of all cases: a mistake in the settings."""
    if rows and all(was_refused(row) for row in rows):
        assert rows[0].error
        raise RequestError(f"{rows[0].error.message} (So it was with all {len(rows)} cases.)")
    for index in range(len(rows[0].scores) if rows else 0):
        scores = [row.scores[index] for row in rows if row.trace]
        if scores and all(score.value is None and score.reason.startswith(JUDGE_REFUSED) for score in scores):
            raise RequestError(f"{scores[0].metric}: {scores[0].reason}")


def was_refused(row: CaseResult) -> bool:
    """Whether a model refused the request of this case."""
    return row.error is not None and row.error.kind == REFUSED


def _unanswered(case: Case, scorers: Sequence[Metric | JudgedMetric], error: CaseError) -> CaseResult:
    return CaseResult(case, tuple(Score(scorer.name, None, f"no answer: {error.message}") for scorer in scorers), error=error)


@dataclass(frozen=True, slots=True)
class _MetricResult:
    """A score, whether it may be stored, and the outage that left it out."""

    score: Score
    cacheable: bool
    outage: CaseError | None = None


def _compute(scorer: Metric, trace: Trace, case: Case) -> _MetricResult:
    try:
        score = scorer.score(trace, case)
    except UserError:
        raise
    except (InfrastructureError, IntegrityError) as error:  # a store or a model that the metric needs failed
        message = f"{scorer.name} could not be computed: {error}"
        return _outage(scorer, error, message)
    except Exception as error:  # noqa: BLE001 — a metric that raises leaves out its own score only
        return _MetricResult(Score(scorer.name, None, without_password(f"{type(error).__name__}: {error}")), cacheable=False)
    return _finite(score, cacheable=True)


async def _ask_judge(scorer: JudgedMetric, trace: Trace, case: Case) -> _MetricResult:
    """A judge's score; an unscored one is not stored, so that it is tried again."""
    try:
        score = await scorer.ask(trace, case)
    except UserError as error:
        if not isinstance(error, RequestError):
            raise
        return _MetricResult(Score(scorer.name, None, f"{JUDGE_REFUSED}: {error}"), cacheable=False)
    except InfrastructureError as error:
        message = f"the judge was out of reach: {error}"
        return _outage(scorer, error, message)
    except Exception as error:  # noqa: BLE001 — likewise
        return _MetricResult(Score(scorer.name, None, without_password(f"{type(error).__name__}: {error}")), cacheable=False)
    return _finite(score, cacheable=score.value is not None)


def _outage(scorer: Metric | JudgedMetric, error: Exception, message: str) -> _MetricResult:
    outage = CaseError(type(error).__name__, message, infrastructure=True)
    return _MetricResult(Score(scorer.name, None, message), cacheable=False, outage=outage)


def _finite(score: Score, *, cacheable: bool) -> _MetricResult:
    if score.value is not None and not math.isfinite(score.value):
        return _MetricResult(
            Score(score.metric, None, "the metric gave " + ("NaN" if math.isnan(score.value) else str(score.value))), cacheable=False
        )
    return _MetricResult(score, cacheable)


def _case_error(error: BaseException, timeout_s: float) -> CaseError:
    if isinstance(error, TimeoutError):
        return CaseError("Timeout", f"no answer within {timeout_s:g} s", infrastructure=True)
    message = str(error) if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
    return CaseError(
        type(error).__name__, without_password(message), infrastructure=isinstance(error, InfrastructureError | IntegrityError)
    )
