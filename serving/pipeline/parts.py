"""What a plug-in is built with beside its parameters: one value for every kind of plug-in."""

from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings

from serving.pipeline.artefacts import Artefacts
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.index.base import Store
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


class Missing:
    """Stands where a plug-in was built without something, and says so when it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(f"{attribute!r} is asked of the {self._name}, which these parts lack. Give it: Parts(…, {self._name}=…)")


_NO_STORE: Any = Missing("store")
_NO_EMBEDDINGS: Any = Missing("embeddings")
_NO_FUSION: Any = Missing("fusion")
_NO_PROMPTS: Any = Missing("prompts")
_NO_ARTEFACTS: Any = Missing("artefacts")
_NO_STORAGE: Any = Missing("storage")


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a plug-in may stand on. `build_pipeline` gives everything; tests and estimates give what they need."""

    settings: PipelineSettings
    store: Store = _NO_STORE
    embeddings: Embeddings = _NO_EMBEDDINGS  # the index's own model
    embedder: str = ""  # and the name it was connected by
    fusion: Fusion = _NO_FUSION  # joins the lists of a searcher that asks several: retrieve.fusion
    prompts: PromptLibrary = _NO_PROMPTS
    artefacts: Artefacts = _NO_ARTEFACTS  # files that it was fitted with
    storage: Storage = _NO_STORAGE  # for what it keeps between processes, under keys that begin with its own name
    clock: Clock = field(default_factory=SystemClock)
    digests: Digests = Digests()
