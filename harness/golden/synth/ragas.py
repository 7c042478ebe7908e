"""Questions by ragas' test-set generator, driven with our own chat model."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import HumanMessage

from harness.golden.candidate import Proposal, ReviewNote
from harness.golden.case import Evidence
from harness.golden.synth.base import GeneratedProposal, SynthesisStep, askers_groups
from harness.golden.synth.chat import passages
from harness.ragas_package import load
from serving.pipeline.errors import ModelError, TouchstoneError
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.text.sentences import sentences
from serving.pipeline.text.stems import stemmed_words
from serving.pipeline.text.stopwords import without_stop_words
from serving.pipeline.types import Document, Usage

PER_PASSAGE = 2
PERSONA = ("Colleague", "An employee who needs a fact from the company's documents for today's work and has not read them.")


class RagasGenerator:
    """ragas' single-hop questions about passages: entities are extracted, matched with who asks, and asked about."""

    def __init__(self, chat: ConnectedChat) -> None:
        self._chat = chat
        load("ragas.testset")

    async def steps(self, documents: Sequence[Document], count: int, seed: int) -> AsyncIterator[SynthesisStep]:
        """A turn per passage; ragas shuffles by its own means, so the seed decides only the order of passages."""
        import random

        todo = [(document, passage) for document in documents for passage in passages(document)]
        random.Random(seed).shuffle(todo)  # noqa: S311  a seed, not a secret
        remaining = count
        for document, passage in todo:
            if remaining <= 0:
                return
            step = await self._step(document, passage, min(remaining, PER_PASSAGE))
            remaining -= len(step.proposed)
            yield step

    async def _step(self, document: Document, passage: str, count: int) -> SynthesisStep:
        usage: list[Usage] = []
        try:
            samples = await run_in_thread(lambda: _samples(self._chat, passage, count, usage))
        except TouchstoneError:
            raise
        except Exception as error:  # noqa: BLE001  ragas raises what it likes on a reply it cannot read
            return SynthesisStep((), (f"{document.id}: ragas gave up: {type(error).__name__}: {str(error)[:160]}",), tuple(usage))
        proposed = [made for sample in samples if (made := _proposed(document, passage, sample, self._chat.name))]
        missing = len(samples) - len(proposed)
        skipped = (f"{document.id}: {missing} of ragas' answers resemble no sentence of the passage",) if missing else ()
        return SynthesisStep(tuple(proposed), skipped, tuple(usage))


def _samples(chat: ConnectedChat, passage: str, count: int, usage: list[Usage]) -> list[Any]:
    """What ragas makes of one passage; blocking, with an event loop of its own."""
    from ragas.run_config import RunConfig
    from ragas.testset import TestsetGenerator
    from ragas.testset.persona import Persona
    from ragas.testset.synthesizers.single_hop.specific import SingleHopSpecificQuerySynthesizer
    from ragas.testset.synthesizers.testset_schema import Testset
    from ragas.testset.transforms.extractors import NERExtractor

    failed: list[TouchstoneError] = []
    once = RunConfig(max_retries=1, max_workers=1)  # patience is the model's own, see models/retry.py
    llm = _ragas_model(chat, usage, failed, once)
    name, role = PERSONA
    generator = TestsetGenerator(llm=llm, embedding_model=_no_embeddings(), persona_list=[Persona(name=name, role_description=role)])
    try:
        testset = generator.generate_with_chunks(
            [passage],
            testset_size=count,
            transforms=[NERExtractor(llm=llm, tokenizer=_character_tokenizer())],
            query_distribution=[(SingleHopSpecificQuerySynthesizer(llm=llm), 1.0)],
            run_config=once,
        )
    except Exception as error:  # noqa: BLE001  an outage of the model is raised as such, whatever ragas makes of it
        raise failed[0] if failed else error from None
    return [sample.eval_sample for sample in testset.samples] if isinstance(testset, Testset) else []


def _ragas_model(chat: ConnectedChat, usage: list[Usage], failed: list[TouchstoneError], run_config: Any) -> Any:
    """Our chat model as ragas calls one; it notes what each call cost, and the error of one that failed."""
    from langchain_core.outputs import Generation, LLMResult
    from ragas.llms.base import BaseRagasLLM

    class ChatModel(BaseRagasLLM):
        def generate_text(self, prompt: Any, n: int = 1, temperature: float = 0.01, stop: Any = None, callbacks: Any = None) -> LLMResult:
            raise ModelError("ragas asked without waiting, which is not supported.")

        async def agenerate_text(
            self, prompt: Any, n: int = 1, temperature: float | None = 0.01, stop: Any = None, callbacks: Any = None
        ) -> LLMResult:
            try:
                message = await chat.model.ainvoke([HumanMessage(prompt.to_string())])
            except TouchstoneError as error:
                failed.append(error)
                raise
            usage.append(usage_of(message, chat.source, chat.name, chat.prices))
            return LLMResult(generations=[[Generation(text=str(message.text))]])

        def is_finished(self, response: LLMResult) -> bool:
            return True

    return ChatModel(run_config=run_config)


def _character_tokenizer() -> Any:
    """A tokenizer that only cuts texts beyond a limit that no passage reaches; ragas' own would be downloaded."""
    from ragas.tokenizers import BaseTokenizer

    class CharacterTokenizer(BaseTokenizer):
        def encode(self, text: str) -> list[int]:
            return [ord(letter) for letter in text]

        def decode(self, tokens: list[int]) -> str:
            return "".join(chr(token) for token in tokens)

    return CharacterTokenizer()


def _no_embeddings() -> Any:
    """An embedding model that is never asked: single-hop questions need none, and ragas wants an object."""
    from ragas.embeddings.base import BaseRagasEmbeddings

    class NoEmbeddings(BaseRagasEmbeddings):
        async def aembed_query(self, text: str) -> list[float]:
            raise ModelError("ragas asked for an embedding, which single-hop questions do not need.")

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return [await self.aembed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            raise ModelError("ragas asked for an embedding, which single-hop questions do not need.")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

    return NoEmbeddings()


def _proposed(document: Document, passage: str, sample: Any, name: str) -> GeneratedProposal | None:
    """Ragas quotes the whole passage; the evidence kept is its sentence that shares most words with the answer."""
    question, answer = " ".join(str(sample.user_input).split()), str(sample.reference).strip()
    answer_words = set(stemmed_words(without_stop_words(answer)))
    offset = document.text.find(passage)
    spans = [(offset + start, offset + end) for start, end in sentences(passage)]
    unique_spans = [(start, end) for start, end in spans if document.text.count(document.text[start:end]) == 1]
    if not question or not answer or not answer_words or not unique_spans:
        return None
    start, end = max(unique_spans, key=lambda span: len(answer_words & set(stemmed_words(document.text[span[0] : span[1]]))))
    shared = len(answer_words & set(stemmed_words(document.text[start:end]))) / len(answer_words)
    if shared < 0.3:  # the answer is spread over the passage, or not from it
        return None
    proposal = Proposal(
        question=question,
        answers=(answer,),
        evidence=(Evidence(document=document.id, quote=document.text[start:end], start=start, end=end),),
        domain=document.domain,
        principal_groups=askers_groups(document),
    )
    mark = ReviewNote(
        name="narrowed", reason="ragas names a whole passage; this sentence resembles the answer most", measures={"share": round(shared, 3)}
    )
    return GeneratedProposal(proposal, f"{name} ragas/single-hop", document.id, (mark,))
