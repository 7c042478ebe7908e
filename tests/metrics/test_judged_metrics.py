"""Metrics that ask a judge: what is asked of which trace, and what a label is worth."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.golden.case import Case
from harness.judges import connect_judge
from harness.judges.base import Verdict
from harness.judges.tasks import Tasks
from harness.judges.tools import Tools
from harness.metrics import METRICS, metric
from harness.metrics.judged import JUDGED, task_of
from harness.results.score import JudgedMetric, Score
from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Trace
from tests.support.making import a_case, a_hit, a_trace, unanswerable
from tests.support.world import REPOSITORY

SETTINGS = PipelineSettings(_env_file=None, prompts=REPOSITORY / "prompts")
TASKS = Tasks(SETTINGS.prompts)
NAMES = [kind.label for kind in JUDGED]
ANSWERED = a_trace(a_hit(0, 15), a_hit(20, 30, rank=2), answer="30 days [1].", cited=(0,))


def tools(**script: Any) -> Tools:
    spec = Spec.model_validate({"name": "scripted"} | script)
    return Tools(SETTINGS, judge=connect_judge(spec, SETTINGS, PromptLibrary(SETTINGS.prompts)))


def made(name: str, given: Tools) -> JudgedMetric:
    found = metric(name, given)
    assert found.needs_judge
    return found  # type: ignore[return-value]


def ask(name: str, trace: Trace = ANSWERED, case: Case | None = None, **script: Any) -> Score:
    return asyncio.run(made(name, tools(**script)).ask(trace, case or a_case()))


@pytest.mark.parametrize("name", NAMES)
def test_each_label_is_worth_what_the_prompt_file_says(name: str) -> None:
    task = TASKS.get(str(task_of(name)))
    for label, worth in task.values.items():
        score = ask(name, labels=[label])
        assert (score.metric, score.value) == (name, worth)
        assert f"{label}: by the script" in score.reason


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_without_a_verdict_is_unscored_with_the_judges_reason(name: str) -> None:
    score = ask(name, rules=[{"reason": "votes were split: a 1, b 1, c 1"}])
    assert score.value is None
    assert "votes were split" in score.reason


@pytest.mark.parametrize("name", NAMES)
def test_an_outage_of_the_judge_raises(name: str) -> None:
    with pytest.raises(ModelError):
        ask(name, rules=[{"outage": True}])


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_without_a_judge_says_how_to_name_one(name: str) -> None:
    with pytest.raises(ConfigError, match="--judge local"):
        metric(name, Tools(SETTINGS))


@pytest.mark.parametrize("name", NAMES)
def test_the_version_covers_the_prompt(name: str, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(SETTINGS.prompts / "judge", tmp_path / "judge")
    for page in (tmp_path / "judge").glob("*/v1.md"):
        page.write_text(page.read_text().replace("Reply with one JSON object", "Give one JSON object"))
    given = tools(labels=[None])
    assert made(name, given).version == made(name, given).version
    changed = replace(given, settings=SETTINGS.model_copy(update={"prompts": tmp_path}))
    assert made(name, given).version != made(name, changed).version


def test_only_harm_is_better_when_lower() -> None:
    given = tools()
    assert [name for name in NAMES if made(name, given).direction == "lower"] == ["judge_toxicity", "judge_bias"]


def test_every_judged_metric_stands_in_the_table_under_its_name() -> None:
    assert [METRICS.load(name) for name in NAMES] == list(JUDGED)
    assert task_of("judge_groundedness@3") == "groundedness"
    assert task_of("recall@5") is None
    assert sorted(str(task_of(name)) for name in NAMES) == TASKS.names()


REFUSED = a_trace(a_hit(0, 15), answer="I cannot answer.", refused=True)


@pytest.mark.parametrize(
    ("name", "trace", "case", "said"),
    [
        *[(name, REFUSED, a_case(), "a refusal") for name in NAMES if name not in ("judge_correctness", "judge_context_relevance")],
        ("judge_correctness", REFUSED, unanswerable(), "no reference: unanswerable"),
        ("judge_correctness", ANSWERED, a_case(answers=[], scope="retrieval"), "no reference: retrieval only"),
        ("judge_correctness", REFUSED, a_case(answers=[], scope="retrieval"), "no reference: retrieval only"),
        ("judge_context_relevance", ANSWERED, unanswerable(), "nothing to find: unanswerable"),
        ("judge_context_relevance", a_trace(answer="x"), a_case(), "no passages"),
        ("judge_completeness", ANSWERED, unanswerable(), "nothing to be complete about: unanswerable"),
        ("judge_completeness", a_trace(answer="x"), a_case(), "no passages"),
        ("judge_groundedness", a_trace(answer="x"), a_case(), "no passages"),
        ("judge_coherence", a_trace(a_hit(0, 15), answer=" "), a_case(), "no answer"),
    ],
)
def test_where_there_is_nothing_to_judge_nobody_is_asked(name: str, trace: Trace, case: Case, said: str) -> None:
    score = ask(name, trace, case, rules=[{"outage": True}])
    assert score.value is None
    assert said in score.reason


def test_a_refusal_of_what_could_be_answered_is_wrong_without_asking() -> None:
    score = ask("judge_correctness", REFUSED, rules=[{"outage": True}])
    assert (score.value, score.reason) == (0.0, "a refusal of what could be answered")


def test_context_is_as_relevant_as_its_passages_on_the_mean() -> None:
    score = ask("judge_context_relevance", labels=["helpful", "unhelpful"])
    assert score.value == 0.5
    assert score.reason == "[1] helpful: by the script [2] unhelpful: by the script"
    assert ask("judge_context_relevance", REFUSED, labels=["helpful"]).value == 1.0
    unread = ask("judge_context_relevance", labels=["helpful", None])
    assert (unread.value, unread.reason) == (None, "passage 2: by the script")


class Listening:
    """A judge that remembers what it was asked."""

    name, id = "listening", "0"

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def judge(self, task: str, values: Any) -> Verdict:
        TASKS.get(task).check(values)
        self.asked.append(dict(values))
        return Verdict(None, "only listening")


def test_the_judge_is_given_the_passages_as_the_model_read_them_and_every_reference() -> None:
    judge = Listening()
    given = Tools(SETTINGS, judge=judge)
    case = a_case(answers=["30 days", "thirty days"], key_facts=["30", "days"])
    for name in NAMES:
        asyncio.run(made(name, given).ask(ANSWERED, case))
    by_names = {frozenset(values): values for values in judge.asked}
    assert by_names[frozenset({"question", "answer", "passages"})]["passages"] == "[1] " + "x" * 15 + "\n\n[2] " + "x" * 10
    correctness = by_names[frozenset({"question", "answer", "reference", "facts"})]
    assert (correctness["reference"], correctness["facts"]) == ("[1] 30 days\n\n[2] thirty days", "- 30\n- days")


def test_no_module_of_the_metrics_takes_the_name_of_a_function_beside_it() -> None:
    import pkgutil

    import harness.metrics as metrics

    functions = {name for name, value in vars(metrics).items() if getattr(value, "__module__", "") == metrics.__name__}
    assert functions
    assert not functions & {found.name for found in pkgutil.iter_modules(metrics.__path__)}  # importing one would put it in its place
