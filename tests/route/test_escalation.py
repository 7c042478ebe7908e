import asyncio
from pathlib import Path

import pytest

from harness.evaluation.stateful import is_stateful
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.route import ESCALATIONS
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, Route
from tests.support.parts import some_parts
from tests.support.pipelines import small_index, small_pipeline

PASSAGE = Hit(Chunk("c1", "d", 0, 62, "Every employee has 30 days of paid holiday a year, managers 32."), 1.0, 1)
CITED = (Citation(1, "c1", PASSAGE.chunk.span),)
GOOD = Answer("Every employee has 30 days of paid holiday a year [1].", CITED)
WRONG = Answer("Every visitor owns 77 castles on the moon [1].", CITED)
REFUSED = Answer("I do not know.", refused=True)
UNCITED = Answer("Every employee has 30 days of paid holiday a year.")


def escalation(**params):
    parts = some_parts(embeddings=HashingEmbeddings(64), embedder="local:hashing")
    return ESCALATIONS.build(Spec(name="doubtful", **params), parts=parts)


def tried(answer, made=None, *, tier="lite", passages=(PASSAGE,), **params):
    chosen = made or escalation(**params)
    return asyncio.run(chosen.escalate(Query("How many days of holiday?"), Route(tier, "short", 0.2, domain="hr"), answer, passages))


@pytest.mark.parametrize("name", ESCALATIONS.names())
@pytest.mark.parametrize("answer", [GOOD, WRONG, REFUSED, UNCITED, Answer("")])
def test_a_second_try_is_by_another_tier_and_text_is_withheld_where_there_may_be_one(name, answer):
    parts = some_parts(embeddings=HashingEmbeddings(64), embedder="local:hashing")
    made = ESCALATIONS.build(Spec(name=name), parts=parts)
    found = asyncio.run(made.escalate(Query("q"), Route("lite", "short"), answer, (PASSAGE,)))
    assert found is None or (made.withholds and found.tier == "pro" and found.reason)
    assert asyncio.run(made.escalate(Query("q"), Route("pro", "long"), answer, (PASSAGE,))) is None


@pytest.mark.parametrize(
    ("answer", "doubt"), [(REFUSED, "lite refused"), (UNCITED, "lite cited nothing"), (WRONG, "lite was grounded to 0.")]
)
def test_a_doubtful_answer_is_tried_by_the_next_tier_with_the_reason(answer, doubt):
    again = tried(answer)
    assert again.tier == "pro"
    assert again.reason.startswith(doubt)
    assert again.reason.endswith("it was short")
    assert (again.score, again.domain) == (0.2, "hr")


def test_a_good_answer_stays():
    assert tried(GOOD) is None


@pytest.mark.parametrize(
    ("answer", "params"), [(REFUSED, {"refusals": False}), (UNCITED, {"uncited": False}), (WRONG, {"grounded_below": 0.0})]
)
def test_each_doubt_can_be_switched_off(answer, params):
    assert tried(answer, **params) is None


def test_the_dearest_tier_and_a_tier_of_no_list_are_never_tried_again():
    assert tried(REFUSED, tier="pro") is None
    assert tried(REFUSED, tier="other") is None
    assert tried(REFUSED, tier="pro", tiers=["lite", "pro", "max"]).tier == "max"


def test_without_passages_no_other_tier_can_do_better():
    assert tried(REFUSED, passages=()) is None


def test_no_larger_share_than_the_budget_is_tried_twice():
    made = escalation(budget=0.25)
    again = [tried(REFUSED, made) is not None for _ in range(12)]
    assert again == [False, False, False, True] * 3
    assert [tried(REFUSED, escalation(budget=0.0)) for _ in range(3)] == [None] * 3


def test_the_budget_holds_under_concurrent_questions():
    made = escalation(budget=0.2)

    async def ask():
        return await asyncio.gather(*(made.escalate(Query("q"), Route("lite", "r"), WRONG, (PASSAGE,)) for _ in range(50)))

    assert sum(route is not None for route in asyncio.run(ask())) <= 10


def test_a_budget_makes_the_configuration_one_that_is_asked_in_order():
    config = RagConfig.parse({"route": {"escalate": {"name": "doubtful"}}})
    assert not is_stateful(config)
    assert is_stateful(config.replace({"route.escalate.budget": 0.3}))
    assert not is_stateful(config.replace({"route.escalate.budget": 0.0}))


def test_the_tiers_it_may_ask_are_among_those_that_answer():
    config = RagConfig.parse({"route": {"router": {"name": "always", "tier": "lite"}}})
    assert list(config.tiers()) == ["lite"]
    assert list(config.replace({"route.escalate.name": "doubtful"}).tiers()) == ["lite", "pro"]
    with pytest.raises(ConfigError, match=r"route\.escalate\.tiers\.1: no tier 'max'"):
        config.replace({"route.escalate.name": "doubtful", "route.escalate.tiers": ["lite", "max"]})


def test_both_calls_are_counted_and_the_first_answer_is_kept(tmp_path: Path):
    models = {
        "answer.models.lite.text": "Every visitor owns 77 castles on the moon [1].",
    }
    changes = {"route.router.name": "always", "route.router.tier": "lite", "route.escalate.name": "doubtful", **models}
    pipeline = small_pipeline(small_index(tmp_path), changes)
    trace = asyncio.run(pipeline.answer(Query("How many days of paid leave are there?")))
    assert trace.route.tier == "pro"
    assert trace.answer.text.startswith("Everyone has 28 days")
    assert [attempt.route.tier for attempt in trace.attempts] == ["lite"]
    assert trace.attempts[0].answer.text.startswith("Every visitor")
    answers = [usage for usage in trace.usage if usage.stage == "answer"]
    assert len(answers) == 2
    assert sum(stage.stage == "answer" for stage in trace.stages) == 2
