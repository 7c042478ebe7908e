"""Dollars beside those of the answer: question vectors, reranking, judges."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import yaml

from harness.judges import connect_judge
from harness.judges.base import Verdict
from harness.judges.tools import Tools
from harness.metrics import metric
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.sweep.cost.judge_costs import JudgeCosts, counting_costs
from serving.pipeline.errors import ModelError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Reply
from tests.support.making import a_case, a_trace
from tests.support.world import CONFIG, REPOSITORY, World

TITAN, RERANK, NOVA = "bedrock:amazon.titan-embed-text-v2:0", "bedrock:amazon.rerank-v1:0", "bedrock_converse:amazon.nova-lite-v1:0"
BASE: dict[str, Any] = {**CONFIG, "index": {"embedder": {"name": TITAN}}, "retrieve": {"top_k": 2, "reranker": {"name": "bedrock"}}}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def evaluated(world: World, name: str, **retrieve: Any) -> EvalReport:
    (world.root / "dear.yaml").write_text(yaml.safe_dump({**BASE, "retrieve": {**BASE["retrieve"], **retrieve}}))
    said = world.touchstone("eval", "-c", "dear.yaml", "-g", "tiny/v1", "--no-tracking", "--name", name, "--json")
    assert said.code == 0, said.err
    [path] = world.root.glob(f"reports/runs/{name}/*.jsonl")
    return read_report(path)


@pytest.mark.slow
def test_a_trace_carries_what_finding_its_passages_costs_and_again_when_it_was_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with BedrockDouble() as double:
        monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
        first = evaluated(world, "first")
        calls = len(double.calls)
        kept = evaluated(world, "second")
        assert len(double.calls) == calls  # vectors, passages and answers are known
        evaluated(world, "third", top_k=3)
        assert {call.operation for call in double.calls[calls:]} == {"rerank"}
    for trace in first.traces:
        answer, question, reranking = trace.usage
        tokens = len(trace.query.text.split())  # as the double counts them
        assert question == Usage(TITAN, tokens, 0, pytest.approx(tokens * 0.02e-6), stage="retrieve")
        assert reranking == Usage(RERANK, usd=0.001, stage="retrieve")
        assert answer.stage == "answer"
        assert trace.usd == pytest.approx(answer.usd + question.usd + 0.001)
    assert [trace.usage for trace in kept.traces] == [trace.usage for trace in first.traces]
    means = first.costs
    assert means["usd"] is not None and means["usd"] > 0.001
    said = [use.input_tokens for trace in first.traces for use in trace.usage if use.stage == "answer"]
    assert means["input_tokens"] == pytest.approx(sum(said) / len(said))  # a vector's tokens are not the prompt's


def test_a_search_by_words_alone_pays_for_no_vector(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with BedrockDouble() as double:
        monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
        report = evaluated(world, "words", search={"name": "keyword"}, reranker={"name": "none"})
    assert all(use.stage == "answer" for trace in report.traces for use in trace.usage)


def test_calls_and_tokens_are_those_of_chat_models() -> None:
    trace = replace(a_trace(), usage=(Usage("chat", 100, 10, 0.5), Usage("titan", 7, 0, 0.25, stage="retrieve", priced=False)))
    values = {name: metric(name).score(trace, a_case()).value for name in ("input_tokens", "output_tokens", "llm_calls", "usd")}  # type: ignore[union-attr]
    assert values == {"input_tokens": 100, "output_tokens": 10, "llm_calls": 1, "usd": None}


class Paid:
    """A judge that is paid for every verdict but those it has kept."""

    name, id = "paid", "p"

    async def judge(self, task: str, values: Any) -> Verdict:
        return Verdict("yes", usage=() if task == "kept" else (Usage("m", 1, 1, 0.25), Usage("m", 1, 1, 0.5)))


def test_what_a_judge_is_paid_is_counted_until_it_is_taken() -> None:
    tally = JudgeCosts()
    tools = counting_costs(Tools(PipelineSettings(_env_file=None), judge=Paid()), tally)
    assert tools.judge is not None
    for task in ("new", "kept", "new"):
        asyncio.run(tools.judge.judge(task, {}))
    assert (tools.judge.name, tools.judge.id) == ("paid", "p")
    assert (tally.take(), tally.take()) == (1.5, 0.0)


@pytest.mark.parametrize("then", [["Well."], []])
def test_a_verdict_that_fails_half_way_has_cost_all_that_was_answered(then: list[str]) -> None:
    def judged(*answers: Any) -> tuple[Verdict | None, float]:
        model = {"name": "local:scripted", "answers": answers}
        spec = Spec.model_validate({"name": "llm", "repeats": 3, "model": model})
        place, tally = PipelineSettings(_env_file=None), JudgeCosts()
        tools = counting_costs(Tools(place, judge=connect_judge(spec, place, PromptLibrary(REPOSITORY / "prompts"))), tally)
        assert tools.judge is not None
        try:
            return asyncio.run(tools.judge.judge("coherence", {"answer": "30 days."})), tally.take()
        except ModelError:
            return None, tally.take()

    yes = '{"reason": "It is.", "label": "coherent"}'
    whole, paid = judged(yes, *then, yes, yes)
    assert whole is not None
    assert paid == pytest.approx(sum(use.usd for use in whole.usage))
    torn, paid = judged(yes, *then, {"error": "failed"})
    assert torn is None
    assert 0 < paid == pytest.approx(sum(use.usd for use in whole.usage[: 1 + len(then)]))


def test_what_a_library_asks_of_the_judges_model_is_counted_too() -> None:
    tally = JudgeCosts()
    with BedrockDouble(lambda _: Reply("Fine.", input_tokens=1000, output_tokens=500)) as double:
        place = PipelineSettings(_env_file=None, bedrock_endpoint=double.url)
        tools = counting_costs(Tools(place, judge=Paid(), judge_model=Spec(name=NOVA)), tally)
        asyncio.run(tools.chat.ainvoke("Is it good?"))
        asyncio.run(tools.chat.ainvoke("And this?"))
    assert tally.take() == pytest.approx(2 * (1000 * 0.06e-6 + 500 * 0.24e-6))
