"""The dependencies that a plug-in is built with beside its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings

from serving.pipeline.artefacts import Artefacts
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.index.base import Store
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.question_vector import QuestionVectors
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.retrieve.base import Fusion
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Digests:
    """What identifies the pipeline that a plug-in belongs to."""

    config: str = ""  # of everything that decides an answer
    index: str = ""
    corpus: str = ""
    prompts: str = ""  # of the texts of the prompts in reach
    release: str = ""  # empty outside a release


class MissingPart:
    """A placeholder for a dependency that was not given; its use is an error that names it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(f"{attribute!r} is asked of the {self._name}, which these parts lack. Give it: Parts(…, {self._name}=…)")


_NO_STORE: Any = MissingPart("store")
_NO_EMBEDDINGS: Any = MissingPart("embeddings")
_NO_FUSION: Any = MissingPart("fusion")
_NO_PROMPTS: Any = MissingPart("prompts")
_NO_ARTEFACTS: Any = MissingPart("artefacts")
_NO_STORAGE: Any = MissingPart("storage")


@dataclass(frozen=True, slots=True)
class Parts:
    """The dependencies of plug-ins. `build_pipeline` gives all of them; tests and estimates give what they need."""

    settings: PipelineSettings
    store: Store = _NO_STORE
    embeddings: Embeddings = _NO_EMBEDDINGS  # the index's own model
    embedder: str = ""  # and the name it was connected by
    fusion: Fusion = _NO_FUSION  # joins the lists of a searcher that asks several: retrieve.fusion
    prompts: PromptLibrary = _NO_PROMPTS
    chats: Mapping[str, ConnectedChat] = field(default_factory=dict)  # the models of answer.models, by tier
    artefacts: Artefacts = _NO_ARTEFACTS  # files that it was fitted with
    storage: Storage = _NO_STORAGE  # for data shared between processes, under keys that begin with the plug-in's name
    clock: Clock = field(default_factory=SystemClock)
    digests: Digests = Digests()

    @property
    def question(self) -> QuestionVectors:
        """The vectors of questions, each computed once per query."""
        return QuestionVectors(self.embeddings)
