"""Claims held against passages: quotes are grounded; a changed number, name or denial is not."""

import json
from dataclasses import replace

import pytest

from harness.judges.tools import Tools
from harness.metrics import metric
from harness.results.score import Score
from serving.pipeline.checks.grounding import model
from serving.pipeline.checks.grounding.claims import AnswerClaim, claims_of, passages_for
from serving.pipeline.checks.grounding.evidence import compare_claim, number_neighbours, parse_passages, resembles
from serving.pipeline.checks.grounding.model import SupportModel, claim_features, model_for
from serving.pipeline.checks.grounding.opposites import opposites_of
from serving.pipeline.checks.grounding.support import Claim, Support, similarities, support, support_all
from serving.pipeline.checks.grounding.terms import parse_terms
from serving.pipeline.checks.grounding.values import value
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Hit, Trace
from tests.support.making import a_case, a_trace

LEAVE = (
    "Every employee has 30 days of paid holiday a year. Sick leave is paid for 6 weeks. "
    "Unused days expire on 31 March of the next year. Contractors are not entitled to paid holiday."
)
TRAVEL = "Hotels are paid up to 1,650 EUR a month. Managers must approve every trip before it is booked. The form is XT-550."


class Counting(HashingEmbeddings):
    """The hashing embedder, telling how often it was called and with what."""

    def __init__(self) -> None:
        super().__init__(64)
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return super().embed_documents(texts)


def words_only() -> Tools:
    """Tools whose embedding model the coefficients do not know."""
    return Tools(PipelineSettings(), embedder=Spec(name="local:hashing"), connected=Counting())


def with_vectors(embeddings: Counting) -> Tools:
    """Tools that pass for MiniLM."""
    return Tools(PipelineSettings(), connected=embeddings)


def held(claim: str, *passages: str) -> Support:
    """A claim held against passages, by words."""
    return support(claim, passages, words_only())


def passage(text: str, number: int = 1, title: str = "") -> Hit:
    """A hit with a text."""
    return Hit(Chunk(f"c{number}", "doc", 0, len(text), text, title=title), 1.0, number)


def said(answer: str, *hits: Hit, refused: bool = False) -> Trace:
    """A trace with this answer from these passages."""
    return a_trace(*(hits or (passage(LEAVE),)), answer=answer, refused=refused)


def scored(name: str, trace: Trace) -> Score:
    """What a metric says of a trace."""
    scorer = metric(name, words_only())
    assert not scorer.needs_judge
    return scorer.score(trace, a_case())  # type: ignore[union-attr]


def stems(text: str) -> list[str]:
    """The terms of a text by stem."""
    return [term.stem for term in parse_terms(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000", ["1000"]),
        ("2.50", ["2.5"]),
        ("30 %", ["30", "%"]),
        ("thirty percent", ["30", "%"]),
        ("twenty-five", ["25"]),
        ("two hundred", ["200"]),
        ("$1.5 million", ["usd", "1500000"]),
        ("165 EUR", ["165", "eur"]),
        ("€165", ["eur", "165"]),
        ("2024-03-09", ["9", "mar", "2024"]),
        ("9 March 2024", ["9", "mar", "2024"]),
        ("2018–19", ["2018", "2019"]),
        ("the 3rd, the third", ["3", "3"]),
        ("XT-550", ["xt550"]),
        ("17:30", ["17:30"]),
        ("5km", ["5", "km"]),
        ("You may march", ["march"]),
    ],
)
def test_a_value_has_one_form_however_it_is_written(text: str, expected: list[str]) -> None:
    assert stems(text) == expected


def test_zeros_that_say_nothing_are_dropped_and_others_stay() -> None:
    assert [value("100"), value("1.00"), value("0.50"), value("3", "thousand")] == ["100", "1", "0.5", "3000"]


def test_a_denial_reaches_three_terms_and_ends_with_its_clause() -> None:
    found = {term.stem: term.denied for term in parse_terms("Managers must not approve claims, but auditors do.")}
    assert found == {"manag": False, "approv": True, "claim": True, "auditor": False}
    assert not any(term.denied for term in parse_terms("Not only managers; no later than Friday."))


def test_names_and_codes_are_told_from_words() -> None:
    kinds = {term.stem: term.kind for term in parse_terms("The form for Ben Davis is XT-550, says HR.")}
    assert kinds == {"form": "word", "ben": "name", "davi": "name", "xt550": "code", "say": "word", "hr": "name"}


def test_coverage_is_the_share_of_terms_in_the_best_sentence_run_and_whole() -> None:
    text = " ".join(["Alpha beta here."] + [f"Filler{'x' * number} stands." for number in range(12)] + ["Gamma there."])
    found = compare_claim("alpha beta gamma delta", parse_passages((text,)))
    assert (found.best, found.window, found.whole) == (0.5, 0.5, 0.75)  # gamma is thirteen sentences away
    assert found.nearest == 0


