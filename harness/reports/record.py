"""Logs a sweep to a tracker: the verdict, the totals, its trials, its charts and its files."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.evaluation.record import PARAMETER_LENGTH, made_by
from harness.reports.charts import figures
from harness.reports.findings import SweepFindings
from harness.reports.sweep import CHAMPION, EXPERIMENT, config_text, experiment_text
from harness.results.numbers import numbers
from harness.sweep.journal import journal
from harness.sweep.trial import whole_cases
from harness.sweep.verdict import SweepResult
from harness.tracking.base import Run


def record_sweep(run: Run, result: SweepResult, files: Sequence[Path]) -> None:
    """Log on the parent what the sweep decided, what it cost, its trials as a table and as an Optuna study, its charts, the files."""
    experiment, winner = result.experiment, result.winner
    values = winner.trial.config.flat()
    run.params({"objective": ", ".join(experiment.objective), "seed": experiment.seed, "sampler": experiment.sampler})
    run.tags(
        {
            "touchstone.experiment": experiment.name,
            "touchstone.experiment_digest": experiment.digest,
            "touchstone.golden": experiment.golden,
            "touchstone.golden_digest": winner.holdout.header.golden_digest,
            "touchstone.corpus_digest": winner.holdout.header.corpus_digest,
            **made_by(winner.holdout.header),
            "touchstone.verdict": result.verdict,
            "touchstone.reason": result.reason,
            "touchstone.ended": result.ended,
            "touchstone.winner": str(winner.trial.number),
            "touchstone.config_digest": winner.holdout.header.config_digest,
            "touchstone.money": "simulated" if winner.holdout.simulated else "billed",
            # not parameters: those cannot change, and a sweep that is gone on with may find another winner
            **{f"winner.{knob.path}": str(values.get(knob.target, "–"))[:PARAMETER_LENGTH] for knob in experiment.knobs},
        }
    )
    run.metrics({f"holdout.{name}": value for name, value in numbers(winner.holdout).items() if name in winner.holdout.summary})
    run.metrics(_totals(result))
    run.history(f"tune.{experiment.goal}", [trial.objective for trial in result.trials])
    run.table("trials.json", _trial_rows(result))
    run.text("study.journal", journal(experiment, result.trials))
    run.text(EXPERIMENT, experiment_text(experiment))
    findings = SweepFindings(experiment, result.trials, result)
    if findings.champion:
        run.text(CHAMPION, config_text(findings.champion.config))
    for name, figure in figures(findings).items():
        run.text(f"plots/{name}.json", json.dumps(figure, ensure_ascii=False))
    for path in files:
        run.text(path.name, path.read_text(encoding="utf-8"))


def _totals(result: SweepResult) -> dict[str, float | None]:
    """What the sweep came to and what it took."""
    winner, goal = result.winner, result.experiment.goal
    states = Counter(trial.state for trial in result.trials)
    totals: dict[str, float | None] = {"spent_usd": result.spent_usd, "seconds": result.seconds, "trials": float(len(result.trials))}
    totals |= {f"trials.{state}": float(states[state]) for state in ("complete", "pruned", "failed")}
    totals |= {f"store.{stage}.{name}": float(count) for stage, counts in result.counts.items() for name, count in counts.items()}
    totals |= {f"winner.tune.{goal}": winner.trial.objective, f"incumbent.holdout.{goal}": result.incumbent.holdout.mean(goal)}
    if comparison := winner.against:
        totals |= {
            "difference": comparison.difference,
            "difference.low": comparison.low,
            "difference.high": comparison.high,
            "difference.p": comparison.p_value,
        }
    return totals


def _trial_rows(result: SweepResult) -> Iterator[dict[str, Any]]:
    names = result.experiment.objective
    whole = whole_cases(result.trials)
    for trial in result.trials:
        values = numbers(trial.report)
        yield {
            "trial": trial.number,
            "label": trial.label,
            "state": trial.state,
            "why": trial.why,
            "cases": len(trial.report.rows),
            "of": whole,
            **(dict(zip(names, trial.objectives, strict=True)) if trial.objectives else dict.fromkeys(names)),
            **{name: values.get(name) for name in ("cost.usd", "ms.total.p95") if name not in names},
            **{path: trial.values.get(path) for path in result.experiment.space},
            "run": trial.run_id,
        }
