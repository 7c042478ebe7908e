"""One trial from its start to its end: index, blocks of cases, pruning, its own tracking run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.evaluation.evaluator import raise_if_all_refused
from harness.evaluation.record import record_evaluation
from harness.golden.sets import Split
from harness.results.report import EvalReport
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.experiment import Experiment
from harness.sweep.prune import Pruner, Reference
from harness.sweep.race import Race
from harness.sweep.run_names import trial_name
from harness.sweep.trial import Trial, make_trial, merge_reports, unscored_report
from harness.tracking.base import Run
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import PromptError, RequestError


class TimeLimitReached(Exception):
    """The experiment's time limit was reached within a trial."""


@dataclass(frozen=True, slots=True)
class TrialStart:
    """The number, configuration and values of a trial."""

    number: int
    config: RagConfig
    values: Mapping[str, Any]  # at the space's knobs
    label: str = ""  # base, champion: such a trial must succeed, and is never pruned


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials of one experiment on the same cases."""

    experiment: Experiment
    dispatcher: Dispatcher
    run: Run  # of the sweep; each trial is a child of it
    cases: Split

    async def run_trial(self, start: TrialStart, base: EvalReport | None = None, reference: Reference | None = None) -> Trial:
        """Score a configuration. A refused request or a missing prompt fails the trial; for the base and the champion it is raised.

        `base` is the base's report, whose model may refuse the same questions; a trial that is worse than `reference` is pruned.
        """
        parts: list[EvalReport] = []
        pruned = failed = ""
        try:
            pruned = await self._score_in_blocks(parts, start, reference)
        except (RequestError, PromptError) as error:  # more context than the model takes, a prompt that is not there
            if start.label:
                raise
            failed = str(error)
        seen = replace(self.cases, cases=self.cases.cases[: sum(len(part.rows) for part in parts)])
        report = merge_reports(parts, self.cases.name, seen.digest) if parts else unscored_report(self.experiment, start.config, seen)
        trial = make_trial(self.experiment, start.number, start.values, start.config, report, base or report, failed)
        if pruned and trial.state == "complete":
            trial = replace(trial, state="pruned", why=pruned)
        share = f"{len(seen.cases)} of {len(self.cases.cases)}"
        name = trial_name(start.number, start.label, start.values)
        with self.run.child(f"{name} · pruned after {share}" if trial.state == "pruned" else name) as run:
            record_evaluation(run, report, seen)
            facts = {"trial": str(start.number), "state": trial.state, "why": trial.why, "cases": share}
            run.tags({f"touchstone.{fact}": value for fact, value in facts.items()})
        return replace(trial, label=start.label, run_id=run.id)

    @property
    def out_of_time(self) -> bool:
        """Whether the experiment's time limit has passed."""
        return self.dispatcher.progress.is_past(self.experiment.timeout_s)

    async def _score_in_blocks(self, parts: list[EvalReport], start: TrialStart, reference: Reference | None) -> str:
        """Add a report for each block of cases; returns why the trial was pruned, or nothing."""
        await self.dispatcher.build_index(start.config)
        rules, goal = self.experiment.pruner, self.experiment.goal
        pruner = (Race if rules.name == "race" else Pruner)(rules, goal, self.experiment.direction(goal) == "higher")
        blocks = self.dispatcher.blocks(start.config, self.cases)
        for block in blocks:
            if parts and self.out_of_time and not start.label:
                raise TimeLimitReached
            parts.append(await self.dispatcher.score_block(start.config, block, f"trial {start.number}"))
            raise_if_all_refused([row for part in parts for row in part.rows])
            if block is not blocks[-1] and (reason := pruner.reason(parts, reference)):
                return reason
        return ""
