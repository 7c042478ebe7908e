"""ragas behind our table: its numbers, its silences, a judge that fails."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, ConfigDict

from harness.judges.tools import Tools
from harness.metrics import METRICS, metric
from harness.metrics.structured import UnreadableReply, ask_for
from harness.results.score import Score
from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, Chunk, Hit, Query, Trace
from tests.support.making import a_case, a_hit, a_trace, unanswerable

pytestmark = pytest.mark.slow

COMPUTED = [name for name in METRICS.names() if name.startswith("ragas_") and not METRICS.load(name).needs_judge]  # type: ignore[attr-defined]
REPOSITORY = Path(__file__).resolve().parents[2]
JUDGED = [name for name in METRICS.names() if name.startswith("ragas_") and name not in COMPUTED]


@pytest.fixture(autouse=True)
def _cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and a folder of one's own to see what is left in it."""

    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"a socket was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def scripted(*answers: Any, **params: Any) -> Tools:
    """Tools whose judge says these things, one after the other."""
    lines = [answer if isinstance(answer, str) or "error" in answer else json.dumps(answer) for answer in answers]
    spec = Spec.model_validate({"name": "local:scripted", "answers": lines, "after": "fail", **params})
    return Tools(PipelineSettings(), embedder=Spec(name="local:hashing"), judge_model=spec)


def passages(*texts: str) -> tuple[Hit, ...]:
    return tuple(Hit(Chunk(f"doc#{n}", f"doc{n}", 0, len(text), text), 1.0, n + 1) for n, text in enumerate(texts))


def answered(text: str, *texts: str) -> Trace:
    hits = passages(*texts)
    return Trace("t", Query("q"), "config", "index", hits=hits, passages=hits, answer=Answer(text))


async def ask(name: str, tools: Tools, trace: Trace, **case: Any) -> Score:
    return await metric(name, tools).ask(trace, a_case(**case))  # type: ignore[union-attr]


def score(name: str, trace: Trace, **case: Any) -> Score:
    return metric(name).score(trace, a_case(**case))  # type: ignore[union-attr]


def test_context_precision_and_recall_count_documents() -> None:
    trace = a_trace(a_hit(0, 9, "a"), a_hit(9, 20, "a", 2), a_hit(0, 9, "b", 3))
    case = {"evidence": [], "relevant_ids": ["a", "x", "y", "z"]}
    assert score("ragas_context_precision", trace, **case).value == 0.5  # a of a, b
    assert score("ragas_context_recall", trace, **case).value == 0.25  # a of a, x, y, z


def test_text_precision_and_recall_go_by_edit_distance() -> None:
    quote = {"document": "doc", "quote": "the fee is ten euros", "start": 0, "end": 20}
    trace = answered("", "nothing alike, at all, whatsoever", "the fee is two euros")
    assert score("ragas_text_precision", trace, evidence=[quote]).value == pytest.approx(0.5)  # the second of two
    assert score("ragas_text_recall", trace, evidence=[quote]).value == 1.0


def test_string_similarity_takes_the_nearest_reference_and_forgets_citations() -> None:
    assert score("ragas_string_similarity", answered("30 days [1]"), answers=["a month", "30 days "]).value == 1.0
    assert score("ragas_string_similarity", answered("abcd"), answers=["abxy"]).value == 0.5


def test_quoted_spans_are_looked_up_in_the_passages() -> None:
    text = 'It says "leave is thirty days" and "you may take more".'
    assert score("ragas_quoted_spans", answered(text, "Paid leave is thirty days.")).value == 0.5
    assert score("ragas_quoted_spans", answered("no quotes", "x")).value is None


@pytest.mark.parametrize("name", COMPUTED)
def test_nothing_to_compare_is_unscored(name: str) -> None:
    found = metric(name).score(a_trace(), unanswerable())  # type: ignore[union-attr]
    assert found.value is None
    assert found.reason


@pytest.mark.parametrize("name", ["ragas_context_precision", "ragas_context_recall", "ragas_text_precision", "ragas_text_recall"])
def test_an_empty_retrieval_is_unscored_not_nan(name: str) -> None:
    assert score(name, a_trace()) == Score(name, None, "nothing was retrieved")


async def test_it_computes_inside_a_running_loop() -> None:
    assert score("ragas_context_recall", a_trace(a_hit(0, 9))).value == 1.0


async def test_faithfulness_is_the_share_of_statements_that_follow() -> None:
    verdicts = [{"statement": "s", "reason": "r", "verdict": verdict} for verdict in (1, 0, 1, 1)]
    tools = scripted({"statements": ["a", "b", "c", "d"]}, {"statements": verdicts})
    assert (await ask("ragas_faithfulness", tools, answered("a b c d", "passage"))).value == 0.75


