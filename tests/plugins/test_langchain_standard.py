"""LangChain's own standard tests, run on what we hand to LangChain: chat models, embedding models, a retriever."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from serving.pipeline.langchain import PipelineRetriever
from serving.pipeline.models.fakes import EchoChat
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.models.minilm import MiniLm, MiniLmEmbeddings
from serving.pipeline.models.reader import ReaderLite
from serving.pipeline.models.reader.chat import ReaderChat
from serving.pipeline.models.retry import RetryingChat, RetryPolicy
from serving.pipeline.settings import PipelineSettings
from tests.plugins.company import QUESTION, config, pipeline

pytestmark = pytest.mark.slow

SETTINGS = PipelineSettings(_env_file=None)


class EchoIs:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return EchoChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"text": "Everyone has 28 days of paid leave a year."}


class ReaderIs:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ReaderChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        made = ReaderLite(ReaderLite.Params(), settings=SETTINGS).connect()
        return {"open_reader": made._open, "size": "lite"}


class PatientIs:
    has_tool_calling = False  # as the model within has none
    has_tool_choice = False
    has_structured_output = False

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RetryingChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"inner": EchoChat(text="Everyone has 28 days."), "policy": RetryPolicy("echo", SETTINGS)}


class TestEchoUnit(EchoIs, ChatModelUnitTests):
    """The echo, without a question."""


class TestEcho(EchoIs, ChatModelIntegrationTests):
    """The echo, asked."""


class TestReaderUnit(ReaderIs, ChatModelUnitTests):
    """The local reader, without a question."""


class TestReader(ReaderIs, ChatModelIntegrationTests):
    """The local reader, asked."""


class TestPatientUnit(PatientIs, ChatModelUnitTests):
    """A model asked with patience, without a question."""


class TestPatient(PatientIs, ChatModelIntegrationTests):
    """A model asked with patience, asked."""


class HashingIs:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return HashingEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"dimensions": 64}


class TestHashingUnit(HashingIs, EmbeddingsUnitTests):
    """The hashing embedder, made."""


class TestHashing(HashingIs, EmbeddingsIntegrationTests):
    """The hashing embedder, asked."""


class MiniLmIs:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MiniLmEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        made = MiniLm(MiniLm.Params(), settings=SETTINGS).connect()
        return {"model": made._model, "max_tokens": 256, "threads": 1, "at": made.at_precision}


class TestMiniLmUnit(MiniLmIs, EmbeddingsUnitTests):
    """MiniLM, made."""


class TestMiniLm(MiniLmIs, EmbeddingsIntegrationTests):
    """MiniLM, asked."""


class TestRetriever(RetrieversIntegrationTests):
    """The pipeline's retrieval as a retriever."""

    @pytest.fixture(autouse=True)
    def _built(self, tmp_path: Path) -> None:
        self._pipeline = asyncio.run(pipeline(tmp_path, config(**{"retrieve.top_k": 4})))

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return PipelineRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"pipeline": self._pipeline}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION
