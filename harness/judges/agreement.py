"""How far a judge agrees with humans, and the humans with each other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.judges.base import Judge, Verdict
from harness.judges.kappa import ClassNumbers, alpha, confusion, kappa_interval, per_class
from harness.judges.labelled import Labelled
from harness.judges.tasks import Task
from harness.stats import Interval, rate_interval
from serving.pipeline.errors import TouchstoneError

Progress = Callable[[int, int], None]  # questions done, questions in all


@dataclass(frozen=True, slots=True)
class Humans:
    """Agreement among the humans: what a judge can be expected to reach."""

    raters: int
    cases: int  # judged by two or more of them
    same: float  # share of pairs of labels that are the same
    alpha: float | None


@dataclass(frozen=True, slots=True)
class Unscored:
    """A question without a verdict, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge against humans on one task; every number is over the questions with a verdict."""

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
    unscored: tuple[Unscored, ...]
    humans: Humans | None
    usd: float | None  # `None` where a model has no known price
    simulated: bool

    @property
    def n(self) -> int:
        """The questions with a verdict."""
        return self.accuracy.count


async def agreement(
    judge: Judge, task: Task, rows: Sequence[Labelled], *, concurrency: int = 4, progress: Progress | None = None
) -> Agreement:
    """Put every question to the judge and count; an outage ends it, what was judged before is in the stage store."""
    verdicts = await _verdicts(judge, task, rows, concurrency, progress)
    scored = [(row, verdict.label) for row, verdict in zip(rows, verdicts, strict=True) if verdict.label is not None]
    truth, said = [row.label for row, _ in scored], [label for _, label in scored]
    counts = confusion(truth, said, task.labels)
    usage = [use for verdict in verdicts for use in verdict.usage]
    return Agreement(
        judge=judge.name,
        judge_id=judge.id,
        task=task.name,
        labels=task.labels,
        level="ordinal" if task.ordered else "nominal",
        accuracy=rate_interval(sum(one == other for one, other in zip(truth, said, strict=True)), len(scored)),
        kappa=kappa_interval(counts),
        alpha=alpha([truth, said], task.labels, ordered=task.ordered),
        classes=per_class(counts, task.labels),
        confusion=tuple(tuple(int(count) for count in row) for row in counts),
        unscored=tuple(Unscored(row.id, one.reason) for row, one in zip(rows, verdicts, strict=True) if one.label is None),
        humans=_humans(rows, task),
        usd=sum(use.usd for use in usage) if all(use.priced for use in usage) else None,
        simulated=any(use.simulated for use in usage),
    )


async def _verdicts(judge: Judge, task: Task, rows: Sequence[Labelled], concurrency: int, progress: Progress | None) -> list[Verdict]:
    turn, done = asyncio.Semaphore(concurrency), 0

    async def one(row: Labelled) -> Verdict:
        nonlocal done
        async with turn:
            verdict = await judge.judge(task.name, row.values)
        done += 1
        if progress:
            progress(done, len(rows))
        return verdict

    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(one(row)) for row in rows]
    except* TouchstoneError as errors:  # the first: the others are likely the same
        raise errors.exceptions[0] from None
    return [task.result() for task in asked]


def _humans(rows: Sequence[Labelled], task: Task) -> Humans | None:
    raters = max((len(row.humans) for row in rows), default=0)
    shared = [row for row in rows if sum(label is not None for label in row.humans) >= 2]
    if not shared:
        return None
    pairs = [pair for row in shared for pair in combinations([label for label in row.humans if label is not None], 2)]
    ratings = [[row.humans[rater] if rater < len(row.humans) else None for row in shared] for rater in range(raters)]
    same = sum(one == other for one, other in pairs) / len(pairs)
    return Humans(raters, len(shared), same, alpha(ratings, task.labels, ordered=task.ordered))
