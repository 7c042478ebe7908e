"""What every metric in the table keeps, whoever wrote it; a new line in the table is tested here unasked."""

import inspect
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from harness.golden.case import Case
from harness.judges import connect_judge
from harness.judges.tools import Tools
from harness.metrics import GROUPS, METRICS, is_judged, metric
from harness.metrics.base import NEEDS_CASE
from harness.results.score import JudgedMetric, Metric, Score
from serving.pipeline.errors import ConfigError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Params, Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, CacheRecord, Citation, GuardAction, GuardVerdict, Query, Trace, Usage
from tests.support.making import a_case, a_hit, a_trace, unanswerable

pytestmark = pytest.mark.filterwarnings(  # ragas opens a file of its own while it is imported, and leaves closing it to chance
    r"ignore:Exception ignored in. <_io.FileIO name='.*ragas.uuid\.json':pytest.PytestUnraisableExceptionWarning"
)

NAMES = METRICS.names()
SETTINGS = PipelineSettings(prompts=Path(__file__).resolve().parents[2] / "prompts")
TOOLS = Tools(
    SETTINGS,
    Spec(name="local:hashing"),
    connect_judge("local", SETTINGS, PromptLibrary(SETTINGS.prompts)),
    judge_model=Spec.model_validate({"name": "local:echo", "text": "no verdict"}),
)
HOSTILE = {
    "brackets": "[" * 50_000 + "]" * 50_000,
    "citations": "[1]" * 33_000,
    "stops": "." * 100_000,
    "spaces": " " * 100_000,
    "one word": "a" * 100_000,
    "digits": "1" * 100_000,
    "dotted digits": "1." * 50_000,
    "emoji": "👩‍👩‍👧‍👦" * 9_000,
    "right to left": "\u202eمرحبا שלום\u202c " * 6_000,
    "nul": "\x00" * 100_000,
    "lines": "- \n" * 33_000,
    "quotes": "\"'`" * 33_000,
    "a lone surrogate": "\ud800 30 days",
    "at signs": "a@" * 50_000,
    "sentences": "It takes 30 days [1]. " * 200,
}


def build(name: str) -> Metric | JudgedMetric:
    """The metric with every tool it may ask for, or a skip that says which package it lacks."""
    try:
        return metric(name, TOOLS)
    except ConfigError as error:
        if "needs the package" in str(error):
            pytest.skip(str(error))
        raise


async def score(scorer: Metric | JudgedMetric, trace: Trace, case: Case | None) -> Score:
    return await scorer.ask(trace, case) if is_judged(scorer) else scorer.score(trace, case)


def traces() -> list[Trace]:
    hits = (a_hit(0, 50), a_hit(5, 55), a_hit(200, 300, "other"))
    answered = a_trace(*hits, answer="It takes 30 days [1][3].", cited=(0, 2))
    blocked = GuardVerdict("input", GuardAction.BLOCK, "Not allowed.")
    return [
        a_trace(),
        a_trace(*hits),
        a_trace(answer="It takes 30 days [1]."),
        answered,
        replace(answered, usage=(Usage("lite", 100, 20, 0.01), Usage("mine", priced=False)), milliseconds=3.5, first_token_ms=1.0),
        replace(answered, hits=(), passages=(), cache=CacheRecord(hit=True)),
        replace(answered, answer=replace(answered.answer, truncated=True), prompt="Answer in at most two sentences."),
        a_trace(*hits, answer="The documents I can see do not answer this question.", refused=True),
        replace(a_trace(answer="Not allowed.", refused=True), guard=(blocked,)),
        replace(answered, answer=Answer("x [9]", (Citation(9, "gone", a_hit(0, 5, "gone").chunk.span),))),
    ]


