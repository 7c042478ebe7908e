"""How many cases the finalists are timed on: none where an answer is paid for, unless the experiment asks for it."""

from collections.abc import Sequence

from harness.evaluation.timing import CASES, FEWEST, WARM
from harness.sweep.experiment import Experiment
from harness.sweep.space.bounds import answer_models, hosted
from serving.pipeline.config import RagConfig
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.base import Billed


def timed_cases(experiment: Experiment, configs: Sequence[RagConfig], available: int) -> int:
    """How many of the available cases are timed; 0 where they are too few to say anything."""
    asked = experiment.timing_cases
    if asked is None:
        asked = 0 if any(map(needs_paid_model, configs)) else CASES
    count = min(asked, available)
    return count if count >= FEWEST else 0


def timed_answers(cases: int, finalists: int) -> int:
    """How many answers that takes, those of the warm-up included."""
    return (cases + min(WARM, cases)) * finalists


def needs_paid_model(config: RagConfig) -> bool:
    """Whether an answer takes a hosted model, which is paid for."""
    names = [config.index.embedder.name, *(spec.name for spec in answer_models(config).values())]
    return any(map(hosted, names)) or issubclass(RERANKERS.load(config.retrieve.reranker.name), Billed)
