"""What other tools say of planted scores: this file runs in their own environment, a line of scores in, a line of verdict out.

python bench/_peers.py mlflow|ragops|means PAIRS ANSWERS
"""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

MARGIN, GATE_MARGIN = 0.02, 0.05
METRIC = "quality"
COARSE, FINE = 2.0**26, 2.0**69  # steps of a score's two parts, each with few enough digits that sums of hundreds are exact
FEW = 14  # cases of the pairs that MLflow also evaluates as runs in a store, which takes it seconds


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Scores of the incumbent and of a candidate on the same cases."""

    cell: int
    number: int
    before: Sequence[float]
    after: Sequence[float]
    interval: bool = False  # ask for the tool's interval too, where it is slow
    checked: bool = False  # ask twice: by the shortcut taken here, and as its documentation says


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What a tool says of a pair; `None` where it says nothing of the kind."""

    cell: int
    number: int
    called: str | None = None  # better, worse or none
    by_interval: str | None = None  # the same read off its interval
    passes: bool | None = None  # its own gate


@dataclass(frozen=True, slots=True)
class PeerAnswers:
    """All that a tool said, and how."""

    versions: Mapping[str, str]
    answers: tuple[PeerAnswer, ...]
    checked: int  # pairs of which shortcut and documented use said the same
    seconds: float


def write_pairs(path: Path, pairs: Iterable[ScoredPair]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(pair)) + "\n" for pair in pairs)


def read_pairs(path: Path) -> Iterator[ScoredPair]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield ScoredPair(**json.loads(line))


