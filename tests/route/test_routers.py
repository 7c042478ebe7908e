import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.route import ROUTERS
from serving.pipeline.route.features import count_questions, domain_shares, features, flatness
from serving.pipeline.types import Chunk, Hit, Query
from tests.support.parts import some_parts
from tests.support.routing import routed_by


def hits(*pairs):
    return [Hit(Chunk(f"c{n}", "d", 0, 1, "x", domain=domain), score, n + 1) for n, (domain, score) in enumerate(pairs)]


WIDTH = 16
EMBEDDER = HashingEmbeddings(WIDTH)


def route(text, found=(), name="rules", **params):
    spec, artefacts = routed_by(name, WIDTH, "local:hashing", **params)
    parts = some_parts(embeddings=EMBEDDER, embedder="local:hashing", artefacts=artefacts)
    return asyncio.run(ROUTERS.build(spec, parts=parts).route(Query(text), found))


SIMPLE = "How many days of annual leave do I have?"
HARD = "What is the difference between the 2023 and the current travel policy, and which of them applies to contractors who do not fly?"


@pytest.mark.parametrize("name", ROUTERS.names())
@given(text=st.text(), scores=st.lists(st.floats(-10, 1000), max_size=8))
def test_any_question_is_routed_to_a_known_tier_with_a_reason(name, text, scores):
    routed = route(text, hits(*(("hr", score) for score in scores)), name)
    assert routed.tier in ("lite", "pro")
    assert routed.reason
    assert math.isfinite(routed.score)
    assert all(0.0 <= value <= 1.0 for value in routed.features.values())
    assert route(text, hits(*(("hr", score) for score in scores)), name) == routed


@pytest.mark.parametrize("name", [name for name in ROUTERS.names() if name not in ("always", "rules")])
def test_a_dear_domain_comes_before_every_score(name):
    found = hits(("legal", 0.7), ("hr", 0.3))
    routed = route(SIMPLE, found, name)
    assert routed.tier == "pro"
    assert routed.reason == "legal has 70% of the hits' scores, 60% is enough"
    assert route(SIMPLE, found, name, dear_domains=[]).reason != routed.reason
    assert route(SIMPLE, found, name, domain_share=0.71).reason != routed.reason


@pytest.mark.parametrize("name", [name for name in ROUTERS.names() if name not in ("always", "rules")])
def test_tiers_have_any_names_and_an_unknown_one_is_a_mistake_of_the_config(name):
    spec, _ = routed_by(name, WIDTH, tiers=["small", "large"])
    models = {tier: {"name": "local:echo"} for tier in ("small", "large")}
    config = RagConfig.parse({"route": {"router": spec.model_dump()}, "answer": {"models": models}})
    assert list(config.tiers()) == ["small", "large"]
    assert route(SIMPLE, (), name, tiers=["small", "large"]).tier in ("small", "large")
    with pytest.raises(ConfigError, match=r"route\.router\.tiers\.0: no tier 'small' in answer\.models"):
        RagConfig.parse({"route": {"router": spec.model_dump()}})
    with pytest.raises(ConfigError, match="every tier is named once"):
        route(SIMPLE, (), name, tiers=["pro", "pro"])


@pytest.mark.parametrize("tier", ["lite", "pro"])
def test_always_is_always_the_same(tier):
    assert {route(text, name="always", tier=tier).tier for text in (SIMPLE, HARD, "")} == {tier}


@pytest.mark.parametrize("field", ["tier", "simple", "complex"])
def test_a_tier_that_does_not_exist_is_a_mistake_of_the_config(field):
    name = "always" if field == "tier" else "rules"
    with pytest.raises(ConfigError, match=rf"route\.router\.{field}: no tier 'max' in answer\.models\. Known: lite, pro\."):
        RagConfig.parse({"route": {"router": {"name": name, field: "max"}}})


