"""The pipeline as LangChain's own kinds of parts: a Runnable that answers, a retriever that finds."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as FoundDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import set_config_context
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.pipeline.errors import ConfigError
from serving.pipeline.models.threads import run_blocking
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.registry import explain
from serving.pipeline.types import PUBLIC, Hit, Principal, Query, Trace

Output = Literal["answer", "trace"]
ANYONE = Principal()


class AskedPrincipal(BaseModel):
    """Who asks, as plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = "anonymous"
    tenant: str = PUBLIC
    groups: frozenset[str] = frozenset()
    domains: frozenset[str] | None = None


class AskedQuestion(BaseModel):
    """A question as a Runnable is given it: `{"question": …, "principal": …, "domains": …}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    principal: Principal | AskedPrincipal = ANYONE
    domains: tuple[str, ...] = ()
    metadata: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def query(cls, asked: object) -> Query:
        """The query of a text or of such a mapping."""
        if isinstance(asked, str):
            return Query(asked)
        if not isinstance(asked, Mapping):
            raise ConfigError(f"A question is a text or a mapping with {', '.join(cls.model_fields)}, not {type(asked).__name__}.")
        try:
            given = cls.model_validate(dict(asked))
        except ValidationError as error:
            raise ConfigError(explain(error, "question", list(cls.model_fields))) from None
        who = given.principal
        principal = who if isinstance(who, Principal) else Principal(who.id, who.tenant, who.groups, who.domains)
        return Query(given.question, principal, given.domains, dict(given.metadata))


class PipelineRunnable(Runnable[Any, Any]):
    """Answers questions; callbacks, tags, metadata and run name of its config reach the models that the pipeline calls.

    They travel in LangChain's own context variable, which each call of a model reads: the pipeline knows nothing of them.
    """

    def __init__(self, pipeline: RagPipeline, output: Output) -> None:
        self.name = "touchstone"
        self._pipeline = pipeline
        self._output = output

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The answer to a question, for a caller who cannot await."""
        return self._call_with_config(self._blocking, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The answer to a question."""
        return await self._acall_with_config(self._answer, input, config)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """The answer's text piece by piece as the model writes it, or the whole trace at the end."""

        async def questions() -> AsyncIterator[Any]:
            yield input

        async with aclosing(self._atransform_stream_with_config(questions(), self._pieces, config)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    def _blocking(self, asked: Any) -> Any:
        return run_blocking(self._answer(asked))

    async def _answer(self, asked: Any) -> str | Trace:
        return self._told(await self._pipeline.answer(AskedQuestion.query(asked)))

    async def _pieces(self, questions: AsyncIterator[Any]) -> AsyncIterator[str | Trace]:
        """What the stream brings; when its reader leaves, the answer is cancelled."""
        async for asked in questions:
            inbox: asyncio.Queue[str | None] = asyncio.Queue()
            emit = inbox.put_nowait if self._output == "answer" else None
            answering = asyncio.create_task(self._pipeline.answer(AskedQuestion.query(asked), emit=emit))
            answering.add_done_callback(lambda _, end=inbox.put_nowait: end(None))  # type: ignore[misc]
            try:
                while (piece := await inbox.get()) is not None:
                    yield piece
                trace = await answering
                if emit is None:
                    yield trace
            finally:
                answering.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await answering

    def _told(self, trace: Trace) -> str | Trace:
        return trace if self._output == "trace" else trace.answer.text


class PipelineRetriever(BaseRetriever):
    """Finds what the pipeline's retrieval finds, for one principal; no chat model, guard or cache is asked."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pipeline: Any  # a RagPipeline; pydantic would copy it
    principal: Principal = ANYONE
    domains: tuple[str, ...] = ()
    k: int | None = None  # at most so many Documents; default: as many as the configuration's top_k brings

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[FoundDocument]:
        with set_config_context({"callbacks": run_manager.get_child()}) as context:
            return await asyncio.create_task(self._found(query, k), context=context)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[FoundDocument]:
        with set_config_context({"callbacks": run_manager.get_child()}) as context:
            return context.run(lambda: run_blocking(self._found(query, k)))

    async def _found(self, text: str, k: int | None) -> list[FoundDocument]:
        retrieved = await self.pipeline.retriever.retrieve(Query(text, self.principal, self.domains))
        most = self.k if k is None else k
        return [_document(hit) for hit in retrieved.hits[:most]]


def as_runnable(pipeline: RagPipeline, *, output: Output = "answer") -> PipelineRunnable:
    """The pipeline as a Runnable: a question in, the answer's text out, or with `output="trace"` the whole `Trace`."""
    if output not in ("answer", "trace"):
        raise ConfigError(f"No output {output!r}. Known: answer, trace.")
    return PipelineRunnable(pipeline, output)


def as_retriever(
    pipeline: RagPipeline, *, principal: Principal = ANYONE, domains: tuple[str, ...] = (), k: int | None = None
) -> PipelineRetriever:
    """The pipeline's retrieval as a retriever, for what a principal may see."""
    return PipelineRetriever(pipeline=pipeline, principal=principal, domains=domains, k=k)


def _document(hit: Hit) -> FoundDocument:
    """A hit as LangChain has it; `document_id`, `start` and `end` are its span."""
    chunk = hit.chunk
    place = {"id": chunk.id, "document_id": chunk.document_id, "start": chunk.start, "end": chunk.end}
    about = {"title": chunk.title, "heading": chunk.heading, "domain": chunk.domain, "source": chunk.source, "version": chunk.version}
    return FoundDocument(page_content=chunk.text, id=chunk.id, metadata={**chunk.metadata, **about, **place, "score": hit.score})
