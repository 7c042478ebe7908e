"""The two sizes of the local reader, by name."""

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.injection.patterns import patterns_digest
from serving.pipeline.models.minilm import MiniLm
from serving.pipeline.models.reader.chat import ReaderChat
from serving.pipeline.models.reader.reader import Reader
from serving.pipeline.models.reader.similarity import SentenceSimilarity
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings


class ReaderLite:
    """Reads by words alone, tables and arithmetic included: milliseconds, no model file; stands in for Nova Lite."""

    class Params(PlugInParams):
        """What can be set."""

        max_tokens: int | None = Field(default=None, ge=1)  # of the answer; the config's answer.max_tokens holds as well

    version: ClassVar[str] = f"5 {patterns_digest()}"
    price_model = "amazon.nova-lite-v1:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:reader-lite", settings: PipelineSettings) -> None:
        self.name = name
        self._params = params
        self._settings = settings

    def connect(self) -> ReaderChat:
        """The reader, ready."""
        reader = Reader()
        return ReaderChat(lambda: reader, size="lite", max_tokens=self._params.max_tokens)


class ReaderPro:
    """Reads by words and meaning, part by part; stands in for Nova Pro."""

    class Params(PlugInParams):
        """What can be set."""

        max_tokens: int | None = Field(default=None, ge=1)

    version: ClassVar[str] = f"5 {patterns_digest()}+{MiniLm.version}"  # what it reads by is part of what it is
    price_model = "amazon.nova-pro-v1:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:reader-pro", settings: PipelineSettings) -> None:
        self.name = name
        self._params = params
        self._settings = settings

    def connect(self) -> ReaderChat:
        """The reader; its sentence vectors' model is opened by the first question."""
        return ReaderChat(self._opener(), size="pro", max_tokens=self._params.max_tokens)

    def _opener(self) -> Callable[[], Reader]:
        return lambda: self._reader

    @cached_property
    def _reader(self) -> Reader:
        embeddings = MiniLm(MiniLm.Params(), settings=self._settings).connect()
        return Reader(SentenceSimilarity(embeddings.vectors))
