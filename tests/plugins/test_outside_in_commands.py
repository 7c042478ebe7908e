"""Metrics and judges of the current folder in eval, gate and experiment, as a user names them."""

import sys
from collections.abc import Iterator

import pytest
import yaml

from harness.judges import JUDGES
from harness.metrics import METRICS
from harness.results.report_file import read_report
from tests.plugins.writing import forget
from tests.support.world import CONFIG, World

HERE = '''
from harness.judges.base import Verdict
from harness.metrics.base import Scoring
from serving.pipeline.registry import Params


class Brief(Scoring):
    """Whether the answer is brief."""
    version, label = "1", "brief"
    def measure(self, trace, case):
        return self.give(float(len(trace.answer.text) < 200))


class Wordy(Brief):
    """Its opposite."""
    label, direction = "wordy", "lower"
    def measure(self, trace, case):
        return self.give(float(len(trace.answer.text) >= 200))


class Lenient:
    """Finds that every claim is supported."""
    version = "1"
    class Params(Params):
        label: str = "supported"
    name, id = "lenient", "lenient-1"
    def __init__(self, params, *, settings, tasks, store=None, replay_only=False):
        self._label = params.label
    async def judge(self, task, values):
        return Verdict(self._label)
'''


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The small world with a module of scores in its folder."""
    (world.root / "stylemod.py").write_text(HERE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield world
    sys.modules.pop("stylemod", None)
    for table in (METRICS, JUDGES):
        table._outside.clear()
    forget()


@pytest.mark.slow
def test_an_evaluation_takes_a_metric_and_a_judge_by_import_path(here: World) -> None:
    judged = ("--metric", "judge_groundedness", "--judge", "stylemod:Lenient")
    said = here.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--name", "a", "-m", "stylemod:Brief", *judged)
    assert said.code == 0, said.err
    assert "stylemod:Brief" in said.out
    report = read_report(here.root / "reports/runs/a/cases.jsonl")
    assert report.header.metric_versions["stylemod:Brief"].startswith("1 source ")
    assert report.header.judge.startswith("stylemod:Lenient ")
    judged_scores = [score.value for row in report.rows for score in row.scores if score.metric == "judge_groundedness"]
    assert set(judged_scores) - {None} == {1.0}

    wrong = here.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "-m", "stylemod:Brief@5")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    wrong = here.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "-m", "stylemod:Brif")
    assert (wrong.code, "has no 'Brif'" in wrong.err) == (2, True)


@pytest.mark.parametrize(("rule", "code"), [({"rule": "floor", "at_least": 0.9}, 0), ({"rule": "floor", "at_least": 1.1}, 1)])
def test_a_gate_reads_a_metric_by_import_path(here: World, rule: dict[str, object], code: int) -> None:
    gate = {
        "name": "style",
        "golden": "tiny/v1",
        "split": "all",
        "metrics": ["quality"],
        "rules": [{**rule, "id": "brief", "metric": "stylemod:Brief"}],
    }
    (here.root / "style.yaml").write_text(yaml.safe_dump(gate))
    said = here.touchstone("gate", "style.yaml", "-c", "tiny.yaml")
    assert said.code == code, said.out + said.err


def test_a_gate_knows_which_way_such_a_metric_is_better(here: World) -> None:
    gate = {"name": "style", "golden": "tiny/v1", "rules": [{"id": "wordy", "rule": "floor", "at_least": 0.9, "metric": "stylemod:Wordy"}]}
    (here.root / "style.yaml").write_text(yaml.safe_dump(gate))
    said = here.touchstone("gate", "style.yaml", "-c", "tiny.yaml")
    assert said.code == 2
    assert "less is better, so write rule: ceiling" in said.err


def test_an_experiment_searches_for_such_a_metric_with_a_part_by_import_path(here: World) -> None:
    experiment = {"name": "style", "golden": "tiny/v1", "base": CONFIG, "trials": 2, "finalists": 1, "sampler": "grid"}
    experiment |= {"objective": "stylemod:Brief", "metrics": ["stylemod:Brief", "quality"]}
    experiment["space"] = {
        "retrieve.reranker.name": {"choice": ["none", "serving.pipeline.retrieve.mmr:MmrReranker"]},
        "retrieve.reranker.serving.pipeline.retrieve.mmr:MmrReranker.relevance": {"choice": [0.2]},
    }
    (here.root / "style.yaml").write_text(yaml.safe_dump(experiment))
    said = here.touchstone("sweep", "style.yaml", "--no-tracking", "--json")
    assert said.code == 0, said.err
    assert "stylemod:Brief" in said.out