def test_a_number_beside_other_words_is_astray() -> None:
    assert compare_claim("Sick leave is paid for 30 weeks", parse_passages((LEAVE,))).misplaced == ("30",)
    assert compare_claim("Sick leave is paid for 6 weeks", parse_passages((LEAVE,))).misplaced == ()
    assert ("6", "week") in set(number_neighbours(parse_terms("paid for 6 weeks")))


def test_a_name_counts_in_its_other_forms() -> None:
    assert resembles("libya", "libyan") and not resembles("smith", "smart")
    passages = parse_passages(("Ask the Data Protection Officer in the United States.",))
    assert compare_claim("Ask the DPO in the US", passages).names == ()
    assert compare_claim("Ask the CFO", passages).names == ("cfo",)
    assert compare_claim("Ask the Data Protection Officer", parse_passages(("Ask the DPO.",))).names == ()


def test_opposites_count_only_where_the_word_itself_does_not_stand() -> None:
    assert opposites_of(frozenset({"befor"}), frozenset({"after"})) == ["befor"]
    assert opposites_of(frozenset({"befor"}), frozenset({"after", "befor"})) == []


def test_the_model_adds_its_weights() -> None:
    assert SupportModel({"coverage": 2.0, "similarity": 1.0}, -3.0, 0.5).probability({"coverage": 1.0, "similarity": 1.0}) == 0.5
    assert SupportModel({"coverage": 2.0}, 0.0, 0.5).probability({"coverage": 1.0}) == pytest.approx(0.880797)  # 1 / (1 + e^-2)


def test_every_weight_of_the_coefficients_is_a_feature_and_pulls_its_way() -> None:
    known = claim_features(compare_claim("a claim", parse_passages((LEAVE,))), 0.5)
    for name in ("local:minilm", "some:other"):
        weights = model_for(name).weights
        assert set(weights) <= set(known)
        assert weights["coverage"] > 0 > max(weights[one] for one in ("missing_numbers", "missing_names", "wrong_number", "denied"))
    assert model_for("local:minilm").needs_similarity and not model_for("some:other").needs_similarity


def test_the_coefficients_say_how_they_were_made() -> None:
    made = json.loads(model.COEFFICIENTS.read_text())["made"]
    assert made["command"] == "python bench/groundedness.py FOLDER --fit" and "WiCE" in made["data"]


def test_a_quote_is_grounded_for_certain() -> None:
    found = held("**Sick leave** is paid for 6 weeks.", TRAVEL, LEAVE)
    assert (found.probability, found.verbatim, found.grounded, found.reason) == (1.0, True, True, "")


def test_part_of_a_number_is_no_quote() -> None:
    assert not held("Hotels are paid up to 1", TRAVEL).verbatim
    assert not held("paid for 6 week", LEAVE).verbatim


@pytest.mark.parametrize(
    "claim",
    [
        "Each employee gets 30 days of paid holiday per year.",
        "Hotels are paid up to €1650 per month.",
        "Days that are unused expire on March 31 of the next year.",
        "Contractors aren't entitled to paid holiday.",
    ],
)
def test_a_claim_in_other_words_is_grounded(claim: str) -> None:
    assert held(claim, LEAVE, TRAVEL).grounded


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("Every employee has 35 days of paid holiday a year.", "not in the passages: 35"),
        ("Sick leave is paid for 30 weeks.", "not with these words: 30"),
        ("Unused days expire on 31 May of the next year.", "not in the passages: may"),
        ("Hotels are paid up to 1,650 USD a month.", "not in the passages: usd"),
        ("The form is XT-560.", "not in the passages: xt560"),
        ("Sick leave is not paid for 6 weeks.", "contradicted: paid"),
        ("Contractors are entitled to paid holiday.", "contradicted: entitl, paid, holiday"),
        ("Managers must approve every trip after it is booked.", "contradicted: after"),
    ],
)
def test_a_changed_number_name_or_denial_is_not_grounded(claim: str, told: str) -> None:
    found = held(claim, LEAVE, TRAVEL)
    assert not found.grounded and told in found.reason


def test_what_no_passage_speaks_of_is_not_grounded() -> None:
    found = held("The canteen serves vegetarian dishes on Fridays.", LEAVE)
    assert not found.grounded and found.passage is None and found.probability < 0.2
    assert not held("Anything at all.").grounded  # no passage at all


def test_the_nearest_sentence_is_told_with_its_passage() -> None:
    found = held("Managers approve each trip.", LEAVE, TRAVEL)
    assert (found.passage, found.sentence) == (1, "Managers must approve every trip before it is booked.")


