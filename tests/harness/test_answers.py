import pytest

from harness.metrics import METRICS, metric
from harness.metrics.base import Score
from harness.metrics.key_facts import holds
from harness.metrics.words import normal
from serving.pipeline.errors import ConfigError
from tests.harness.making import a_case, a_hit, a_trace, unanswerable


def score(name: str, answer: str, **changes: object) -> Score:
    return metric(name).score(a_trace(answer=answer), a_case(**changes))


def test_token_f1_equals_the_number_worked_by_hand() -> None:
    assert score("token_f1", "It takes 30 days.").value == pytest.approx(2 * (2 / 4) * 1 / (2 / 4 + 1))
    assert score("token_f1", "The 30 Days [1]").value == 1.0
    assert score("token_f1", "a week", answers=["a month", "one week"]).value == pytest.approx(2 / 3)
    assert score("token_f1", "").value == 0.0


@pytest.mark.parametrize(
    ("answer", "fact", "there"),
    [
        ("within 30 days [1].", "30 days", True),
        ("within 130 days", "30 days", False),
        ("EUR 1,240 a piece", "1,240", True),
        ("EUR 1,240.50", "1,240", False),
        ("EUR 1,240.", "1,240", True),
        ("part TG-4410B", "TG-4410", False),
        ("part TG‑4410B", "tg-4410b", True),
        ("5.2 %", "5", False),
        ("0.5", "5", False),
        ("the 5.", "5", True),
    ],
)
def test_a_key_fact_is_found_as_whole_words_and_whole_numbers(answer: str, fact: str, there: bool) -> None:
    assert holds(normal(answer), fact) is there


def test_key_facts_is_the_share_found() -> None:
    assert score("key_facts", "30 days in Leeds", key_facts=["30 days", "Austin"]).value == 0.5
    assert score("key_facts", "x", key_facts=[]).value is None


def test_citations_count_when_they_touch_the_evidence() -> None:
    hits = (a_hit(0, 15), a_hit(200, 300))
    cited = metric("citation_precision")
    assert cited.score(a_trace(*hits, answer="x [1][2]", cited=(0, 1)), a_case()).value == 0.5
    assert cited.score(a_trace(*hits, answer="x"), a_case()).value == 0.0
    assert cited.score(a_trace(*hits, refused=True), a_case()).value is None
    assert cited.score(a_trace(*hits, cited=(0,)), a_case(evidence=[], relevant_ids=["doc"])).value == 1.0


def test_refusing_is_right_only_where_nothing_answers() -> None:
    right = metric("refusal")
    assert right.score(a_trace(refused=True), unanswerable()).value == 1.0
    assert right.score(a_trace(refused=False), unanswerable()).value == 0.0
    assert right.score(a_trace(refused=True), a_case()).value == 0.0
    assert right.score(a_trace(refused=False), a_case()).value == 1.0


def test_quality_is_defined_for_every_case() -> None:
    quality, hits = metric("quality"), (a_hit(0, 50), a_hit(200, 300))
    sourced = a_trace(*hits, answer="30 days [1]", cited=(0,))
    assert quality.score(sourced, a_case()).value == 1.0
    assert quality.score(sourced, a_case(key_facts=[])).value == 1.0
    assert quality.score(a_trace(*hits, answer="30 days [1][2]", cited=(0, 1)), a_case()).value == pytest.approx(2 * 0.5 / 1.5)
    assert quality.score(sourced, a_case(key_facts=["30 days", "Leeds"])).value == pytest.approx(2 * 0.5 / 1.5)
    assert quality.score(a_trace(*hits, answer="30 days"), a_case()).value == 0.0
    assert quality.score(a_trace(answer="30 days", refused=True), a_case()).value == 0.0
    assert quality.score(a_trace(refused=True), unanswerable()).value == 1.0
    assert quality.score(a_trace(answer="30 days"), unanswerable()).value == 0.0


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_stays_in_its_range_and_never_gives_nan(name: str) -> None:
    measured = metric(name)
    low, high = measured.range
    assert measured.direction in ("higher", "lower")
    traces = [a_trace(), a_trace(a_hit(0, 50)), a_trace(a_hit(0, 50), answer="30 days [1]", cited=(0,)), a_trace(refused=True)]
    for trace in traces:
        for case in (a_case(), unanswerable(), a_case(evidence=[], relevant_ids=["doc"], key_facts=[])):
            found = measured.score(trace, case)
            assert found.metric == measured.name
            assert (found.value is None and found.reason) or (found.value is not None and low <= found.value <= high)


@pytest.mark.parametrize("name", ["recal@5", "recall@x", "recall@", "token_f1@5"])
def test_a_metric_that_is_not_understood_is_a_mistake_of_the_user(name: str) -> None:
    with pytest.raises(ConfigError):
        metric(name)
