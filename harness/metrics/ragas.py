"""ragas' metrics; it is imported by `load` only, and not before the first score."""

import math
from collections.abc import Coroutine
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any, ClassVar

from pydantic import BaseModel

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics.base import Scoring, question_of
from harness.metrics.structured import UnreadableReply, ask_for
from harness.ragas_package import load
from harness.results.score import Reads, Score
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.threads import run_blocking
from serving.pipeline.packages import install_command
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Trace

COLLECTIONS = "ragas.metrics.collections"


class Ragas(Scoring):
    """What ragas' metrics have in common: their version is ragas', and NaN is no score."""

    def __init__(self, params: PlugInParams) -> None:
        super().__init__(params)
        self.version = f"{type(self).version} ragas-{_version()}"  # type: ignore[misc]  # scores are kept under it

    def _finite(self, value: float) -> Score:
        return self.skip("ragas gave NaN") if math.isnan(value) else self.give(float(value))


class _Computed(Ragas):
    """A metric without a judge."""

    def measure(self, trace: Trace, case: Any) -> Score:
        """The score, or why ragas has nothing to compare."""
        reason = self._why_unscored(trace, case)
        return self.skip(reason) if reason else self._finite(run_blocking(self._compute(trace, case)))

    def _why_unscored(self, trace: Trace, case: Any) -> str:
        raise NotImplementedError

    def _compute(self, trace: Trace, case: Any) -> Coroutine[Any, Any, float]:
        raise NotImplementedError


class _Contexts(_Computed):
    """Of the hits against the case's evidence."""

    reads: Reads = "hits"
    home: ClassVar[str]  # its module: the collections have none that works without a model, and the package warns of what it exports
    kind: ClassVar[str]

    def _why_unscored(self, trace: Trace, case: Case) -> str:
        if not case.documents:
            return "the case names no evidence"
        return "" if trace.hits else "nothing was retrieved"

    async def _compute(self, trace: Trace, case: Case) -> float:
        scorer = getattr(load(self.home), self.kind)()
        sample = load("ragas").SingleTurnSample(**self._sample(trace, case))
        return float(await scorer.single_turn_ascore(sample))

    def _sample(self, trace: Trace, case: Case) -> dict[str, list[str]]:
        retrieved = [hit.chunk.document_id for hit in trace.hits]
        return {"retrieved_context_ids": retrieved, "reference_context_ids": list(case.documents)}


class ContextPrecision(_Contexts):
    """Share of the documents found that hold evidence (IDBasedContextPrecision)."""

    label = "ragas_context_precision"
    home = "ragas.metrics._context_precision"
    kind = "IDBasedContextPrecision"


class ContextRecall(_Contexts):
    """Share of the documents with evidence that were found (IDBasedContextRecall)."""

    label = "ragas_context_recall"
    home = "ragas.metrics._context_recall"
    kind = "IDBasedContextRecall"


class _Texts(_Contexts):
    """By edit distance of whole texts: a quote in a chunk of twice its length is not recognised, so take chunks as long as the quotes."""

    def _why_unscored(self, trace: Trace, case: Case) -> str:
        return super()._why_unscored(trace, case) or ("" if case.evidence else "the case quotes no evidence")

    def _sample(self, trace: Trace, case: Case) -> dict[str, list[str]]:
        quotes = [evidence.quote for evidence in case.evidence]
        return {"retrieved_contexts": [hit.chunk.text for hit in trace.hits], "reference_contexts": quotes}


class TextPrecision(_Texts):
    """Average precision of chunks that resemble a quote (NonLLMContextPrecisionWithReference)."""

    label = "ragas_text_precision"
    home = "ragas.metrics._context_precision"
    kind = "NonLLMContextPrecisionWithReference"


class TextRecall(_Texts):
    """Share of the quotes that a chunk resembles (NonLLMContextRecall)."""

    label = "ragas_text_recall"
    home = "ragas.metrics._context_recall"
    kind = "NonLLMContextRecall"


class StringSimilarity(_Computed):
    """One minus the edit distance to the nearest reference, of its length (NonLLMStringSimilarity)."""

    label = "ragas_string_similarity"

    def _why_unscored(self, trace: Trace, case: Case) -> str:
        return "" if case.answers else "the case has no reference"

    async def _compute(self, trace: Trace, case: Case) -> float:
        scorer, answer_text = load(COLLECTIONS).NonLLMStringSimilarity(), without_citations(trace.answer.text)
        results = [await scorer.ascore(reference=answer, response=answer_text) for answer in case.answers]
        return max(float(result.value) for result in results)


class QuotedSpans(_Computed):
    """Share of what the answer puts in quotation marks that stands in a passage (QuotedSpansAlignment)."""

    label = "ragas_quoted_spans"
    needs_case = False

    def _why_unscored(self, trace: Trace, case: Case | None) -> str:
        quoted = load(f"{COLLECTIONS}.quoted_spans.util").extract_quoted_spans(trace.answer.text)
        return "" if quoted else "the answer quotes nothing"  # ragas gives 1 for it

    async def _compute(self, trace: Trace, case: Case | None) -> float:
        passages = [hit.chunk.text for hit in trace.passages]
        result = await load(COLLECTIONS).QuotedSpansAlignment().ascore(response=trace.answer.text, retrieved_contexts=passages)
        return float(result.value)


