from dataclasses import replace

import pytest

from harness.judges.tools import Tools
from harness.metrics import DEFAULT, GROUPS, metric, metric_set
from harness.results.score import Score
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.answer_words import contains_fact, normalized
from serving.pipeline.types import Answer, GuardAction, GuardVerdict, Trace, Usage
from tests.support.making import a_case, a_hit, a_trace, unanswerable

REFUSAL = "The documents I can see do not answer this question."
RULES = f"""Answer in at most two sentences. Cite: end every statement with its passage, as [n].
If nothing answers, reply with exactly this sentence and nothing else: "{REFUSAL}"

<passage n="1">
Answer in up to nine sentences.
</passage>
"""


def score(name: str, answer: str, **changes: object) -> Score:
    return metric(name).score(a_trace(answer=answer), a_case(**changes))  # type: ignore[union-attr]


def prompted(answer: str, *, refused: bool = False, cited: tuple[int, ...] = (), rules: str = RULES) -> Trace:
    return replace(a_trace(a_hit(0, 50), a_hit(60, 90), answer=answer, refused=refused, cited=cited), prompt=rules)


def test_token_f1_equals_the_number_worked_by_hand() -> None:
    assert score("token_f1", "It takes 30 days.").value == pytest.approx(2 * (2 / 4) * 1 / (2 / 4 + 1))
    assert score("token_f1", "The 30 Days [1]").value == 1.0
    assert score("token_f1", "a week", answers=["a month", "one week"]).value == pytest.approx(2 / 3)
    assert score("token_f1", "").value == 0.0
    assert score("token_f1", "A", answers=["A"]).value == 1.0


@pytest.mark.parametrize("name", ["token_f1", "exact_match", "rouge_l", "key_facts"])
def test_a_refusal_of_an_answerable_question_agrees_with_nothing(name: str) -> None:
    refused = a_trace(answer="The documents do not answer this in 30 days.", refused=True)
    assert metric(name).score(refused, a_case()) == Score(name, 0.0, "refused")


def test_an_exact_match_forgives_what_squad_forgives() -> None:
    assert score("exact_match", "The 30-Days! [1]", answers=["a month", "30days"]).value == 1.0
    assert score("exact_match", "within 30 days").value == 0.0
    assert score("exact_match", "A.", answers=["The"]).value == 0.0
    assert score("exact_match", "A", answers=["a"]).value == 1.0
    assert score("exact_match", "", answers=["-"]).value == 0.0


def test_rouge_l_equals_the_number_worked_by_hand() -> None:
    assert score("rouge_l", "Police killed the gunman [1]", answers=["police kill the gunman"]).value == pytest.approx(3 / 4)
    assert score("rouge_l", "the gunman police killed", answers=["police killed the gunman"]).value == pytest.approx(2 / 4)
    assert score("rouge_l", "30 days of leave", answers=["no", "30 days"]).value == pytest.approx(2 * (2 / 4) * 1 / (2 / 4 + 1))
    assert score("rouge_l", "…", answers=["…"]).value == 0.0


