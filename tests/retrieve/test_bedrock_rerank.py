"""Bedrock's reranker through real boto3, against the double over HTTP."""

from typing import Any

import pytest

from serving.pipeline.errors import ConfigError, ModelError, ThrottledError
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.retrieve.bedrock import BedrockReranker
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Hit, Query
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Call, Refusal, Throttle
from tests.support.parts import some_parts

QUESTION = Query("blue whale song")
TEXTS = {"a": "a red fox", "b": "the blue whale", "c": "a whale", "d": "song of the blue whale", "e": "a green whale"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def hits(texts: dict[str, str] = TEXTS) -> list[Hit]:
    return [
        Hit(Chunk(key, "document", 0, len(text), text), score=1.0 - place / 10, rank=place + 1)
        for place, (key, text) in enumerate(texts.items())
    ]


def reranker(double: BedrockDouble, **params: object) -> BedrockReranker:
    settings = PipelineSettings(_env_file=None, bedrock_endpoint=double.url, aws_region="eu-central-1", model_attempts=3)

    async def at_once(_: float) -> None: ...

    retry = RetryPolicy("bedrock:rerank", settings, sleep=at_once)
    made = RERANKERS.build(Spec(name="bedrock", **params), parts=some_parts(settings=settings), retry=retry)
    assert isinstance(made, BedrockReranker)
    return made


def ids(found: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in found]


async def test_hits_come_in_the_models_order_with_its_scores_and_ties_by_id():
    with BedrockDouble() as double:
        found = await reranker(double).rerank(QUESTION, list(reversed(hits())), 5)
    assert ids(found) == ["d", "b", "c", "e", "a"]
    assert [hit.score for hit in found] == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3, 0])


async def test_only_the_best_k_are_returned():
    with BedrockDouble() as double:
        assert ids(await reranker(double).rerank(QUESTION, hits(), 2)) == ["d", "b"]


async def test_hits_below_the_depth_keep_their_order_after_those_compared():
    with BedrockDouble() as double:
        found = await reranker(double, depth=3).rerank(QUESTION, hits(), 5)
    assert ids(found) == ["b", "c", "a", "d", "e"]
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert len(double.calls[0].body["sources"]) == 3


async def test_the_model_is_named_by_the_arn_of_its_region():
    with BedrockDouble() as double:
        await reranker(double, model="cohere.rerank-v3-5:0").rerank(QUESTION, hits(), 1)
    [call] = double.calls
    chosen = call.body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"]
    assert chosen["modelArn"] == "arn:aws:bedrock:eu-central-1::foundation-model/cohere.rerank-v3-5:0"


async def test_a_long_answer_in_pages_is_read_to_its_end():
    def page(call: Call) -> dict[str, Any]:
        first = {"results": [{"index": 1, "relevanceScore": 0.9}], "nextToken": "more"}
        return {"results": [{"index": 0, "relevanceScore": 0.1}]} if call.body.get("nextToken") else first

    with BedrockDouble(page) as double:
        found = await reranker(double).rerank(QUESTION, hits({"a": "x", "b": "y"}), 2)
    assert ids(found) == ["b", "a"]
    assert len(double.calls) == 2


@pytest.mark.parametrize("question", [QUESTION, Query("  ")])
async def test_nothing_to_compare_calls_no_model(question: Query):
    with BedrockDouble() as double:
        found = hits() if not question.text.strip() else []
        assert await reranker(double).rerank(question, found, 2) == found[:2]
    assert not double.calls


async def test_throttling_is_waited_out_and_its_end_is_an_error_of_ours():
    with BedrockDouble([Throttle(), Throttle()]) as double:
        assert ids(await reranker(double).rerank(QUESTION, hits(), 1)) == ["d"]
    with BedrockDouble(lambda _: Throttle()) as double, pytest.raises(ThrottledError):
        await reranker(double).rerank(QUESTION, hits(), 1)
    assert len(double.calls) == 3


async def test_a_passage_without_a_score_is_an_error_not_a_loss():
    half = {"results": [{"index": 0, "relevanceScore": 0.5}]}
    with BedrockDouble(lambda _: half) as double, pytest.raises(ModelError, match="was given 5"):
        await reranker(double).rerank(QUESTION, hits(), 5)


async def test_a_model_without_access_is_a_config_error():
    refusal = Refusal("AccessDeniedException", 403)
    with BedrockDouble(lambda _: refusal) as double, pytest.raises(ConfigError, match="refused the credentials"):
        await reranker(double).rerank(QUESTION, hits(), 1)