def test_the_rules_choose_between_any_two_tiers():
    assert (route(SIMPLE, simple="nano").tier, route(HARD, complex="max").tier) == ("nano", "max")
    assert route(SIMPLE, hits(("legal", 1.0)), complex="max").tier == "max"


def test_a_simple_question_is_lite_and_a_hard_one_pro():
    assert route(SIMPLE).tier == "lite"
    hard = route(HARD)
    assert hard.tier == "pro"
    assert hard.reason.startswith(f"complexity {hard.score:.2f} > 0.50: ")
    assert "comparison" in hard.reason
    assert "two parts" in hard.reason


def test_the_complexity_is_the_weighted_sum_of_the_features():
    weights = dict.fromkeys(features("", []), 0.0)
    routed = route("Compare A versus B", **{**weights, "comparison": 0.3, "words": 0.6})
    assert routed.features["comparison"] == 1.0
    assert routed.features["words"] == pytest.approx(4 / 30, abs=1e-6)
    assert routed.score == pytest.approx(0.3 + 0.6 * 4 / 30, abs=1e-5)


def test_the_threshold_itself_is_still_lite():
    weights = dict.fromkeys(features("", []), 0.0) | {"comparison": 0.4}
    assert route("Compare A versus B", pro_above=0.4, **weights).tier == "lite"
    assert route("Compare A versus B", pro_above=0.39, **weights).tier == "pro"


def test_every_threshold_and_weight_can_be_swept():
    flat = RagConfig.parse({}).flat()
    assert {f"route.router.{name}" for name in features("", [])} <= set(flat)
    assert flat["route.router.pro_above"] == 0.5
    assert flat["route.router.domain_share"] == 0.6


def test_a_dear_domain_with_enough_of_the_scores_is_pro():
    mixed = hits(("legal", 0.6), ("hr", 0.4))
    assert route(SIMPLE, mixed).tier == "pro"
    assert route(SIMPLE, mixed).reason == "legal has 60% of the hits' scores, 60% is enough"
    assert route(SIMPLE, mixed, domain_share=0.61).tier == "lite"
    assert route(SIMPLE, mixed, pro_domains=["finance"]).tier == "lite"
    assert route(SIMPLE, mixed, pro_domains=[]).tier == "lite"


def test_shares_of_domains_add_up_and_scores_below_zero_count_nothing():
    assert domain_shares(hits(("legal", 3.0), ("hr", 1.0), ("hr", -5.0))) == {"hr": 0.25, "legal": 0.75}
    assert domain_shares(hits(("legal", 0.0), ("hr", -1.0))) == {"hr": 0.5, "legal": 0.5}
    assert domain_shares([]) == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("What is the notice period?", 1),
        ("What is the notice period and how is it paid?", 2),
        ("What is it? Who owns it? When does it end?", 3),
        ("Who signs salt and pepper orders?", 1),
        ("", 1),
        ("???", 1),
    ],
)
def test_parts_of_a_question_are_counted(text, count):
    assert count_questions(text) == count


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("Is plan A cheaper than plan B?", "comparison"),
        ("List all suppliers", "aggregation"),
        ("What was valid before 2023?", "temporal"),
        ("Who may not travel, except managers?", "negation"),
        ("Why was it stopped? Explain.", "reasoning"),
        ("Price of TC-4410-B?", "codes"),
        ("If it rains, and when it snows, which road is open?", "clauses"),
    ],
)
def test_each_feature_sees_its_words(text, feature):
    assert features(text, [])[feature] > 0
    assert features("Where do we eat", [])[feature] == 0


def test_flatness_is_one_for_equal_scores_and_none_when_the_first_stands_alone():
    assert flatness(hits(("hr", 0.5), ("hr", 0.5), ("hr", 0.5))) == 1.0
    assert flatness(hits(("hr", 0.8), ("hr", 0.0))) == 0.0
    assert flatness(hits(("hr", 0.8), ("hr", 0.4))) == 0.5
    assert flatness(hits(("hr", 0.8))) == flatness([]) == 0.0
