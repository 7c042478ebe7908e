"""The pipeline as a Runnable and as a retriever: inputs, outputs, callbacks, streams."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableLambda

from serving.pipeline.errors import ConfigError
from serving.pipeline.langchain import as_retriever, as_runnable
from serving.pipeline.models.fakes import EchoChat
from serving.pipeline.models.retry import RetryPolicy, retrying_chat
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.retrieve.langchain import CompressorReranker
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Principal, Trace
from tests.plugins.company import QUESTION, SAYS, config, pipeline
from tests.support.langchain_parts import COMPRESSOR


@pytest.fixture
async def company(tmp_path: Path) -> RagPipeline:
    return await pipeline(tmp_path)


class Listener(AsyncCallbackHandler):
    """Writes down which runs began and ended below which."""

    def __init__(self) -> None:
        self.parents: dict[UUID, UUID | None] = {}
        self.began: list[tuple[str, UUID]] = []
        self.ended: list[UUID] = []
        self.tags: dict[UUID, list[str]] = {}
        self.about: dict[UUID, dict[str, Any]] = {}
        self.names: dict[UUID, str] = {}
        self.tokens = 0

    def _begin(self, kind: str, run_id: UUID, parent_run_id: UUID | None, kwargs: dict[str, Any]) -> None:
        self.parents[run_id] = parent_run_id
        self.began.append((kind, run_id))
        self.tags[run_id], self.about[run_id] = kwargs.get("tags") or [], kwargs.get("metadata") or {}
        self.names[run_id] = kwargs.get("name") or ""

    async def on_chain_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._begin("chain", run_id, parent_run_id, kwargs)

    async def on_chat_model_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._begin("chat", run_id, parent_run_id, kwargs)

    async def on_retriever_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._begin("retriever", run_id, parent_run_id, kwargs)

    async def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        self.tokens += 1

    async def on_llm_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self.ended.append(run_id)

    async def on_chain_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self.ended.append(run_id)

    def runs(self, kind: str) -> list[UUID]:
        return [run_id for known, run_id in self.began if known == kind]

    def ancestors(self, run_id: UUID) -> list[UUID]:
        parent = self.parents.get(run_id)
        return [parent, *self.ancestors(parent)] if parent else []


# inputs and outputs


async def test_a_question_gives_the_answer_or_the_whole_trace(company: RagPipeline) -> None:
    assert await as_runnable(company).ainvoke(QUESTION) == SAYS
    trace = await as_runnable(company, output="trace").ainvoke({"question": QUESTION, "domains": ["hr"]})
    assert isinstance(trace, Trace)
    assert (trace.answer.text, trace.query.domains) == (SAYS, ("hr",))
    assert {hit.chunk.domain for hit in trace.hits} == {"hr"}


@pytest.mark.parametrize("principal", [{"groups": ["board"]}, Principal("b", groups=frozenset({"board"}))])
async def test_the_principal_decides_what_is_found(company: RagPipeline, principal: object) -> None:
    asked = {"question": "Paid leave of directors", "principal": principal}
    trace = await as_runnable(company, output="trace").ainvoke(asked)
    assert "salaries.md" in {hit.chunk.document_id for hit in trace.hits}
    trace = await as_runnable(company, output="trace").ainvoke("Paid leave of directors")
    assert "salaries.md" not in {hit.chunk.document_id for hit in trace.hits}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"question": "q", "princpal": {}}, "unknown key 'princpal'. Did you mean 'principal'"),
        ({"question": "q", "principal": {"group": ["board"]}}, "group"),
        ({"principal": {}}, "question: field required"),
        (7, "A question is a text or a mapping with question, principal, domains, metadata, not int"),
    ],
)
async def test_a_malformed_question_is_one_line(company: RagPipeline, asked: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        await as_runnable(company).ainvoke(asked)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="No output 'text'. Known: answer, trace"):
        as_runnable(company, output="text")  # type: ignore[arg-type]


def test_a_caller_who_cannot_await_is_answered_too(tmp_path: Path) -> None:
    runnable = as_runnable(asyncio.run(pipeline(tmp_path)))
    assert runnable.invoke(QUESTION) == SAYS
    assert runnable.batch([QUESTION, {"question": QUESTION}]) == [SAYS, SAYS]
    assert "".join(runnable.stream(QUESTION)) == SAYS


async def test_it_is_a_link_of_a_chain(company: RagPipeline) -> None:
    chain = RunnableLambda(str.strip) | as_runnable(company) | RunnableLambda(str.upper)
    assert await chain.ainvoke(f" {QUESTION} ") == SAYS.upper()
    assert await chain.abatch([QUESTION, QUESTION]) == [SAYS.upper()] * 2


# callbacks


@pytest.mark.parametrize("way", ["ainvoke", "astream", "invoke", "chain", "patient"])
async def test_the_chat_models_run_has_the_callers_run_as_an_ancestor(company: RagPipeline, way: str) -> None:
    listener, run_id = Listener(), uuid4()
    asked: dict[str, Any] = {"callbacks": [listener], "run_id": run_id, "tags": ["mine"], "metadata": {"who": "me"}, "run_name": "asking"}
    if way == "patient":
        company = patiently(company)
    runnable: Any = as_runnable(company)
    if way == "astream":
        assert "".join([piece async for piece in runnable.astream(QUESTION, asked)]) == SAYS
    elif way == "invoke":
        assert await asyncio.to_thread(runnable.invoke, QUESTION, asked) == SAYS
    else:
        runnable = RunnableLambda(str.strip) | runnable if way == "chain" else runnable
        assert await runnable.ainvoke(QUESTION, asked) == SAYS
    [chat] = listener.runs("chat")  # one call is told once, whatever wraps the model
    assert run_id in listener.ancestors(chat)
    assert {chat, run_id} <= set(listener.ended)
    assert "mine" in listener.tags[chat]
    assert listener.about[chat]["who"] == "me"
    assert listener.names[run_id] == "asking"
    assert bool(listener.tokens) == (way == "astream")


def patiently(company: RagPipeline) -> RagPipeline:
    """The pipeline with its model as a hosted one: asked with patience."""
    settings = PipelineSettings(_env_file=None)
    model = retrying_chat(EchoChat(text=SAYS), RetryPolicy("echo", settings))
    company.answerer._chats = {tier: replace(chat, model=model) for tier, chat in company.answerer._chats.items()}
    return company


async def test_a_compressor_is_told_the_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    company = await pipeline(tmp_path, config(**{"retrieve.reranker": {"name": COMPRESSOR}}))

    def compress(self: object, documents: Any, query: str, callbacks: Any = None) -> Any:
        told.append(callbacks.parent_run_id)
        return documents

    monkeypatch.setattr("tests.support.langchain_parts.ShortestFirst.compress_documents", compress)
    assert isinstance(company.retriever._reranker, CompressorReranker)  # type: ignore[attr-defined]
    for runnable, kind in ((as_runnable(company), "chain"), (as_retriever(company), "retriever")):
        listener = Listener()
        await runnable.ainvoke(QUESTION, {"callbacks": [listener]})
        assert told == listener.runs(kind)
        told.clear()


# streams


class Slow(EchoChat):
    """Says a word whenever it is let."""

    gate: Any
    ended: list[str]

    async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        try:
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                await self.gate.acquire()
                yield chunk
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise


def slowly(company: RagPipeline) -> Slow:
    model = Slow(text=SAYS, gate=asyncio.Semaphore(0), ended=[])
    company.answerer._chats = {tier: replace(chat, model=model) for tier, chat in company.answerer._chats.items()}
    return model


async def test_pieces_come_as_the_model_writes_them(company: RagPipeline) -> None:
    model = slowly(company)
    stream = as_runnable(company).astream(QUESTION)
    model.gate.release()
    assert await anext(stream) == "Everyone"  # the rest is not written yet
    for _ in range(30):
        model.gate.release()
    assert "Everyone" + "".join([piece async for piece in stream]) == SAYS


async def test_several_read_at_a_time_and_each_has_its_own(company: RagPipeline) -> None:
    model = slowly(company)

    async def read() -> list[str]:
        return [piece async for piece in as_runnable(company).astream(QUESTION)]

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for _ in range(100):
        model.gate.release()
    for pieces in await asyncio.gather(*readers):
        assert "".join(pieces) == SAYS
        assert len(pieces) > 3


@pytest.mark.parametrize("leaving", ["close", "cancel"])
async def test_when_the_reader_leaves_the_answer_is_cancelled(company: RagPipeline, leaving: str) -> None:
    model = slowly(company)
    model.gate.release()
    stream = as_runnable(company).astream(QUESTION)
    assert await anext(stream) == "Everyone"
    if leaving == "close":
        await stream.aclose()  # type: ignore[attr-defined]
    else:
        waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert model.ended == ["CancelledError"]
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []


async def test_a_failure_while_streaming_reaches_the_reader_after_what_was_said(tmp_path: Path) -> None:
    scripted = {"name": "local:scripted", "answers": [{"error": "failed", "text": "Everyone has"}]}
    company = await pipeline(tmp_path, config(**{"answer.models.lite": scripted}))
    said: list[str] = []
    with pytest.raises(Exception, match="failed by the script"):
        async for piece in as_runnable(company).astream(QUESTION):
            said.append(piece)  # noqa: PERF401 — what was said before the failure counts
    assert "".join(said) == "Everyone has"


async def test_a_stream_of_traces_is_one_trace(company: RagPipeline) -> None:
    [trace] = [piece async for piece in as_runnable(company, output="trace").astream(QUESTION)]
    assert trace.answer.text == SAYS


# the retriever


async def test_documents_tell_their_span_score_title_heading_and_version(company: RagPipeline) -> None:
    [first, *_] = await as_retriever(company).ainvoke(QUESTION)
    about = first.metadata
    assert first.id == about["id"] == f"leave.md#{about['start']}-{about['end']}"
    assert (about["document_id"], about["title"], about["heading"], about["version"]) == ("leave.md", "Leave", "Leave", "7")
    assert about["score"] > 0
    assert first.page_content.startswith("# Leave")
    assert len(await as_retriever(company, k=1).ainvoke(QUESTION)) == 1


async def test_a_retriever_shows_what_its_principal_may_read(company: RagPipeline) -> None:
    hidden = as_retriever(company)
    shown = as_retriever(company, principal=Principal("b", groups=frozenset({"board"})))
    asked = "Paid leave of directors"
    assert "salaries.md" not in {one.metadata["document_id"] for one in await hidden.ainvoke(asked)}
    assert "salaries.md" in {one.metadata["document_id"] for one in await shown.ainvoke(asked)}
    assert [one.metadata["domain"] for one in await as_retriever(company, domains=("finance",)).ainvoke(asked)] == ["finance"]


async def test_what_one_pipeline_finds_another_can_search(company: RagPipeline, tmp_path: Path) -> None:
    """There and back: Documents of our retriever keep their places in a configuration that searches with them."""
    passages = [{"page_content": one.page_content, "metadata": one.metadata} for one in await as_retriever(company).ainvoke(QUESTION)]
    search = {"name": "tests.support.langchain_parts:WordRetriever", "passages": passages}
    other = await pipeline(tmp_path, config(**{"retrieve.search": search}))
    trace = await as_runnable(other, output="trace").ainvoke(QUESTION)
    spans = {(hit.chunk.document_id, hit.chunk.start, hit.chunk.end) for hit in trace.hits}
    assert ("leave.md", passages[0]["metadata"]["start"], passages[0]["metadata"]["end"]) in spans
    assert spans <= {(one["metadata"]["document_id"], one["metadata"]["start"], one["metadata"]["end"]) for one in passages}