async def test_response_relevancy_compares_questions_by_our_embeddings() -> None:
    same = {"question": "How long?", "noncommittal": 0}
    assert (await ask("ragas_response_relevancy", scripted(same, same, same), answered("30 days"))).value == pytest.approx(1.0)
    evasive = {"question": "How long?", "noncommittal": 1}
    assert (await ask("ragas_response_relevancy", scripted(evasive, evasive, evasive), answered("It depends."))).value == 0.0


async def test_judged_context_precision_is_average_precision() -> None:
    tools = scripted({"reason": "", "verdict": 0}, {"reason": "", "verdict": 1})
    assert (await ask("ragas_llm_context_precision", tools, answered("", "one", "two"))).value == pytest.approx(0.5)


async def test_judged_context_recall_is_the_share_attributed() -> None:
    parts = [{"statement": "s", "reason": "r", "attributed": number} for number in (1, 0)]
    assert (await ask("ragas_llm_context_recall", scripted({"classifications": parts}), answered("", "one"))).value == 0.5


async def test_factual_correctness_is_f1_of_claims() -> None:
    def verdicts(*values: int) -> dict[str, Any]:
        return {"statements": [{"statement": "s", "reason": "r", "verdict": value} for value in values]}

    tools = scripted({"claims": ["a", "b"]}, verdicts(1, 0), {"claims": ["a", "c", "d"]}, verdicts(1, 0, 0))
    found = await ask("ragas_factual_correctness", tools, answered("a b"))
    assert found.value == pytest.approx(2 * 1 / (2 * 1 + 1 + 2), abs=0.005)  # tp 1, fp 1, fn 2; ragas rounds to .01


@pytest.mark.parametrize("name", JUDGED)
async def test_an_outage_of_the_judge_is_raised_not_scored(name: str) -> None:
    with pytest.raises(ModelError):
        await ask(name, scripted({"error": "failed"}), answered("30 days", "passage"))


@pytest.mark.parametrize("name", JUDGED)
async def test_a_judge_that_babbles_is_unscored_after_a_second_try(name: str) -> None:
    found = await ask(name, scripted("I think", "{nonsense"), answered("30 days", "passage"))
    assert found.value is None
    assert "nonsense" in found.reason


async def test_a_judge_that_finds_no_claims_is_unscored_not_zero() -> None:
    found = await ask("ragas_factual_correctness", scripted({"claims": []}, {"claims": []}), answered("30 days"))
    assert found.value is None


@pytest.mark.parametrize("name", ["ragas_faithfulness", "ragas_response_relevancy", "ragas_factual_correctness"])
async def test_a_refusal_claims_nothing(name: str) -> None:
    assert (await metric(name, scripted("unasked")).ask(a_trace(refused=True, answer="No."), a_case())).value is None  # type: ignore[union-attr]


@pytest.mark.parametrize("name", JUDGED)
def test_without_a_chat_model_the_mend_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="--judge llm:"):
        metric(name, Tools(PipelineSettings()))


def test_the_version_tells_of_ragas_and_of_the_judge() -> None:
    one, other = (metric("ragas_faithfulness", scripted(answer)).version for answer in ("a", "b"))
    assert "ragas-" in one
    assert "local:scripted" in one
    assert one != other


def test_nothing_is_left_in_the_folder_or_at_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    script = "\n".join(
        [
            "import asyncio, socket",
            "def refused(*args): raise SystemExit(f'a socket was opened: {args}')",
            "socket.socket.connect = socket.getaddrinfo = refused",
            "from tests.support.making import a_case, a_hit, a_trace",
            "from tests.metrics.test_ragas import ask, answered, scripted",
            "from harness.metrics import metric",
            "assert metric('ragas_context_recall').score(a_trace(a_hit(0, 9)), a_case()).value == 1.0",
            "tools = scripted({'statements': ['a']}, {'statements': [{'statement': 's', 'reason': 'r', 'verdict': 1}]})",
            "assert asyncio.run(ask('ragas_faithfulness', tools, answered('a', 'passage'))).value == 1.0",
        ]
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAGAS", "XDG"))}
    outside = kept | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", script], env=outside, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


class Shape(BaseModel):
    """What is asked for below."""

    number: int


class Calling(BaseChatModel):
    """Calls the tool it is bound to, with fixed arguments."""

    model_config = ConfigDict(extra="allow")

    arguments: dict[str, Any]

    @property
    def _llm_type(self) -> str:
        return "calling"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(called=tools[0].__name__)

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        call = {"name": kwargs["called"], "args": self.arguments, "id": "1"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])


async def test_a_model_with_tools_fills_the_shape_by_calling_one() -> None:
    assert await ask_for(Calling(arguments={"number": 3}), "count", Shape) == Shape(number=3)


async def test_a_tool_called_with_nonsense_is_unreadable() -> None:
    with pytest.raises(UnreadableReply, match="Shape"):
        await ask_for(Calling(arguments={"number": "many"}), "count", Shape)


async def test_a_model_without_tools_is_asked_for_json() -> None:
    assert await ask_for(scripted('Sure: {"number": 3} and more').chat, "count", Shape) == Shape(number=3)
