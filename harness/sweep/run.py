"""A sweep from its first trial to its verdict: search on the tune split, prove on the holdout, choose, write what was found."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from harness.comparison.pairs import compare_metric
from harness.evaluation.record import record_evaluation
from harness.golden.sets import HoldoutSplit
from harness.results.report import EvalReport, first_error
from harness.sweep.cost.budget import Budget, SpendingFile
from harness.sweep.cost.case_cost import CasePrices
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.engines.base import Engine
from harness.sweep.finalist import Finalist
from harness.sweep.folder import SweepFolder, SweepRecord
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.run_names import sweep_name
from harness.sweep.search import Search
from harness.sweep.setup import SweepSetup
from harness.sweep.timing import with_times
from harness.sweep.trial import Trial, at_fault
from harness.sweep.verdict import SweepResult, choose
from harness.sweep.winner import write_winner
from harness.tracking import tracker
from harness.tracking.base import Run
from serving.pipeline.errors import InfrastructureError


async def run_sweep(
    setup: SweepSetup, folder: SweepFolder, estimate: SweepEstimate, *, observer: SweepObserver | None = None
) -> SweepResult:
    """Run a sweep in a folder, or go on with it there, and write its result and its winner.

    Whoever calls this has agreed to pay for hosted models. Pages and the tracking record are the observer's, in `sweep_finished`.
    """
    observer = observer or SweepObserver()
    with folder.locked():
        before = folder.record() if folder.exists() else None
        finished = folder.finished() if before else []
        setup.refuse_mixed(finished)
        with tracker(setup.settings, enabled=setup.options.tracking).run(
            sweep_name(folder.path.name), before.run_id if before else ""
        ) as run:
            run.tags({"touchstone.sweep": folder.path.name})
            record_start(setup, folder, estimate, run, before)
            if finished:
                run.forget({trial.run_id for trial in finished})
            search = make_search(setup, folder, estimate, run, observer, finished)
            result = await search_and_prove(setup, search, folder)
            folder.write_result(result)
            write_winner(result, setup.plan.corpus, folder.path)
            observer.sweep_finished(result, run)
    return result


def record_start(setup: SweepSetup, folder: SweepFolder, estimate: SweepEstimate, run: Run, before: SweepRecord | None) -> None:
    """Write down what the sweep is begun with; where it is gone on with, only its tracking run and the agreement may be new."""
    run_id = run.id if setup.options.tracking else ""  # a run in memory cannot be gone on with
    agreed = not setup.options.replay_only or (before is not None and before.agreed)
    if before is not None:
        changed = before.model_copy(update={"run_id": run_id or before.run_id, "agreed": agreed})
        if changed != before:
            folder.write_record(changed)
        return
    folder.write_record(
        SweepRecord(
            experiment=setup.experiment.model_dump(mode="json"),
            **setup.digests,
            corpus=setup.plan.corpus,
            champion=None if setup.champion is None else setup.champion.model_dump(mode="json"),
            run_id=run_id,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            estimate=estimate.model_dump(mode="json"),
            agreed=agreed,
        )
    )


def make_search(
    setup: SweepSetup,
    folder: SweepFolder,
    estimate: SweepEstimate,
    run: Run,
    observer: SweepObserver,
    finished: Sequence[Trial] = (),
    engine: Engine | None = None,
) -> Search:
    """The search with its engine and its budget."""
    experiment = setup.experiment
    costs_stored = setup.options.store and not experiment.judge  # a stored verdict does not say what it had cost
    budget = Budget(experiment.budget_usd, estimate.proof_usd, SpendingFile(folder.path), answers_stored=costs_stored)
    progress = SweepProgress(experiment.trials, spent_usd=budget.spent_usd)
    progress.count(setup.worker.take_counts())  # the estimate may have built the base's index
    prices = CasePrices(experiment, setup.worker.factory, setup.golden)
    dispatcher = Dispatcher(engine or setup.engine(), prices, budget, progress, experiment.block, observer)
    return Search(experiment, dispatcher, folder, run, finished)


async def search_and_prove(setup: SweepSetup, search: Search, folder: SweepFolder) -> SweepResult:
    """Search on the tune split; then look at the holdout, which is written down, and choose."""
    begin = time.monotonic()
    engine, experiment = search.dispatcher.engine, setup.experiment
    await engine.start()
    try:
        trials = await search.search(setup.golden.tune(), setup.starts)
        holdout = setup.golden.holdout(why=f"sweep {folder.path.name}", ledger=setup.settings.holdout_ledger)
        finalists = await with_times(setup, search.dispatcher, await prove(search, trials, holdout))
    finally:
        await engine.stop()
    choice = choose(finalists, experiment.goal, margin=experiment.margin, cheaper_by=experiment.cheaper_by)
    return SweepResult(
        experiment,
        tuple(trials),
        tuple(finalists),
        choice.winner,
        choice.reason,
        search.run.id,
        search.run.url,
        ended=search.ended,
        spent_usd=search.dispatcher.budget.spent_usd,
        seconds=round(time.monotonic() - begin, 1),
        counts=search.progress.counts,
    )


async def prove(search: Search, trials: Sequence[Trial], holdout: HoldoutSplit) -> list[Finalist]:
    """Score the incumbent, the base and the best few on questions the search never saw; the incumbent comes first."""
    experiment, goal = search.experiment, search.experiment.goal
    starts = [trial for trial in trials if trial.label]
    incumbent = starts[-1]  # the champion, where there is one
    sign = 1.0 if experiment.direction(goal) == "higher" else -1.0
    candidates = search.undominated([trial for trial in trials if trial.usable and not trial.label])
    best = sorted(candidates, key=lambda trial: (-trial.merit(sign), trial.number))[: experiment.finalists]
    challengers = [trial for trial in starts if trial is not incumbent and trial.usable] + best
    incumbent_report = await _score_finalist(search, incumbent, holdout)
    if crashed := at_fault(incumbent_report, incumbent_report):
        raise InfrastructureError(
            f"The {incumbent.name} crashed on {len(crashed)} holdout cases; nothing can be held against it: {first_error(incumbent_report)}"
        )
    reports = [await _score_finalist(search, trial, holdout) for trial in challengers]
    comparisons = [compare_metric(incumbent_report, report, goal, margin=experiment.margin, among=len(reports)) for report in reports]
    proven = [Finalist(*one) for one in zip(challengers, reports, comparisons, strict=True)]
    return [Finalist(incumbent, incumbent_report, None), *proven]


async def _score_finalist(search: Search, trial: Trial, holdout: HoldoutSplit) -> EvalReport:
    """Its report on the holdout, recorded in a child run."""
    report = await search.dispatcher.score_all(trial.config, holdout)
    with search.run.child(f"finalist · {trial.title}") as run:
        record_evaluation(run, report, holdout)
    return report
