from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.sweep.experiment import load_experiment
from harness.sweep.space.suggest import grid, study_values, values_at, values_of
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
        ({"margin": 0}, "margin"),
        ({"margin": 1.5}, "margin 1.5 is no difference of quality, which lies between 0 and 1"),
        ({"margin": float("inf")}, "margin"),
        ({"cheaper_by": 1.0}, "cheaper_by"),
        (
            {"objective": "length", "metrics": ["quality", "length"]},
            "length is no score between 0 and 1, so no margin is usual for it",
        ),
        (
            {"space": {"retrieve.reranker.mmr.relevanc": {"float": [0.1, 0.2]}}},
            "'mmr' has no parameter 'relevanc'. Did you mean 'relevance'",
        ),
        ({"space": {"retrieve.reranker.mmr.relevance": {"float": [0.1, 7.0]}}}, "7.0 does not fit"),
        ({"space": {"retrieve.top_k": {"int": [1, 2], "when": {"retrieve.candidate": 3}}}}, "'when' names 'retrieve.candidate'"),
        (
            {"space": {"retrieve.candidates": {"choice": [20]}, "retrieve.top_k": {"int": [1, 2], "when": {"retrieve.candidates": 3}}}},
            "'when' waits for retrieve.candidates = 3",
        ),
        ({"space": {"retrieve.fusion.weight": {"float": [0.1, 0.9]}}, "sampler": "grid"}, "'grid' needs a step for retrieve.fusion.weight"),
        ({"constraints": {"cost.us": {"at_most": 1}}}, "constraint 'cost.us' is not among the metrics. Did you mean 'cost.usd'"),
        ({"constraints": {"cost.usd": {}}}, "needs one of 'at_most' and 'at_least'"),
        ({"objective": ["cost.usd", "quality"]}, "the first objective 'cost.usd' must be a metric"),
        ({"engine": {"name": "dask"}}, "engine.name"),
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
    experiment = load_experiment(written(tmp_path))
    assert values_at(experiment, {"retrieve.top_k": 5}) == {"retrieve.top_k": 5}
    assert values_at(experiment, {"retrieve.top_k": 4}) is None
    assert values_at(experiment, {"retrieve.top_k": 11}) is None
    assert values_at(experiment, {}) is None


def test_a_configuration_that_differs_where_nothing_varies_has_no_place_in_the_space(tmp_path: Path) -> None:
    experiment = load_experiment(written(tmp_path))
    inside = experiment.apply({"retrieve.top_k": 5})
    assert values_of(experiment, inside) == {"retrieve.top_k": 5}
    assert values_of(experiment, inside.replace({"retrieve.candidates": 77})) is None


RERANKED: dict[str, Any] = {
    "retrieve.reranker.name": {"choice": ["none", "mmr", "maxsim"]},
    "retrieve.reranker.mmr.relevance": {"float": [0.2, 0.4], "step": 0.2},
    "retrieve.reranker.maxsim.weight": {"float": [0.5, 1.0], "step": 0.5},
    "retrieve.candidates": {"choice": [20, 40], "when": {"retrieve.reranker.name": ["mmr", "maxsim"]}},
}


def test_a_rerankers_own_parameter_counts_only_with_it(tmp_path: Path) -> None:
    experiment = load_experiment(written(tmp_path, space=RERANKED))
    values = {"retrieve.reranker.name": "mmr", "retrieve.reranker.mmr.relevance": 0.4, "retrieve.reranker.maxsim.weight": 1.0}
    config = experiment.apply(values)
    assert config.retrieve.reranker.params["relevance"] == 0.4
    assert "weight" not in config.retrieve.reranker.params
    assert study_values(experiment, values) == {"retrieve.reranker.name": "mmr", "retrieve.reranker.mmr.relevance": 0.4}
    assert values_at(experiment, config.flat() | {"retrieve.candidates": 20}) == {
        "retrieve.reranker.name": "mmr",
        "retrieve.reranker.mmr.relevance": 0.4,
        "retrieve.candidates": 20,
    }


def test_ends_that_fit_only_with_a_neighbours_end_are_fine(tmp_path: Path) -> None:
    space = {"index.chunker.size": {"choice": [100, 900]}, "index.chunker.overlap": {"choice": [0, 120]}}
    assert load_experiment(written(tmp_path, space=space)).knobs
    with pytest.raises(ConfigError, match="100 does not fit"):
        load_experiment(written(tmp_path, space={"index.chunker.size": {"choice": [100, 900]}}))


def test_a_grid_has_every_different_combination_once(tmp_path: Path) -> None:
    experiment = load_experiment(written(tmp_path, space=RERANKED, sampler="grid"))
    points = grid(experiment)
    assert len(points) == 1 + 2 * 2 + 2 * 2  # none alone; two ranges of two values each with two numbers of candidates
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert points == grid(experiment)
    assert points != grid(experiment.model_copy(update={"seed": 8}))


def test_one_parameter_name_of_two_plug_ins_has_two_names_in_the_study(tmp_path: Path) -> None:
    space = {"index.chunker.name": {"choice": ["recursive", "token"]}, "index.chunker.size": {"int": [200, 300], "step": 100}}
    experiment = load_experiment(written(tmp_path, space=space))
    names = [study_values(experiment, {"index.chunker.name": name, "index.chunker.size": 200}) for name in ("recursive", "token")]
    assert [list(one)[1] for one in names] == ["index.chunker.recursive.size", "index.chunker.token.size"]


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


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("quality", "higher"),
        ("input_tokens", "lower"),
        ("cost.usd", "lower"),
        ("quality.coverage", "higher"),
        ("latency_ms.coverage", "higher"),
    ],
)
def test_quality_and_coverage_are_better_high_money_and_time_low(tmp_path: Path, name: str, direction: str) -> None:
    assert load_experiment(written(tmp_path)).direction(name) == direction