def read_answers(path: Path) -> PeerAnswers:
    """The answers of a run that came to its end; a `ValueError` for one that did not."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if len(lines) < 2 or set(lines[-1]) != {"versions", "checked", "seconds"}:
        raise ValueError(f"{path} ends after {len(lines)} lines without the line of versions: the run broke off.")
    return PeerAnswers(answers=tuple(PeerAnswer(**line) for line in lines[:-1]), **lines[-1])


def side(low: float, high: float) -> str:
    """The verdict read off an interval of the difference."""
    return "better" if low > 0 else "worse" if high < 0 else "none"


# ---- the tools -------------------------------------------------------------------------------------------------------------


class Means:
    """The rule without statistics: the means differ by more than the margin."""

    packages = ()
    checked = 0

    def judge(self, pair: ScoredPair) -> PeerAnswer:
        difference = fmean(pair.after) - fmean(pair.before)
        called = side(difference - MARGIN, difference + MARGIN)
        return PeerAnswer(pair.cell, pair.number, called, passes=difference >= -GATE_MARGIN)


class Mlflow:
    """`mlflow.genai.compare_evaluations` and `assert_improved` with their defaults.

    Runs are read from memory in place of a tracking store, and the bootstrap, which `assert_improved` does not look at, is left out
    where no interval is asked for; pairing, tests and verdict are MLflow's.
    """

    packages = ("mlflow", "scipy", "numpy")

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="peers-")
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/m.db"}
        import mlflow
        from mlflow.entities.assessment import Feedback
        from mlflow.genai.evaluation.comparison import comparison, paired_comparison, utils

        self.checked = 0
        self._mlflow, self._feedback, self._row = mlflow, Feedback, utils._EvalRow
        self._comparison, self._paired = comparison, paired_comparison
        self._load, self._bootstrap = comparison._load_eval_rows, paired_comparison._bootstrap_mean_ci

    def judge(self, pair: ScoredPair) -> PeerAnswer:
        runs = {"before": self._rows("before", pair.before), "after": self._rows("after", pair.after)}
        self._comparison._load_eval_rows = runs.__getitem__
        self._paired._bootstrap_mean_ci = self._bootstrap if pair.interval else lambda *_: (math.nan, math.nan)
        result = self._mlflow.genai.compare_evaluations(candidate_run_id="after", baseline_run_id="before")
        if pair.checked and len(pair.before) <= FEW:
            self._check(pair, result.scorers[METRIC])
        held = result.scorers[METRIC]
        improved = _asserted(result)
        worse = _asserted(replace(result, scorers={METRIC: replace(held, greater_is_better=False)}))
        called = "better" if improved else "worse" if worse else "none"
        return PeerAnswer(pair.cell, pair.number, called, side(held.ci_low, held.ci_high) if pair.interval else None, improved)

    def _rows(self, run: str, values: Sequence[float]) -> list[Any]:
        """What MLflow reads of a run: a trace and its feedback for each case."""
        return [
            self._row(f"{run}-{place}", f"case-{place}", None, False, {METRIC: [self._feedback(name=METRIC, value=value)]})
            for place, value in enumerate(values)
        ]

    def _check(self, pair: ScoredPair, held: Any) -> None:
        """That two runs by `mlflow.genai.evaluate`, compared in the store, have the same test and p-value."""
        self._comparison._load_eval_rows = self._load
        stored = self._mlflow.genai.compare_evaluations(
            candidate_run_id=self._evaluate(pair.after), baseline_run_id=self._evaluate(pair.before)
        ).scorers[METRIC]
        assert (stored.method, stored.n_paired) == (held.method, held.n_paired), (stored, held)
        assert math.isclose(stored.p_value, held.p_value), (stored, held)
        assert math.isclose(stored.diff, held.diff, abs_tol=1e-12), (stored, held)
        self.checked += 1

    def _evaluate(self, values: Sequence[float]) -> str:
        scorer = self._mlflow.genai.scorer(name=METRIC)(lambda outputs: float(outputs))
        data = [{"inputs": {"question": f"case {place}"}, "outputs": repr(value)} for place, value in enumerate(values)]
        run: str = self._mlflow.genai.evaluate(data=data, scorers=[scorer]).run_id
        return run


def _asserted(result: Any) -> bool:
    try:
        result.assert_improved(scorers=[METRIC])
    except AssertionError:
        return False
    return True


class Ragops:
    """`ragops.compare_replay_bundles` (`ragops compare-runs`) with its published example's policy and the gate's margin.

    Its bootstrap draws cases by a hash of seed, metric and place, the same ones for every pair of one size. How often each was drawn is
    remembered here, and the means are taken by a product of matrices that rounds as `fmean` does. All else is its own.
    """

    packages = ("ragops",)

    def __init__(self) -> None:
        from ragops import compare_replay_bundles, replay_bundle_from_dict, statistical
        from ragops.models import StatisticalMetricGate, StatisticalPolicy

        self.checked = 0
        self._compare, self._bundle = compare_replay_bundles, replay_bundle_from_dict
        self._statistical, self._bootstrap = statistical, statistical._bootstrap_metric
        gate = StatisticalMetricGate(direction="higher", max_regression=GATE_MARGIN, minimum=0.0)
        self._policy = StatisticalPolicy(confidence=0.95, minimum_cases=3, resamples=1000, seed=20260715, metric_gates={METRIC: gate})
        self._counts: dict[int, Any] = {}  # by the number of cases: how often each resample drew each case

    def judge(self, pair: ScoredPair) -> PeerAnswer:
        bundles = self._records(pair.before), self._records(pair.after)
        self._statistical._bootstrap_metric = self._remembered
        report = self._compare(*bundles, self._policy)
        if pair.checked:
            self._statistical._bootstrap_metric = self._bootstrap
            whole = self._compare(*bundles, self._policy)
            assert whole.to_dict() == report.to_dict(), (whole, report)
            self.checked += 1
        return PeerAnswer(pair.cell, pair.number, passes=report.passed)

    def _records(self, values: Sequence[float]) -> Any:
        axes = ("dataset", "evidence", "evaluator", "application", "model", "model_config", "environment")
        records = [{"case_id": f"case-{place}", "repeat_id": "1", "metrics": {METRIC: value}} for place, value in enumerate(values)]
        provenance = dict.fromkeys(axes, "planted")
        return self._bundle(
            {"schema_version": "0.1", "scenario_id": "s", "scenario_digest": "d", "provenance": provenance, "records": records}
        )

    def _remembered(
        self, cases: Sequence[str], before: Any, after: Any, metric: str, *, resamples: int, seed: int
    ) -> tuple[list[float], list[float]]:
        """The bootstrap of cases with one observation each."""
        import numpy as np

        count = len(cases)
        if count not in self._counts:
            index = self._statistical._index
            drawn = [[index(seed, metric, number, "case", draw, count) for draw in range(count)] for number in range(resamples)]
            self._counts[count] = np.array([np.bincount(one, minlength=count) for one in drawn], dtype=float)
        scores = np.array([[values[case][0][metric] for values in (after, before)] for case in cases])
        coarse = np.floor(scores * COARSE) / COARSE
        fine = scores - coarse
        assert not (fine * FINE % 1).any()  # then both products are exact, and their sum is rounded once
        means = (self._counts[count] @ coarse + self._counts[count] @ fine) / count
        return means[:, 0].tolist(), (means[:, 0] - means[:, 1]).tolist()


TOOLS: dict[str, Callable[[], Any]] = {"mlflow": Mlflow, "ragops": Ragops, "means": Means}


def main(name: str, pairs: Path, answers: Path) -> None:
    begin = time.perf_counter()
    tool = TOOLS[name]()
    with answers.open("w", encoding="utf-8") as file:
        for pair in read_pairs(pairs):
            file.write(json.dumps(asdict(tool.judge(pair))) + "\n")
        versions = {package: version(package) for package in tool.packages}
        file.write(json.dumps({"versions": versions, "checked": tool.checked, "seconds": time.perf_counter() - begin}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
