"""The pipeline as a LangChain Runnable and as a LangChain retriever."""

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
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.models.threads import run_blocking
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.registry import explain
from serving.pipeline.types import PUBLIC, Hit, Principal, Query, Trace

Output = Literal["answer", "trace"]
ANYONE = Principal()


class PrincipalInput(BaseModel):
    """A principal as plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = "anonymous"
    tenant: str = PUBLIC
    groups: frozenset[str] = frozenset()
    domains: frozenset[str] | None = None


class QuestionInput(BaseModel):
    """A question as a Runnable is given it: `{"question": …, "principal": …, "domains": …}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    principal: Principal | PrincipalInput = ANYONE
    domains: tuple[str, ...] = ()
    metadata: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def query(cls, value: object) -> Query:
        """The query of a text or of such a mapping."""
        if isinstance(value, str):
            return Query(value)
        if not isinstance(value, Mapping):
            raise ConfigError(f"A question is a text or a mapping with {', '.join(cls.model_fields)}, not {type(value).__name__}.")
        try:
            question = cls.model_validate(dict(value))
        except ValidationError as error:
            raise ConfigError(explain(error, "question", list(cls.model_fields))) from None
        principal_input = question.principal
        principal = (
            principal_input
            if isinstance(principal_input, Principal)
            else Principal(principal_input.id, principal_input.tenant, principal_input.groups, principal_input.domains)
        )
        return Query(question.question, principal, question.domains, dict(question.metadata))


class PipelineRunnable(Runnable[Any, Any]):
    """Answers questions; callbacks, tags, metadata and run name of its config reach the models that the pipeline calls.

    They are passed in LangChain's own context variable, which each call of a model reads; the pipeline does not handle them.
    """

    def __init__(self, pipeline: RagPipeline, output: Output) -> None:
        self.name = "touchstone"
        self._pipeline = pipeline
        self._output = output

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The answer to a question, for a caller that cannot await."""
        return self._call_with_config(self._answer_blocking, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The answer to a question."""
        return await self._acall_with_config(self._answer, input, config)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """The answer's text in chunks as the model writes it, or the whole trace at the end."""

        async def questions() -> AsyncIterator[Any]:
            yield input

        async with aclosing(self._atransform_stream_with_config(questions(), self._stream_answer, config)) as chunks:  # type: ignore[type-var]  # LangChain wants addable chunks
            async for chunk in chunks:
                yield chunk

    def _answer_blocking(self, value: Any) -> Any:
        return run_blocking(self._answer(value))

    async def _answer(self, value: Any) -> str | Trace:
        placeholders = Placeholders()
        trace = await self._pipeline.answer(QuestionInput.query(value), placeholders=placeholders)
        return trace if self._output == "trace" else placeholders.restore(trace.answer.shown)

    async def _stream_answer(self, questions: AsyncIterator[Any]) -> AsyncIterator[str | Trace]:
        """The chunks of an answer; when the consumer stops, the answer is cancelled."""
        async for value in questions:
            chunks: asyncio.Queue[str | None] = asyncio.Queue()
            emit = chunks.put_nowait if self._output == "answer" else None
            task = asyncio.create_task(self._pipeline.answer(QuestionInput.query(value), emit=emit))
            task.add_done_callback(lambda _, end=chunks.put_nowait: end(None))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
            try:
                while (chunk := await chunks.get()) is not None:
                    yield chunk
                trace = await task
                if emit is None:
                    yield trace
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


class PipelineRetriever(BaseRetriever):
    """The pipeline's retrieval for one principal; no chat model, guard or cache is called."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pipeline: Any  # a RagPipeline; pydantic would copy it
    principal: Principal = ANYONE
    domains: tuple[str, ...] = ()
    k: int | None = None  # at most so many Documents; default: as many as the configuration's top_k brings

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[FoundDocument]:
        with set_config_context({"callbacks": run_manager.get_child()}) as context:
            return await asyncio.create_task(self._retrieve(query, k), context=context)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[FoundDocument]:
        with set_config_context({"callbacks": run_manager.get_child()}) as context:
            return context.run(lambda: run_blocking(self._retrieve(query, k)))

    async def _retrieve(self, text: str, k: int | None) -> list[FoundDocument]:
        retrieved = await self.pipeline.retriever.retrieve(Query(text, self.principal, self.domains))
        limit = self.k if k is None else k
        return [_document(hit) for hit in retrieved.hits[:limit]]


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
    span = {"id": chunk.id, "document_id": chunk.document_id, "start": chunk.start, "end": chunk.end}
    fields = {"title": chunk.title, "heading": chunk.heading, "domain": chunk.domain, "source": chunk.source, "version": chunk.version}
    return FoundDocument(page_content=chunk.text, id=chunk.id, metadata={**chunk.metadata, **fields, **span, "score": hit.score})
