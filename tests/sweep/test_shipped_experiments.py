from pathlib import Path

import pytest

from harness.golden.load import load_golden
from harness.sweep.experiment import Experiment, load_experiment
from harness.sweep.optimizer.optimizer import Optimizer
from harness.sweep.space.suggest import values_at
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.prompts import PromptLibrary

SHIPPED = sorted(Path("experiments").glob("*.yaml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def shipped(request: pytest.FixtureRequest) -> Experiment:
    return load_experiment(request.param)


def test_which_experiments_are_shipped() -> None:
    shipped = ["cache", "cost", "everything", "guard", "models", "prompts", "quickstart", "retrieval", "routing", "second"]
    assert [path.stem for path in SHIPPED] == shipped


def test_its_base_lies_in_its_space_so_that_the_search_learns_from_it(shipped: Experiment) -> None:
    assert values_at(shipped, shipped.config.flat()) is not None


def test_its_golden_set_is_there_and_has_the_cases_it_asks_for(shipped: Experiment) -> None:
    assert len(load_golden(Path("datasets"), shipped.golden).tune().cases) >= (shipped.cases or 1)


def test_it_says_what_it_asks(shipped: Experiment) -> None:
    assert shipped.about.endswith("?")


@pytest.mark.slow
def test_what_it_suggests_can_nearly_always_be_built(shipped: Experiment) -> None:
    optimizer = Optimizer(shipped.model_copy(update={"sampler": "random"}))
    library, found = PromptLibrary(Path("prompts")), list[RagConfig]()
    for number in range(40):
        try:
            found.append(shipped.apply(optimizer.ask(number).values))  # type: ignore[union-attr]
        except ConfigError:
            continue
    assert len(found) >= 38
    assert all(library.texts(config.answer.prompt) for config in found)
    turned = {path for config in found for path, value in config.flat().items() if value != shipped.config.flat().get(path)}
    assert len(turned) >= len(shipped.knobs) * 0.9


def test_a_front_is_searched_without_a_pruner(shipped: Experiment) -> None:
    assert len(shipped.objective) == 1 or shipped.pruner.name == "none"
