"""An evaluation from a name to a report: of a configuration or an app, on the cases of a golden set, kept where it has a name."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

from harness.evaluation.context import EvaluationContext
from harness.evaluation.places import PlacedSubject
from harness.evaluation.record import record_evaluation
from harness.golden.sets import GoldenSet, Split
from harness.metrics import DEFAULT, metric_set
from harness.project.arguments import names, whole_number
from harness.project.contexts import ContextChoice, OpenContexts
from harness.project.named_result import ResultKind, is_free, named_result
from harness.reports import write_evaluation
from harness.resolve import CASES, NamedApp, Resolved, config_of
from harness.results.report import EvalReport
from harness.results.report_file import write_report
from harness.settings import HarnessSettings
from harness.stage_store.base import HitCounts
from harness.tracking import tracker
from serving.pipeline.progress import Progress

SplitName = Literal["tune", "holdout", "all"]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How something is evaluated, beside what it is and on which cases."""

    metrics: tuple[str, ...] = ()  # names and groups; none: the default ones
    judge: str = ""
    concurrency: int = 4  # cases at a time
    store: bool = True
    replay_only: bool = False

    def __post_init__(self) -> None:
        names("metrics", self.metrics)
        whole_number("concurrency", self.concurrency)

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric by name."""
        return metric_set(self.metrics or DEFAULT)

    def context_choice(self, golden: GoldenSet) -> ContextChoice:
        """The context that they need."""
        return ContextChoice(golden.card.corpus, self.judge, self.store, self.replay_only)


@dataclass(frozen=True, slots=True)
class FinishedEvaluation:
    """A report with where it was written and logged, as far as it was."""

    report: EvalReport
    page: Path | None = None
    cases: Path | None = None
    run_id: str = ""
    counts: HitCounts | None = None  # of the stage store


async def score(
    subject: Resolved, context: EvaluationContext, split: Split, metrics: Sequence[str], concurrency: int, progress: Progress
) -> EvalReport:
    """Evaluate a configuration, or an app over the same documents."""
    evaluator = context.evaluator(metrics, concurrency)
    if isinstance(subject, NamedApp):
        return await evaluator.run(PlacedSubject(subject.subject, context.corpus), split, progress)
    named = config_of(subject, context.settings)
    factory = context.with_release(named.prompts, named.artefacts).factory if named.release else context.factory
    return await factory.evaluate(named.config, split, evaluator, progress)


async def evaluate(
    subject: Resolved,
    golden: GoldenSet,
    split: SplitName,
    contexts: OpenContexts,
    options: EvaluationOptions,
    *,
    cases: int | None = None,
    name: str = "",
    tracking: bool = False,
) -> FinishedEvaluation:
    """Evaluate, write `reports/runs/<name>/` where there is a name, and log a run where tracking is on."""
    settings, metrics = contexts.settings, options.names
    with ExitStack() as stack:
        place = stack.enter_context(named_result(settings, "runs", name)) if name else None
        chosen = golden.split(split, why=f"eval {name or subject.label}", ledger=settings.holdout_ledger).head(cases)
        run = stack.enter_context(tracker(settings, enabled=tracking).run(name or subject.label))
        context = contexts.get(options.context_choice(golden))
        report = await score(
            subject, context, chosen, metrics, options.concurrency, lambda done, total: contexts.progress("cases", done, total)
        )
        counts = context.stage_store.counts if context.stage_store else None
        finished = FinishedEvaluation(report, run_id=run.id, counts=counts)
        if place is not None:
            write_report(report, place.draft / CASES)
            page = write_evaluation(report, place.draft, name=name, run_url=run.url)
            place.publish()
            finished = replace(finished, page=place.folder / page.name, cases=place.folder / CASES)
        if tracking:
            record_evaluation(run, report, chosen)
        if tracking and finished.page is not None:
            run.text("report.html", finished.page.read_text(encoding="utf-8"))
    return finished


def unused_name(settings: HarnessSettings, kind: ResultKind, name: str) -> str:
    """The name of a result that nobody named: with a number where one of the same second has it."""
    tried = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(one for one in tried if is_free(settings, kind, one))
