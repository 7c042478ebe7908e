"""Whether a golden set can score an objective: asked of the metric itself before anything runs."""

from collections.abc import Iterable, Sequence

from harness.golden.case import Case
from harness.golden.sets import GoldenSet
from harness.judges.tools import Tools
from harness.metrics import DEFAULT, METRICS, is_judged, metric
from harness.results.score import Metric
from harness.sweep.experiment import Experiment
from serving.pipeline.errors import ConfigError
from serving.pipeline.types import Answer, Chunk, Hit, Query, Trace


def refuse_unscorable(experiment: Experiment, golden: GoldenSet, tools: Tools | None) -> None:
    """A `ConfigError` where an objective scores no case of one of the splits, whatever is answered; it names one that scores both."""
    tune = golden.tune().head(experiment.cases).cases
    holdout = [case for case in golden.cases if golden.split_of(case) == "holdout"]  # their fields only: no look at the holdout
    for name in experiment.objective:
        scorer = _scorer(name, tools)
        for split, cases in (("tune", tune), ("holdout", holdout)):
            if cases and scorer and (reason := _unscored(scorer, cases)):
                others = [other for other in dict.fromkeys([*experiment.metrics, *DEFAULT]) if other not in experiment.objective]
                able = next((other for other in others if _scores(_scorer(other, tools), tune, holdout)), "")
                mend = f"Choose another objective, such as {able!r}" if able else "Choose another golden set"
                raise ConfigError(
                    f"experiment {experiment.name!r}: objective {name!r} can score none of the {len(cases)} {split} cases of {golden.id}: "
                    f"{reason}. {mend}, or add what it needs to the cases."
                )


def _scorer(name: str, tools: Tools | None) -> Metric | None:
    """The metric where it is one of ours that needs a case and no judge; of any other nobody can tell beforehand."""
    if name.partition("@")[0] not in METRICS.own_names() or name.endswith(".coverage"):
        return None
    scorer = metric(name, tools)
    return scorer if not is_judged(scorer) and scorer.needs_case else None


def _scores(scorer: Metric | None, *splits: Sequence[Case]) -> bool:
    return scorer is not None and not any(_unscored(scorer, cases) for cases in splits if cases)


def _unscored(scorer: Metric, cases: Iterable[Case]) -> str:
    """Why it scores none of the cases; empty where it scores one."""
    reason = ""
    for case in cases:
        for trace in _imagined(case):
            score = scorer.score(trace, case)
            if score.value is not None:
                return ""
            reason = score.reason
    return reason


def _imagined(case: Case) -> tuple[Trace, Trace]:
    """A refusal of a case, and an answer with a passage: a metric that takes neither does not take the case."""
    hit = Hit(Chunk("imagined", next(iter(case.documents), "imagined"), 0, 1, "x"), 1.0, 1)
    refused = Trace("imagined", Query(case.question), "", "", answer=Answer("", refused=True))
    answered = Trace("imagined", Query(case.question), "", "", hits=(hit,), passages=(hit,), answer=Answer("x"))
    return refused, answered