def test_claims_are_embedded_in_one_call_and_quotes_not_at_all() -> None:
    embeddings = Counting()
    claims = [
        Claim("Sick leave is paid for 6 weeks.", (LEAVE,)),
        Claim("Each employee gets holiday.", (LEAVE,)),
        Claim("Trips need approval by managers.", (TRAVEL,)),
    ]
    found = support_all(claims, with_vectors(embeddings))
    [texts] = embeddings.calls
    assert claims[0].text not in texts and claims[1].text in texts and claims[2].text in texts
    assert found[0].similarity is None and found[1].similarity is not None


def test_an_embedder_that_was_not_fitted_is_not_asked() -> None:
    tools = words_only()
    assert support("Each employee gets holiday.", [LEAVE], tools).similarity is None
    assert isinstance(tools.connected, Counting) and not tools.connected.calls


def test_similarity_is_the_cosine_with_the_sum_of_the_nearest() -> None:
    tools = with_vectors(Counting())
    same, none = similarities([["one text", "one text", "one text"], []], tools)
    assert same == pytest.approx(1.0) and none is None


def test_claims_keep_their_citations_and_leave_out_what_asserts_nothing() -> None:
    answer = "# Leave\nHere is what I found:\n- It is 30 days [1].\n- Sick leave is 6 weeks [2, 3].\n\nIs that all? Unused days expire. [1]"
    found = claims_of(answer)
    assert [(said.text, said.cited) for said in found] == [
        ("It is 30 days.", (1,)),
        ("Sick leave is 6 weeks.", (2, 3)),
        ("Unused days expire.", (1,)),
    ]
    places = [answer[said.start : said.end] for said in found]
    assert places == ["- It is 30 days [1].", "- Sick leave is 6 weeks [2, 3].", "Unused days expire. [1]"]
    assert claims_of("I hope this helps!") == []


def test_a_claim_is_held_against_what_it_cites_or_else_against_everything() -> None:
    passages = (passage("one", 1, title="First"), passage("two", 2))
    assert passages_for(AnswerClaim("x", (2,), 0, 1), passages) == ("two",)
    assert passages_for(AnswerClaim("x", (), 0, 1), passages) == ("First\n\none", "two")
    assert passages_for(AnswerClaim("x", (9,), 0, 1), passages) == ("First\n\none", "two")  # a passage that does not exist


def test_a_claim_that_cites_the_wrong_passage_is_not_grounded() -> None:
    hits = (passage(LEAVE, 1), passage(TRAVEL, 2))
    assert scored("factuality", said("Sick leave is paid for 6 weeks [1].", *hits)).value == 1.0
    assert scored("factuality", said("Sick leave is paid for 6 weeks [2].", *hits)).value == 0.0


def test_the_three_metrics_agree_on_an_answer_with_one_wrong_claim() -> None:
    trace = said("Sick leave is paid for 6 weeks [1]. Every employee has 35 days of paid holiday a year [1].")
    assert scored("factuality", trace).value == 0.5
    assert scored("hallucination", trace).value == 1.0
    grounded = scored("groundedness", trace)
    wrong = held("Every employee has 35 days of paid holiday a year.", LEAVE).probability
    assert grounded.value == pytest.approx((1 + wrong) / 2)
    assert "'Every employee has 35 days" in grounded.reason and "35" in grounded.reason and "Sick" not in grounded.reason


def test_an_answer_of_quotes_has_no_hallucination() -> None:
    trace = said("Every employee has 30 days of paid holiday a year [1].")
    assert [scored(name, trace).value for name in ("groundedness", "factuality", "hallucination")] == [1.0, 1.0, 0.0]
    assert scored("hallucination", trace).reason == ""


@pytest.mark.parametrize("name", ["groundedness", "factuality", "hallucination"])
def test_refusals_and_answers_that_claim_nothing_are_left_out(name: str) -> None:
    assert scored(name, said("I cannot answer this.", refused=True)).value is None
    empty = scored(name, said("Here is what I found:"))
    assert (empty.value, empty.reason) == (None, "the answer claims nothing")


def test_the_version_names_the_coefficients_and_the_embedder() -> None:
    tools = words_only()
    assert metric("groundedness", tools).version == f"1 {model.models_digest()} {tools.embedder_id}"
    assert metric("groundedness", replace(tools, embedder=Spec(name="local:minilm"))).version != metric("groundedness", tools).version


def test_fewer_hallucinations_are_better() -> None:
    directions = [metric(name, words_only()).direction for name in ("groundedness", "factuality", "hallucination")]
    assert directions == ["higher", "higher", "lower"]


@pytest.mark.parametrize(
    "text", ["1" * 5000, "A-" * 3000, "[" * 3000 + "1", "½ ² ٣ 𝟛", "\ud800 x", "not " * 2000, "A B " * 2000, "1,000," * 900]
)
def test_hostile_text_is_read_without_harm(text: str) -> None:
    assert 0.0 <= held(text, text, LEAVE).probability <= 1.0
    assert isinstance(claims_of(text), list)
