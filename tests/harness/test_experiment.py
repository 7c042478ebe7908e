from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.sweep.experiment import load_experiment
from harness.sweep.space import contains
from serving.pipeline.errors import ConfigError

GOOD: dict[str, Any] = {"name": "e", "golden": "techcorp/v1", "space": {"retrieve.top_k": {"int": [3, 9], "step": 2}}}


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_every_shipped_experiment_loads() -> None:
    shipped = sorted(Path("experiments").glob("*.yaml"))
    assert shipped
    for path in shipped:
        assert load_experiment(path).name == path.stem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"retrieve.topk": {"int": [1, 2]}}}, "no config field 'retrieve.topk'. Did you mean 'retrieve.top_k'"),
        ({"space": {"retrieve.top_k": {"int": [0, 5]}}}, "'retrieve.top_k': 0 does not fit"),
        ({"space": {"retrieve.top_k": {"int": [5, 3]}}}, "range .5, 3. is empty"),
        ({"space": {"retrieve.top_k": {"int": [1, 9], "step": 2, "log": True}}}, "a logarithmic range"),
        ({"space": {"retrieve.fusion.weight": {"float": [0.0, 0.8], "log": True}}}, "a logarithmic range"),
        ({"space": {"retrieve.top_k": {"choice": []}}}, "'retrieve.top_k': choice"),
        ({"space": {"retrieve.top_k": {"choice": ["few"]}}}, "'few' does not fit"),
        ({"space": {"retrieve.top_k": {"integer": [1, 2]}}}, "needs int: .low, high."),
        ({"space": {"retrieve.top_k": {"int": [1, 2], "stepp": 1}}}, "unknown key 'stepp'. Did you mean 'step'"),
        ({"space": {}}, "space"),
        ({"objective": "qualty"}, "objective 'qualty' is not among the metrics"),
        ({"metrics": ["recal@5"], "objective": "recal@5"}, "No metric 'recal@5'. Did you mean 'recall'"),
        ({"trails": 5}, "unknown key 'trails'. Did you mean 'trials'"),
        ({"base": {"retrieve": {"topk": 1}}}, "unknown key 'retrieve.topk'"),
    ],
)
def test_a_wrong_experiment_is_one_line_before_anything_runs(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_experiment(written(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_values_off_the_grid_are_not_in_the_space(tmp_path: Path) -> None:
    space = load_experiment(written(tmp_path)).space
    assert contains(space, {"retrieve.top_k": 5})
    assert not contains(space, {"retrieve.top_k": 4})
    assert not contains(space, {"retrieve.top_k": 11})
    assert not contains(space, {})


def test_prose_does_not_change_an_experiments_digest_and_everything_else_does(tmp_path: Path) -> None:
    plain = load_experiment(written(tmp_path)).digest
    assert load_experiment(written(tmp_path, about="why")).digest == plain
    assert load_experiment(written(tmp_path, seed=8)).digest != plain


def test_a_parameter_that_the_chosen_plug_in_lacks_is_left_out(tmp_path: Path) -> None:
    space = {"retrieve.reranker.name": {"choice": ["none", "mmr"]}, "retrieve.reranker.relevance": {"float": [0.1, 0.9]}}
    experiment = load_experiment(written(tmp_path, space=space))
    plain = experiment.apply({"retrieve.reranker.name": "none", "retrieve.reranker.relevance": 0.3})
    assert plain.retrieve.reranker.params == {}
    varied = experiment.apply({"retrieve.reranker.name": "mmr", "retrieve.reranker.relevance": 0.3})
    assert varied.retrieve.reranker.params["relevance"] == 0.3