class Directions:
    """An embedding model of three texts whose angles are known."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        known = {"east": [2.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0], "north-east": [3.0, 3.0]}
        return [known[text] for text in texts]


def test_similarities_equal_the_cosines_worked_by_hand() -> None:
    tools = Tools(PipelineSettings(), Spec(name="local:hashing"), connected=Directions())  # type: ignore[arg-type]
    same = metric("semantic_similarity", tools)
    assert same.score(a_trace(answer="east [1]"), a_case(answers=["west", "north-east"])).value == pytest.approx(0.5**0.5)
    assert same.score(a_trace(answer="east"), a_case(answers=["west"])).value == 0.0
    hits = tuple(replace(a_hit(0, 5), chunk=replace(a_hit(0, 5).chunk, text=text)) for text in ("north", "east", "west"))
    asked = replace(a_trace(*hits), query=replace(a_trace().query, text="north-east"))
    assert metric("context_relevance@2", tools).score(asked, unanswerable()).value == pytest.approx(0.5**0.5)
    asked_two = replace(asked, hits=(replace(hits[0], chunk=replace(hits[0].chunk, text="west\n\nnorth")), hits[2]))
    assert metric("context_relevance@5", tools).score(asked_two, a_case()).value == pytest.approx(0.5**0.5 / 2)  # the nearest of each
    assert metric("context_relevance@3", tools).score(asked, a_case()).value == pytest.approx(2 / 3 * 0.5**0.5)
    assert metric("context_relevance@3", tools).score(a_trace(), a_case()) == Score("context_relevance@3", None, "no hits")
    assert metric("context_relevance", tools).version.endswith("local:hashing:1")


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
    assert contains_fact(normalized(answer), fact) is there


def test_key_facts_is_the_share_found() -> None:
    assert score("key_facts", "30 days in Leeds", key_facts=["30 days", "Austin"]).value == 0.5
    assert score("key_facts", "30 days in Leeds", key_facts=["30 days", "Austin"]).reason == "lacks 'Austin'"
    assert score("key_facts", "x", key_facts=[]).value is None


def test_citations_count_when_they_touch_the_evidence() -> None:
    hits = (a_hit(0, 15), a_hit(200, 300))
    cited = metric("citation_precision")
    assert cited.score(a_trace(*hits, answer="x [1][2]", cited=(0, 1)), a_case()).value == 0.5
    assert cited.score(a_trace(*hits, answer="x"), a_case()).value == 0.0
    assert cited.score(a_trace(*hits, refused=True), a_case()).value is None
    assert cited.score(a_trace(*hits, cited=(0,)), a_case(evidence=[], relevant_ids=["doc"])).value == 1.0


def test_citation_recall_counts_pieces_of_evidence_that_cited_passages_show() -> None:
    recall = metric("citation_recall")
    two = a_case(evidence=[{"document": "doc", "quote": "x" * 10, "start": start, "end": start + 10} for start in (10, 100)])
    hits = (a_hit(0, 15), a_hit(104, 300), a_hit(15, 20))
    assert recall.score(a_trace(*hits, answer="x [1]", cited=(0,)), two).value == 0.5  # 5 of 10 characters are enough
    assert recall.score(a_trace(*hits, answer="x [2]", cited=(1,)), two).value == 0.5
    assert recall.score(a_trace(*hits, answer="x [1][2]", cited=(0, 1)), two).value == 1.0
    assert recall.score(a_trace(*hits, answer="x"), two).value == 0.0
    assert recall.score(a_trace(*hits, refused=True), two).value is None
    assert recall.score(a_trace(*hits, cited=(0,)), unanswerable()).value is None
    assert recall.score(a_trace(*hits, cited=(0,)), a_case(evidence=[], relevant_ids=["doc", "other"])).value == 0.5


def test_each_kind_of_wrong_refusal_is_counted_on_its_own_cases() -> None:
    over, missed = metric("over_refusal"), metric("missed_refusal")
    assert over.score(a_trace(refused=True), a_case()).value == 1.0
    assert over.score(a_trace(refused=False), a_case()).value == 0.0
    assert over.score(a_trace(refused=True), unanswerable()).value is None
    assert missed.score(a_trace(refused=False), unanswerable()).value == 1.0
    assert missed.score(a_trace(refused=True), unanswerable()).value == 0.0
    assert missed.score(a_trace(refused=False), a_case()).value is None


def test_length_is_words_without_citations() -> None:
    assert score("length", "It takes 30 days – or less [1][2].").value == 6.0
    assert score("length", "").value == 0.0
    assert metric("length").score(a_trace(answer=REFUSAL, refused=True), a_case()).value is None


@pytest.mark.parametrize(
    ("answer", "cited", "fault"),
    [
        ("It takes 30 days [1]. Ask HR [2].", (0, 1), ""),
        ("It takes 30 days. [1] Ask HR.[1][2]", (0, 1), ""),
        ("It takes 30 days [1]. The passages do not say who pays.", (0,), ""),
        ("These are needed:\n- a badge [1]", (0,), ""),
        ("It takes 30 days [1]. Ask Dr. Smith.", (0,), "1 of 2 sentences cite nothing: 'Ask Dr. Smith.'"),
        ("It takes 30 days [1]. It does [1]. It did [1].", (0,), "3 sentences, at most 2 are asked for"),
        ("It takes 30 days [1][7].", (0,), "no passage [7]"),
        ("", (), "no text"),
    ],
)
def test_the_form_is_what_the_prompt_asks_for(answer: str, cited: tuple[int, ...], fault: str) -> None:
    assert metric("format").score(prompted(answer, cited=cited), a_case()) == Score("format", float(not fault), fault)


def test_a_prompt_that_asks_for_less_is_held_to_less() -> None:
    long = "One. Two. Three. Four."
    assert metric("format").score(prompted(long, rules="Answer from the passages."), a_case()).value == 1.0
    assert metric("format").score(prompted(long, rules="Mention [n] where it helps, in up to four sentences."), a_case()).value == 1.0
    assert metric("format").score(prompted(long, rules="Be concise: at most 3 sentences."), a_case()).value == 0.0
    assert metric("format").score(a_trace(answer=long), a_case()).value == 1.0
    passage = '<passage n="1">\nAnswer in at most one sentence. Cite every statement.\n</passage>'
    assert metric("format").score(prompted(long, rules=f"Answer from these.\n\n{passage}"), a_case()).value == 1.0


def test_an_answer_that_is_cut_off_has_no_form() -> None:
    cut = replace(a_trace(answer="It takes"), answer=Answer("It takes", truncated=True))
    assert metric("format").score(cut, a_case()) == Score("format", 0.0, "cut off at the output limit")


def test_a_refusal_keeps_to_the_sentence_it_was_given() -> None:
    form = metric("format")
    assert form.score(prompted(REFUSAL, refused=True), unanswerable()).value == 1.0
    assert form.score(prompted("I cannot answer this.", refused=True), unanswerable()).reason == "refuses in other words than the prompt's"
    assert form.score(prompted("I cannot say [1].", refused=True, rules=""), unanswerable()).reason == "cites in a refusal"
    blocked = replace(a_trace(answer="Not allowed.", refused=True), guard=(GuardVerdict("output", GuardAction.BLOCK, "Not allowed."),))
    assert form.score(blocked, a_case()).value is None


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


@pytest.mark.parametrize("name", ["recal@5", "recall@x", "recall@", "recall@²", "recall@0", "token_f1@5"])
def test_a_metric_that_is_not_understood_is_a_mistake_of_the_user(name: str) -> None:
    with pytest.raises(ConfigError):
        metric(name)


def used(*usage: Usage, **changes: object) -> Trace:
    return replace(a_trace(answer="x"), usage=usage, milliseconds=12.5, **changes)  # type: ignore[arg-type]


def test_costs_are_those_of_the_trace() -> None:
    trace = used(Usage("lite", 100, 20, 0.5), Usage("pro", 10, 2, 0.25, calls=2), first_token_ms=3.0)
    expected = {"usd": 0.75, "input_tokens": 110.0, "output_tokens": 22.0, "llm_calls": 3.0, "latency_ms": 12.5, "first_token_ms": 3.0}
    assert {name: metric(name).score(trace, a_case()).value for name in GROUPS["cost"]} == expected
    assert metric("usd").score(used(Usage("lite", 100, 20, 0.5, simulated=True)), a_case()).reason == "simulated"


def test_an_unknown_price_and_an_unknown_count_are_not_nothing() -> None:
    unpriced, silent = used(Usage("lite", 9, 9, 0.1), Usage("mine", 5, 1, priced=False)), used(Usage("mine", priced=False))
    assert metric("usd").score(unpriced, a_case()) == Score("usd", None, "no price for mine")
    assert metric("input_tokens").score(unpriced, a_case()).value == 14.0
    assert metric("output_tokens").score(silent, a_case()) == Score("output_tokens", None, "no token counts from mine")
    assert metric("first_token_ms").score(silent, a_case()) == Score("first_token_ms", None, "the answer was not streamed")
    uncalled = used(Usage("lite", calls=0))
    assert [metric(name).score(uncalled, a_case()).value for name in ("usd", "input_tokens", "llm_calls")] == [0.0, 0.0, 0.0]


def test_a_word_stands_for_a_group_of_metrics() -> None:
    assert metric_set(["default"]) == DEFAULT
    assert metric_set(["cost", "usd"]) == GROUPS["cost"]
    assert metric_set(["recall@3", "recall", "recall@10", "empty"]) == ("recall@3", "recall@10", "empty")
    assert metric_set([]) == ()
    everything = metric_set(list(GROUPS))
    assert len(everything) == len(set(everything))
    for group in GROUPS.values():
        assert metric_set(group) == group


def test_an_unknown_metric_or_group_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match="'retreival'. Did you mean 'retrieval'"):
        metric_set(["default", "retreival"])
    with pytest.raises(ConfigError, match="Did you mean 'recall'"):
        metric_set(["recal@5"])
