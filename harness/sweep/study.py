"""A sweep from first trial to verdict: search on the tune split, prove on the holdout, choose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compare import held_against
from harness.evaluate import Evaluator
from harness.golden.sets import HoldoutSplit, Split, TuneSplit
from harness.results import EvalReport
from harness.stats import holm
from harness.sweep.experiment import Experiment
from harness.sweep.space import contains, suggest
from harness.sweep.verdict import Finalist, SweepResult, Tried, choose
from harness.tracking.base import Run
from harness.tracking.record import record_evaluation
from harness.workshop import Workshop
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import InfrastructureError

if TYPE_CHECKING:
    import optuna

Progress = Callable[[str, int, int], None]  # what is being done, cases done, cases in all
Announce = Callable[[Tried], None]


@dataclass(frozen=True)
class Sweep:
    """An experiment with all it needs to run."""

    experiment: Experiment
    workshop: Workshop
    run: Run
    journal: Path  # where Optuna writes its trials down
    progress: Progress = lambda what, done, total: None
    announce: Announce = lambda tried: None

    async def search(self, tune: TuneSplit) -> list[Tried]:
        """Run the trials, the base first; a configuration met twice is scored once."""
        experiment, cases = self.experiment, tune.head(self.experiment.cases)
        from optuna.trial import TrialState

        study = _study(experiment, self.journal)
        tried = [await self._try(0, {}, experiment.config, cases)]
        while len(tried) < experiment.trials and len(study.trials) < 3 * experiment.trials:
            trial = study.ask()
            values = suggest(trial, experiment.space)
            config = experiment.apply(values)
            known = next((other for other in tried if other.config == config), None)
            if known is None:
                known = await self._try(len(tried), values, config, cases)
                tried.append(known)
            if known.crashed:  # a mean over the cases it survived would flatter it
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, known.objective)
        return tried

    async def prove(self, tried: Sequence[Tried], holdout: HoldoutSplit) -> SweepResult:
        """Score the base and the best few on questions the search never saw, and choose among them."""
        whole = [other for other in tried[1:] if not other.crashed]
        best = sorted(whole, key=lambda other: (-other.objective, other.number))[: self.experiment.finalists]
        name = self.experiment.objective
        base, *others = [(await self._evaluate(f"finalist {one.number}", one.config, holdout))[0] for one in [tried[0], *best]]
        if base.errors:
            raise InfrastructureError(
                f"The base crashed on {len(base.errors)} holdout cases; nothing can be held against it: {_first(base)}"
            )
        against = holm([held_against(base, other, name) for other in others])
        proven = [Finalist(one, report, held) for one, report, held in zip(best, others, against, strict=True)]
        finalists = [Finalist(tried[0], base, None), *proven]
        choice = choose(finalists, name)
        return SweepResult(self.experiment, tuple(tried), tuple(finalists), choice.winner, choice.reason, self.run.id, self.run.url)

    async def _try(self, number: int, values: dict[str, Any], config: RagConfig, cases: Split) -> Tried:
        what = f"trial {number}"
        report, run_id = await self._evaluate(what, config, cases)
        value = report.mean(self.experiment.objective)
        if value is None or (report.errors and number == 0):
            raise InfrastructureError(f"{what}: {len(report.errors)} of {len(report.rows)} cases crashed: {_first(report)}")
        tried = Tried(number, values, config, report, value, run_id)
        self.announce(tried)
        return tried

    async def _evaluate(self, what: str, config: RagConfig, split: Split) -> tuple[EvalReport, str]:
        """Score one configuration in a child run; an outage ends the sweep, since its scores would be of the outage."""
        evaluator = Evaluator(self.experiment.metrics, self.experiment.concurrency)
        with self.run.child(what) as run:
            report = await self.workshop.evaluate(config, split, evaluator, lambda done, total: self.progress(what, done, total))
            record_evaluation(run, report, config, split)
            if report.outages:
                raise InfrastructureError(f"{what}: {len(report.outages)} of {len(report.rows)} cases were not answered: {_first(report)}")
        return report, run.id


def _first(report: EvalReport) -> str:
    """The first error of a report in words, an outage before others; where none is, why the first case was not scored."""
    for row in [*report.outages, *report.errors]:
        if row.error:
            return f"{row.case.id}: {row.error.message}"
    return next((score.reason for row in report.rows for score in row.scores if score.value is None), "")


def _study(experiment: Experiment, journal: Path) -> "optuna.Study":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = experiment.seed
    sampler = optuna.samplers.TPESampler(seed=seed) if experiment.sampler == "tpe" else optuna.samplers.RandomSampler(seed=seed)
    journal.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name=experiment.name, direction="maximize", sampler=sampler)
    base = experiment.config.flat()
    values = {path: base.get(path) for path in experiment.space}
    if contains(experiment.space, values):
        study.enqueue_trial(values)  # the search starts from what there is
    return study
