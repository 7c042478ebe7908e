"""A vector that is paid for and never used is told too."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from langchain_core.embeddings import Embeddings

from serving.pipeline.models.bedrock import BedrockEmbeddings
from serving.pipeline.models.billed_embeddings import BilledEmbeddings, note_tokens
from serving.pipeline.models.open_calls import call_was_cut
from serving.pipeline.models.prices import PACKAGE
from serving.pipeline.models.question_vector import QuestionVectors, shared_question_vectors, vector_usage
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage
from serving.pipeline.usage_meter import metering
from tests.support.waiting import WITHIN_S

TITAN = "bedrock:amazon.titan-embed-text-v2:0"


class Hosted(Embeddings):
    """Calls in a thread of its own, as a client that cannot wait does."""

    def __init__(self, call: Callable[[], list[float]]) -> None:
        self.call = call

    def embed_query(self, text: str) -> list[float]:
        return self.call()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        for _ in texts:
            note_tokens(3)
        return [[1.0] for _ in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return await run_in_thread(self.call)


def billed(inner: Embeddings) -> BilledEmbeddings:
    source = BedrockEmbeddings(BedrockEmbeddings.Params(), name=TITAN, settings=PipelineSettings(_env_file=None))
    return BilledEmbeddings(inner, source, TITAN, PACKAGE)


async def test_a_vector_that_comes_too_late_is_told_when_it_comes() -> None:
    go, told = threading.Event(), list[Usage]()

    def late() -> list[float]:
        go.wait(WITHIN_S)
        return [1.0]

    with metering(told.append):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(billed(Hosted(late)).aembed_query("eight ch"), 0.01)
        assert told == []
        go.set()
        async with asyncio.timeout(WITHIN_S):
            while not told:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert told == [Usage(TITAN, 2, 0, pytest.approx(2 * 0.02e-6), stage="retrieve", estimated=True)]


async def test_of_a_call_that_was_cut_nobody_knows_the_price() -> None:
    class Cut(Hosted):
        async def aembed_query(self, text: str) -> list[float]:
            call_was_cut()
            raise ConnectionError

    told = list[Usage]()
    with metering(told.append), pytest.raises(ConnectionError):
        await billed(Cut(lambda: [1.0])).aembed_query("text")
    await asyncio.sleep(0)
    assert [(use.priced, use.estimated) for use in told] == [(False, True)]


async def test_a_question_is_paid_for_once_however_many_ask_for_its_vector() -> None:
    def tells() -> list[float]:
        note_tokens(7)
        return [1.0]

    embeddings, told = billed(Hosted(tells)), list[Usage]()
    with shared_question_vectors(), metering(told.append):
        await asyncio.gather(*(QuestionVectors(embeddings).vector("q") for _ in range(3)))
        assert list(vector_usage().values()) == told == [embeddings.usage("q")]
    assert [(use.input_tokens, use.estimated) for use in told] == [(7, False)]
    assert embeddings.usage("q").estimated  # of another query, in which nobody has asked yet


def test_texts_are_paid_for_together() -> None:
    told = list[Usage]()
    with metering(told.append):
        billed(Hosted(lambda: [1.0])).embed_documents(["a", "b"])
    assert [(use.input_tokens, use.calls, use.estimated) for use in told] == [(6, 2, False)]
