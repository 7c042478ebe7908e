"""Agreement of a judge with human labels, and of the humans with each other."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.judges.base import Judge, Verdict
from harness.judges.kappa import ClassNumbers, alpha, confusion, kappa_interval, per_class
from harness.judges.labelled import LabelledQuestion
from harness.judges.tasks import Task
from harness.stats import Interval, rate_interval
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.progress import Progress


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """Agreement among the humans, which a judge cannot be expected to exceed."""

    raters: int
    cases: int  # judged by two or more of them
    same: float  # share of pairs of labels that are the same
    alpha: float | None


@dataclass(frozen=True, slots=True)
class UnscoredQuestion:
    """A question without a verdict, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a judge with humans on one task, over the questions with a verdict."""

    judge: str
    judge_id: str
    task: str
    labels: tuple[str, ...]
    level: str  # of alpha: nominal or ordinal
    accuracy: Interval
    kappa: Interval
    alpha: float | None
    classes: tuple[ClassNumbers, ...]
    confusion: tuple[tuple[int, ...], ...]  # rows: the humans' label; columns: the judge's
    unscored: tuple[UnscoredQuestion, ...]
    humans: HumanAgreement | None
    usd: float | None  # `None` where a model has no known price
    simulated: bool

    @property
    def n(self) -> int:
        """The questions with a verdict."""
        return self.accuracy.count


async def agreement(
    judge: Judge, task: Task, rows: Sequence[LabelledQuestion], *, concurrency: int = 4, progress: Progress | None = None
) -> Agreement:
    """Ask the judge every question; an outage ends it, with the verdicts so far in the stage store."""
    verdicts = await _verdicts(judge, task, rows, concurrency, progress)
    scored = [(row, verdict.label) for row, verdict in zip(rows, verdicts, strict=True) if verdict.label is not None]
    truth, judged = [row.label for row, _ in scored], [label for _, label in scored]
    counts = confusion(truth, judged, task.labels)
    usage = [use for verdict in verdicts for use in verdict.usage]
    return Agreement(
        judge=judge.name,
        judge_id=judge.id,
        task=task.name,
        labels=task.labels,
        level="ordinal" if task.ordered else "nominal",
        accuracy=rate_interval(sum(first == second for first, second in zip(truth, judged, strict=True)), len(scored)),
        kappa=kappa_interval(counts),
        alpha=alpha([truth, judged], task.labels, ordered=task.ordered),
        classes=per_class(counts, task.labels),
        confusion=tuple(tuple(int(count) for count in row) for row in counts),
        unscored=tuple(
            UnscoredQuestion(row.id, verdict.reason) for row, verdict in zip(rows, verdicts, strict=True) if verdict.label is None
        ),
        humans=_humans(rows, task),
        usd=sum(use.usd for use in usage) if all(use.priced for use in usage) else None,
        simulated=any(use.simulated for use in usage),
    )


async def _verdicts(
    judge: Judge, task: Task, rows: Sequence[LabelledQuestion], concurrency: int, progress: Progress | None
) -> list[Verdict]:
    slots, done = asyncio.Semaphore(concurrency), 0

    async def judged(row: LabelledQuestion) -> Verdict:
        nonlocal done
        async with slots:
            verdict = await judge.judge(task.name, row.values)
        done += 1
        if progress:
            progress(done, len(rows))
        return verdict

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(judged(row)) for row in rows]
    except* TouchstoneError as errors:  # the first: the others are likely the same
        raise errors.exceptions[0] from None
    return [running.result() for running in tasks]


def _humans(rows: Sequence[LabelledQuestion], task: Task) -> HumanAgreement | None:
    raters = max((len(row.humans) for row in rows), default=0)
    shared = [row for row in rows if sum(label is not None for label in row.humans) >= 2]
    if not shared:
        return None
    pairs = [pair for row in shared for pair in combinations([label for label in row.humans if label is not None], 2)]
    ratings = [[row.humans[rater] if rater < len(row.humans) else None for row in shared] for rater in range(raters)]
    same = sum(first == second for first, second in pairs) / len(pairs)
    return HumanAgreement(raters, len(shared), same, alpha(ratings, task.labels, ordered=task.ordered))