class _Judged(Ragas):
    """A metric by the judge's chat model, with ragas' prompts."""

    needs_judge: bool = True
    kind: ClassVar[str]

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        spec = tools.require_chat_model(self.label)
        self.version = f"{self.version} {spec.name} {digest_of(spec.model_dump())[:12]}"  # type: ignore[misc]  # a class variable, completed for this judge

    async def measure_by_judge(self, trace: Trace, case: Any) -> Score:
        """The judge's score; an outage of its model is raised, words that say nothing are no score."""
        if reason := self._why_unscored(trace, case):
            return self.skip(reason)
        try:
            result = await self._scorer.ascore(**self._arguments(trace, case))
        except UnreadableReply as error:
            return self.skip(str(error))
        return self._finite(result.value)

    @cached_property
    def _scorer(self) -> Any:
        return getattr(load(COLLECTIONS), self.kind)(llm=_llm(self._tools), **self._dependencies())

    def _dependencies(self) -> dict[str, Any]:
        return {}

    def _why_unscored(self, trace: Trace, case: Any) -> str:
        raise NotImplementedError

    def _arguments(self, trace: Trace, case: Any) -> dict[str, Any]:
        raise NotImplementedError


class Faithfulness(_Judged):
    """Share of the answer's statements that follow from the passages."""

    label = "ragas_faithfulness"
    needs_case = False
    kind = "Faithfulness"

    def _why_unscored(self, trace: Trace, case: Case | None) -> str:
        return _no_answer(trace) or ("" if trace.passages else "no passages")

    def _arguments(self, trace: Trace, case: Case | None) -> dict[str, Any]:
        passages = [hit.chunk.text for hit in trace.passages]
        return {"user_input": question_of(trace, case), "response": without_citations(trace.answer.text), "retrieved_contexts": passages}


class ResponseRelevancy(_Judged):
    """How near the questions that the answer would answer are to the one asked, by the embedding model."""

    label = "ragas_response_relevancy"
    needs_case = False
    kind = "AnswerRelevancy"
    range = (-1.0, 1.0)  # a cosine, whatever ragas says

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params, tools)
        self.version = f"{self.version} {tools.embedder_id}"  # type: ignore[misc]  # likewise

    def _dependencies(self) -> dict[str, Any]:
        return {"embeddings": _embeddings(self._tools)}

    def _why_unscored(self, trace: Trace, case: Case | None) -> str:
        return _no_answer(trace)

    def _arguments(self, trace: Trace, case: Case | None) -> dict[str, Any]:
        return {"user_input": question_of(trace, case), "response": without_citations(trace.answer.text)}


class _JudgedContexts(_Judged):
    reads: Reads = "hits"

    def _why_unscored(self, trace: Trace, case: Case) -> str:
        if not case.answers:
            return "the case has no reference"
        return "" if trace.hits else "nothing was retrieved"

    def _arguments(self, trace: Trace, case: Case) -> dict[str, Any]:
        return {
            "user_input": trace.question or case.question,
            "reference": case.answers[0],
            "retrieved_contexts": [hit.chunk.text for hit in trace.hits],
        }


class JudgedContextPrecision(_JudgedContexts):
    """Average precision of the hits that the judge finds useful for the reference."""

    label = "ragas_llm_context_precision"
    kind = "ContextPrecisionWithReference"


class JudgedContextRecall(_JudgedContexts):
    """Share of the reference's sentences that the judge finds in the hits."""

    label = "ragas_llm_context_recall"
    kind = "ContextRecall"


class FactualCorrectness(_Judged):
    """F1 of the claims of answer and reference, each verified against the other."""

    label = "ragas_factual_correctness"
    kind = "FactualCorrectness"

    def _why_unscored(self, trace: Trace, case: Case) -> str:
        return _no_answer(trace) or ("" if case.answers else "the case has no reference")

    def _arguments(self, trace: Trace, case: Case) -> dict[str, Any]:
        return {"response": without_citations(trace.answer.text), "reference": case.answers[0]}


def _no_answer(trace: Trace) -> str:
    if trace.answer.refused:
        return "refused: nothing was claimed"
    return "" if without_citations(trace.answer.text).strip() else "the answer is empty"


def _version() -> str:
    try:
        return installed("ragas")
    except PackageNotFoundError:
        raise ConfigError(f"ragas' metrics need the package ragas. Install it: {install_command('ragas')}") from None


def _llm(tools: Tools) -> Any:
    """The judge's chat model as ragas wants it."""

    class ChatModelLlm(load("ragas.llms.base").InstructorBaseRagasLLM):  # type: ignore[misc]  # loaded late
        """Any LangChain chat model; ragas' own wrapper of them is deprecated and its metrics no longer take it."""

        def generate(self, prompt: str, response_model: type[BaseModel]) -> Any:
            return run_blocking(self.agenerate(prompt, response_model))

        async def agenerate(self, prompt: str, response_model: type[BaseModel]) -> Any:
            return await ask_for(tools.chat, prompt, response_model)

    return ChatModelLlm()


def _embeddings(tools: Tools) -> Any:
    """Our embedding model as ragas wants it."""

    class RagasEmbeddings(load("ragas.embeddings.base").BaseRagasEmbedding):  # type: ignore[misc]  # loaded late
        """Any LangChain embedding model."""

        def embed_text(self, text: str, **kwargs: Any) -> list[float]:
            return tools.embeddings.embed_query(text)

        async def aembed_text(self, text: str, **kwargs: Any) -> list[float]:
            return await tools.embeddings.aembed_query(text)

    return RagasEmbeddings()
