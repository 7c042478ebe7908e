"""The subject of an evaluation: anything that answers questions, with an identity and a clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.evaluation.stateful import answers_one_at_a_time, is_stateful
from serving.pipeline.clock import Clock
from serving.pipeline.config import RagConfig
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.types import Query, Trace


@dataclass(frozen=True, slots=True)
class SubjectIdentity:
    """What a report's header records about the subject."""

    config: Mapping[str, Any]
    config_digest: str  # of everything that decides an answer, as far as it can be known
    name: str = ""  # of an app; empty for a configuration of ours
    index_digest: str = ""
    corpus_digest: str = ""
    prompts_digest: str = ""

    @property
    def is_app(self) -> bool:
        """Whether it is an app of the user's, whose traces show only what it reports."""
        return bool(self.name)


class Subject(Protocol):
    """Answers questions. `serial` ones are asked one case at a time, in the order of the split."""

    @property
    def identity(self) -> SubjectIdentity: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def serial(self) -> bool: ...

    async def answer(self, query: Query) -> Trace: ...


@dataclass(frozen=True, slots=True)
class PipelineSubject:
    """A configuration of ours, as the pipeline that was built for one evaluation of it."""

    pipeline: RagPipeline
    config: RagConfig
    prompts_digest: str = ""

    @property
    def identity(self) -> SubjectIdentity:
        """The configuration with the digests of its index, documents and prompts."""
        index = self.pipeline.index
        data = self.config.complete().model_dump(mode="json")
        return SubjectIdentity(data, self.pipeline.config_digest, "", index.digest, index.manifest.corpus_digest, self.prompts_digest)

    @property
    def clock(self) -> Clock:
        """The pipeline's clock."""
        return self.pipeline.clock

    @property
    def serial(self) -> bool:
        """Whether a cache or a guard remembers earlier questions, or a model answers no two at once."""
        return is_stateful(self.config) or answers_one_at_a_time(self.config)

    async def answer(self, query: Query) -> Trace:
        """The pipeline's answer."""
        return await self.pipeline.answer(query)

    async def masked(self, question: str) -> str:
        """A question as it may be stored, with personal data masked by the input guard; for one without a trace."""
        return await self.pipeline.input_guard.masked(question, CheckContext("input", Query(question)))