def cases() -> list[Case]:
    return [
        a_case(),
        a_case(key_facts=[], answers=["30 days", "a month"], principal_groups=["hr"]),
        a_case(evidence=[], relevant_ids=["doc", "other"], grades=[1, 3]),
        a_case(evidence=[], relevant_ids=["doc"], answers=[], key_facts=[], scope="retrieval"),
        unanswerable(),
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
async def test_a_score_lies_in_its_range_or_says_why_there_is_none(name: str) -> None:
    scorer = build(name)
    low, high = scorer.range
    for trace in traces():
        for case in cases():
            found = await score(scorer, trace, case)
            assert found.metric == scorer.name
            if found.value is None:
                assert found.reason
            else:
                assert math.isfinite(found.value)
                assert low <= found.value <= high


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_trace_has_the_same_score_and_is_left_as_it_was(name: str) -> None:
    scorer, again = build(name), build(name)
    for trace in traces():
        for case in cases():
            before = deepcopy((trace, case))
            assert await score(scorer, trace, case) == await score(again, trace, case) == await score(scorer, trace, case)
            assert (trace, case) == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_bare_trace_has_a_score_or_the_metric_says_that_it_needs_a_case(name: str) -> None:
    scorer = build(name)
    low, high = scorer.range
    for trace in traces():
        found = await score(scorer, trace, None)
        assert found.metric == scorer.name
        if scorer.needs_case:
            assert found == Score(scorer.name, None, NEEDS_CASE)
        elif found.value is None:
            assert found.reason
            assert "Error" not in found.reason
        else:
            assert low <= found.value <= high


@pytest.mark.parametrize("name", NAMES)
async def test_a_case_that_adds_nothing_changes_nothing_where_none_is_needed(name: str) -> None:
    scorer = build(name)
    if scorer.needs_case:
        return
    for trace in traces():
        nothing_new = a_case(question=trace.query.text, answers=["x"], key_facts=[], evidence=[], relevant_ids=["doc"])
        assert await score(scorer, trace, None) == await score(scorer, trace, nothing_new)


def test_what_needs_no_case_is_what_traffic_can_be_scored_by() -> None:
    free = {name for name in NAMES if not METRICS.load(name).needs_case}
    assert free == {
        *("duplicate_rate", "empty", "context_relevance", "groundedness", "factuality", "hallucination", "length", "format"),
        *("usd", "input_tokens", "output_tokens", "llm_calls", "latency_ms", "first_token_ms", "pii", "injection_success", "toxicity"),
        *("judge_groundedness", "judge_relevance", "judge_context_relevance", "judge_completeness"),
        *("judge_coherence", "judge_toxicity", "judge_bias", "geval_coherence", "geval_toxicity", "geval_bias"),
        *("ragas_quoted_spans", "ragas_faithfulness", "ragas_response_relevancy"),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
async def test_hostile_text_neither_raises_nor_hangs(name: str) -> None:
    scorer = build(name)
    for kind, text in HOSTILE.items():
        if scorer.needs_judge and kind == "a lone surrogate":  # no model can be sent one; the evaluator turns the error into a reason
            continue
        hit, known = a_hit(0, 50), text.encode("utf-8", "ignore").decode() + "x"  # a case is read from a file, and so is UTF-8
        shown = replace(hit, chunk=replace(hit.chunk, text=text, end=len(text)))
        trace = replace(a_trace(shown, a_hit(0, 40), answer=text, cited=(0,)), query=Query(text), prompt=text)
        case = a_case(question=known, answers=[known, "30 days"], key_facts=[known[:100].strip() or "x", "30 days"])
        with patience(f"{name} on {kind}"):
            found = await score(scorer, trace, case)
        assert found.value is None or math.isfinite(found.value), kind


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_declares_what_reports_and_gates_ask_of_it(name: str) -> None:
    kind = METRICS.load(name)
    assert isinstance(kind.version, str)
    assert kind.version
    assert issubclass(kind.Params, Params)
    assert set(inspect.signature(kind).parameters) in ({"params"}, {"params", "tools"})
    assert (inspect.getdoc(kind) or "").partition("\n")[0].endswith((".", ")", ";"))
    scorer = build(name)
    low, high = scorer.range
    assert low < high
    assert scorer.direction in ("higher", "lower")
    assert scorer.reads in ("hits", "answer", "run")
    assert isinstance(scorer.needs_judge, bool)
    assert isinstance(scorer.version, str)
    assert isinstance(scorer.needs_case, bool)
    assert scorer.needs_case == kind.needs_case  # known before it is built, for the table of metrics
    assert hasattr(scorer, "ask" if scorer.needs_judge else "score")


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_is_found_again_by_its_own_name(name: str) -> None:
    scorer = build(name)
    assert scorer.name.partition("@")[0] == name
    assert build(scorer.name).name == scorer.name


@pytest.mark.parametrize("group", GROUPS)
def test_the_groups_name_metrics_of_the_table(group: str) -> None:
    assert {name.partition("@")[0] for name in GROUPS[group]} <= set(NAMES)
    assert group not in NAMES


@contextmanager
def patience(what: str) -> Iterator[None]:
    """Ends what would never end; no measure of speed, which is a thousandth of this."""

    def enough(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{what} does not end")

    before = signal.signal(signal.SIGALRM, enough)
    signal.alarm(300)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
