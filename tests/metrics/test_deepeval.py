"""Our metrics in deepeval's tests, its G-Eval in our table, and what deepeval leaves behind: nothing."""

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.judges.tools import Tools
from harness.metrics import METRICS, metric
from harness.metrics.deepeval import TouchstoneMetric, assert_test
from harness.metrics.deepeval import test_case as as_test_case
from harness.results.case_result import CaseError, CaseResult
from harness.results.score import Score
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError, ModelError
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from tests.support.making import a_case, a_hit, a_trace

pytestmark = pytest.mark.slow

GEVAL = [name for name in METRICS.names() if name.startswith("geval_")]
GOOD = a_trace(a_hit(0, 30), answer="30 days [1]", cited=(0,))
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"a socket was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.chdir(tmp_path)


def scripted(*answers: Any) -> Tools:
    lines = [answer if isinstance(answer, str) or "error" in answer else json.dumps(answer) for answer in answers]
    return Tools(PipelineSettings(), judge_model=Spec.model_validate({"name": "local:scripted", "answers": lines, "after": "fail"}))


async def ask(name: str, tools: Tools, text: str = "30 days") -> Score:
    return await metric(name, tools).ask(a_trace(a_hit(0, 30), answer=text), a_case())  # type: ignore[union-attr]


def test_a_good_answer_passes() -> None:
    assert_test(as_test_case(GOOD, a_case()), [TouchstoneMetric("quality", threshold=0.2)])


def test_a_bad_answer_fails_with_its_score() -> None:
    bad = a_trace(a_hit(0, 30), answer="no idea")
    with pytest.raises(AssertionError, match=r"quality \(score: 0.0, threshold: 0.2"):
        assert_test(as_test_case(bad, a_case()), [TouchstoneMetric("quality", threshold=0.2)])


def test_deepevals_own_assert_test_takes_our_metrics_too() -> None:
    from deepeval import assert_test as its_own

    loop = asyncio.new_event_loop()  # it would open one and leave it open
    asyncio.set_event_loop(loop)
    try:
        its_own(as_test_case(GOOD, a_case()), [TouchstoneMetric("quality", threshold=0.2)])
        with pytest.raises(AssertionError):
            its_own(as_test_case(GOOD, a_case()), [TouchstoneMetric("toxicity", threshold=-0.1)])
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_no_event_loop_is_left_open() -> None:
    before = _open_loops()
    assert_test(as_test_case(GOOD, a_case()), [TouchstoneMetric("quality", threshold=0.2)])
    assert [loop for loop in _open_loops() if loop not in before] == []


def _open_loops() -> list[asyncio.AbstractEventLoop]:
    return [one for one in gc.get_objects() if isinstance(one, asyncio.AbstractEventLoop) and not one.is_closed()]


@pytest.mark.parametrize(("threshold", "passes"), [(0.25, True), (0.2, False)])
def test_where_lower_is_better_the_threshold_is_a_ceiling(threshold: float, passes: bool) -> None:
    checked = TouchstoneMetric("toxicity", threshold=threshold)
    checked.measure(as_test_case(a_trace(answer="What a moron."), a_case()))
    assert checked.is_successful() is passes


def test_the_score_of_an_evaluation_is_not_computed_again() -> None:
    row = CaseResult(a_case(), (Score("quality", 0.9, "as recorded"),), a_trace(answer="nothing"))
    checked = TouchstoneMetric("quality", threshold=0.8)
    assert checked.measure(as_test_case(row)) == 0.9
    assert checked.reason == "as recorded"


def test_an_unscored_case_fails_unless_it_may_pass() -> None:
    case = as_test_case(GOOD, a_case(key_facts=[]))
    with pytest.raises(AssertionError, match="not scored: the case has no key facts"):
        assert_test(case, [TouchstoneMetric("key_facts", threshold=0.5)])
    assert_test(case, [TouchstoneMetric("key_facts", threshold=0.5, unscored="pass")])


def test_an_outage_is_no_failed_assertion() -> None:
    row = CaseResult(a_case(), error=CaseError("ModelError", "the model is away", infrastructure=True))
    with pytest.raises(InfrastructureError, match="the model is away"):
        as_test_case(row)
    with pytest.raises(ModelError):
        assert_test(as_test_case(GOOD, a_case()), [TouchstoneMetric("geval_bias", threshold=0.5, tools=scripted({"error": "failed"}))])


def test_a_crashed_case_and_a_foreign_test_case_say_what_is_wrong() -> None:
    with pytest.raises(DataError, match="boom"):
        as_test_case(CaseResult(a_case(), error=CaseError("ValueError", "boom", infrastructure=False)))
    with pytest.raises(DataError, match="golden case"):
        as_test_case(GOOD)
    from deepeval.test_case import LLMTestCase

    with pytest.raises(ConfigError, match="test_case"):
        TouchstoneMetric("quality", threshold=0.2).measure(LLMTestCase(input="q", actual_output="a"))


@pytest.mark.parametrize("name", GEVAL)
async def test_g_eval_gives_a_tenth_of_the_judges_points_with_the_reason(name: str) -> None:
    assert await ask(name, scripted({"reason": "because", "score": 7})) == Score(name, 0.7, "because")


@pytest.mark.parametrize("name", GEVAL)
async def test_an_outage_of_the_judge_is_raised_not_scored(name: str) -> None:
    with pytest.raises(ModelError):
        await ask(name, scripted({"error": "failed"}))


@pytest.mark.parametrize("answers", [("hm", "well"), ({"reason": "r", "score": 15},)])
async def test_a_judge_off_its_scale_or_out_of_its_mind_is_unscored(answers: tuple[Any, ...]) -> None:
    found = await ask("geval_coherence", scripted(*answers))
    assert found.value is None
    assert found.reason


def test_toxicity_and_bias_are_better_low() -> None:
    tools = scripted("unasked")
    assert {name: metric(name, tools).direction for name in GEVAL} == {
        "geval_coherence": "higher",
        "geval_completeness": "higher",
        "geval_toxicity": "lower",
        "geval_bias": "lower",
    }


@pytest.mark.parametrize("name", GEVAL)
def test_without_a_chat_model_the_mend_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="--judge llm:"):
        metric(name, Tools(PipelineSettings()))


def test_nothing_is_left_in_the_folder_or_at_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "test_one.py").write_text(
        "from harness.metrics.deepeval import TouchstoneMetric, assert_test, test_case\n"
        "from tests.support.making import a_case, a_hit, a_trace\n"
        "def test_one():\n"
        "    trace = a_trace(a_hit(0, 30), answer='30 days', cited=(0,))\n"
        "    assert_test(test_case(trace, a_case()), [TouchstoneMetric('quality', threshold=.2)])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEPEVAL")}
    outside = kept | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    own = ["-p", "no:deepeval", "-p", "no:cacheprovider", "-p", "no:benchmark"]  # plug-ins of pytest that leave folders themselves
    command = [sys.executable, "-m", "pytest", "-q", *own, "--rootdir", ".", "test_one.py"]
    done = subprocess.run(command, env=outside, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "test_one.py"]
